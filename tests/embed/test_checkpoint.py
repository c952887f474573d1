"""Checkpoints: whatever is not a complete, finite set of weights of the right shapes is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sanitizer.embed.checkpoint import load_strictly, read_checkpoint
from sanitizer.errors import UsageError


def written(path: Path, **tensors: torch.Tensor) -> Path:
    """A checkpoint of these tensors."""
    save_file(tensors, path, metadata={"architecture": "made_up"})
    return path


def net() -> nn.Sequential:
    """A convolution and a normalisation: weights, buffers and a counter."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_a_checkpoint_comes_back_as_float32(tmp_path: Path) -> None:
    """Every floating type becomes float32, counters stay, metadata and shapes are at hand."""
    floats = {str(kind)[6:]: torch.ones(2, 3, dtype=kind) for kind in (torch.float64, torch.float16, torch.bfloat16)}
    found = read_checkpoint(written(tmp_path / "a.safetensors", steps=torch.tensor(7), **floats))
    assert all(found.tensors[name].dtype == torch.float32 for name in floats)
    assert found.tensors["steps"].item() == 7
    assert found.shapes == dict.fromkeys(sorted(floats), (2, 3))
    assert found.metadata == {"architecture": "made_up"}


def test_tensors_are_copies(tmp_path: Path) -> None:
    """What was read stays as it was, whatever becomes of the file."""
    path = written(tmp_path / "a.safetensors", weight=torch.ones(1000))
    found = read_checkpoint(path)
    with path.open("r+b") as file:
        file.seek(-400, os.SEEK_END)
        file.write(b"\xff" * 400)
    assert (found.tensors["weight"] == 1).all()


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN or infinity in 'weight'"),
        (torch.tensor([1.0, float("inf")]), "NaN or infinity in 'weight'"),
        (torch.tensor([1e300], dtype=torch.float64), "NaN or infinity in 'weight'"),  # too large for float32
        (torch.tensor([True]), "'weight' of type torch.bool"),
        (torch.tensor([1], dtype=torch.uint8), "'weight' of type torch.uint8"),
        (torch.zeros(0, 3), "'weight' without a single value"),
    ],
)
def test_a_tensor_that_is_no_weight_is_refused(tmp_path: Path, tensor: torch.Tensor, complaint: str) -> None:
    """Each is named in one line."""
    with pytest.raises(UsageError, match="expected") as caught:
        read_checkpoint(written(tmp_path / "a.safetensors", weight=tensor))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_regular_safetensors_file_is_read(tmp_path: Path) -> None:
    """Nothing, a folder, a pipe (which would wait for ever), foreign bytes and a cut file."""
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "foreign.safetensors").write_bytes(b"\x80\x04pickled?" * 9)
    whole = written(tmp_path / "whole.safetensors", weight=torch.ones(100)).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-9])
    (tmp_path / "empty.safetensors").touch()
    for name in ("absent", "folder", "pipe", "foreign", "cut", "empty"):
        with pytest.raises(UsageError, match="expected a safetensors checkpoint"):
            read_checkpoint(tmp_path / f"{name}.safetensors")


def test_a_network_takes_all_the_weights() -> None:
    """Values arrive, and the counter is the network's own."""
    other, own = net().state_dict(), net()
    own[1].num_batches_tracked.fill_(5)
    load_strictly(own, other, "here")
    assert torch.equal(own[0].weight, other["0.weight"])
    assert own[1].num_batches_tracked == 5


def test_a_file_without_counters_will_do() -> None:
    """They count training batches, which nobody needs any more."""
    tensors = {name: value for name, value in net().state_dict().items() if value.is_floating_point()}
    load_strictly(net(), tensors, "here")


def test_what_does_not_fit_is_named_and_counted() -> None:
    """Missing, unexpected and misshaped tensors, three names of each at most."""
    tensors = net().state_dict()
    del tensors["0.bias"]
    tensors["1.running_var"] = torch.ones(5)
    tensors |= {f"extra{number}": torch.ones(1) for number in range(4)}
    with pytest.raises(UsageError, match="expected the 7 tensors of Sequential in here") as caught:
        load_strictly(net(), tensors, "here")
    message = str(caught.value)
    assert "1 missing ('0.bias')" in message
    assert "4 unexpected ('extra0', 'extra1', 'extra2', ...)" in message
    assert "1 of another shape ('1.running_var')" in message
    assert "\n" not in message


def test_an_integer_is_no_weight() -> None:
    """A weight given as integers is missing, not converted."""
    tensors = net().state_dict()
    tensors["0.bias"] = torch.ones(4, dtype=torch.int64)
    with pytest.raises(UsageError, match="1 missing"):
        load_strictly(net(), tensors, "here")
