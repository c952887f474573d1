"""The device: asked for once, and refused in one line where it is not there."""

from __future__ import annotations

import pytest
import torch

from sanitizer.devices import resolve_device
from sanitizer.errors import UsageError


def with_devices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A machine with so many CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA where there is one, the CPU elsewhere."""
    with_devices(monkeypatch, 0)
    assert resolve_device("auto") == torch.device("cpu")
    with_devices(monkeypatch, 1)
    assert resolve_device("auto") == torch.device("cuda")


def test_a_device_that_exists_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU always; CUDA devices by number."""
    with_devices(monkeypatch, 2)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "cuda:99999999999999999999"])
def test_a_device_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With what to do in its place."""
    with_devices(monkeypatch, 0)
    with pytest.raises(UsageError, match=r"expected one of 0 CUDA devices.*--device auto"):
        resolve_device(name)


def test_one_device_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers start at zero."""
    with_devices(monkeypatch, 2)
    with pytest.raises(UsageError, match="expected one of 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    "name", ["", "gpu", "tpu", "CPU", "cpu:0", "cuda:x", "cuda:-1", "cuda:1:2", "cuda 0", "auto:1", "nan"]
)
def test_what_is_no_device_is_refused(name: str) -> None:
    """The message says what would be one."""
    with pytest.raises(UsageError, match="expected auto, cpu or cuda:N") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["cpu:", "cuda:", "cuda:²"])
@pytest.mark.parametrize("count", [0, 2])
def test_nearly_a_device_is_refused_too(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """A colon without a number, and digits that are no number, are usage errors and nothing worse."""
    with_devices(monkeypatch, count)
    with pytest.raises(UsageError):
        resolve_device(name)
