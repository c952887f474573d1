"""Training on data that does not pass is refused, with the gate's reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sanitizer.integrations.refusal import GateBeforeTraining, TrainingRefused
from sanitizer.policy import Policy


def test_what_passes_is_asked_once(images: Path, verdict_on: Callable[..., Path]) -> None:
    """Training that goes on is not compared again."""
    folder = verdict_on(images, count=0)
    asked = GateBeforeTraining(str(images), Policy(), verdict=folder)
    assert asked.ask().ok
    (images / "bar" / "new.png").write_bytes(next((images / "bar").glob("*.png")).read_bytes())
    assert asked.ask().ok
    with pytest.raises(TrainingRefused, match=r"bar/new\.png"):
        GateBeforeTraining(str(images), Policy(), verdict=folder).ask()


def test_what_does_not_pass_is_refused_with_reasons(images: Path, verdict_on: Callable[..., Path]) -> None:
    """The outcome comes with the error; nothing suspicious is let through where nobody says so."""
    asked = GateBeforeTraining(str(images), verdict=verdict_on(images))
    with pytest.raises(TrainingRefused, match="training refused") as caught:
        asked.ask()
    assert caught.value.outcome.code == 1
    lenient = Policy(max_flagged_fraction=0.5, max_flagged_fraction_per_class=0.5)
    assert GateBeforeTraining(str(images), lenient, verdict=asked.settings["verdict"]).ask().ok
