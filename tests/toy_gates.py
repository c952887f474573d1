"""What the tests of the gate ask of an outcome, and scans that take no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_verdicts import EACH, write_verdict

from sanitizer import pipeline
from sanitizer.outcome import Outcome

TOTAL = 2 * EACH
CAT, DOG = "cat/0.png", "dog/0.png"


def failed(outcome: Outcome) -> list[str]:
    """The names of the checks that did not pass."""
    return [check.name for check in outcome.failed]


def scans_without_looking(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every scan finds one planted sample; what was asked of each: source, folder, settings."""
    asked: list[Any] = []

    def scan(source: Any, out: Path, settings: Any, progress: Any) -> None:
        asked.append((source, out, settings))
        write_verdict(Path(source), out, {CAT: "planted"})

    monkeypatch.setattr(pipeline, "scan", scan)
    return asked
