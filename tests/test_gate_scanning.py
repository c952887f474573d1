"""The gate that scans by itself: one that cannot vouches for nothing, and accidents are no outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_gates import scans_without_looking
from toy_verdicts import write_folder

from sanitizer import Policy, gate, pipeline
from sanitizer.errors import MissingDependency, SourceError, UsageError
from sanitizer.outcome import ABOVE, CANNOT_VOUCH
from sanitizer.pipeline import ScanSettings
from sanitizer.record import MANIFEST


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of images."""
    return write_folder(tmp_path / "data")


@pytest.fixture
def scanning(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Scans that find one planted sample, without looking."""
    return scans_without_looking(monkeypatch)


def test_without_a_verdict_it_scans(data: Path, tmp_path: Path, scanning: list[Any]) -> None:
    """Into the folder that was named, or into one that is gone afterwards; the same policy decides."""
    settings = ScanSettings(seed=7)
    outcome = gate(data, settings=settings, out=tmp_path / "out")
    assert (outcome.code, outcome.flagged) == (ABOVE, 1)
    assert scanning == [(data, tmp_path / "out", settings)]
    assert (tmp_path / "out" / MANIFEST).is_file()
    assert gate(data, Policy(max_flagged_fraction=1, max_flagged_fraction_per_class=1, max_age_days=1)).ok
    assert not scanning[1][1].exists()


@pytest.mark.parametrize("error", [SourceError("expected images"), MissingDependency("expected timm")])
def test_a_scan_that_cannot_be_made_vouches_for_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The reason is that of the scan."""

    def scan(*given: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "scan", scan)
    outcome = gate(data)
    assert (outcome.code, outcome.verdict) == (CANNOT_VOUCH, None)
    assert str(error)[1:] in outcome.reasons[0]


@pytest.mark.parametrize("error", [UsageError("expected another device"), RuntimeError("boom"), KeyboardInterrupt()])
def test_mistakes_and_accidents_are_no_outcome(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """What nobody foresaw is raised, never waved through."""

    def scan(*given: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "scan", scan)
    with pytest.raises(type(error)):
        gate(data)


def test_a_verdict_and_a_scan_exclude_each_other(data: Path, tmp_path: Path) -> None:
    """One would be ignored."""
    with pytest.raises(UsageError, match="leave out one"):
        gate(data, verdict=tmp_path, settings=ScanSettings())
    with pytest.raises(UsageError, match="leave out one"):
        gate(data, verdict=tmp_path, out=tmp_path / "out")
