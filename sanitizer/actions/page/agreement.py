"""Who gave a reason for the flagged samples, and how often two detectors name the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sanitizer.record import Verdict

MAX_COMPARED = 8  # detectors whose overlap is shown: more columns cannot be read
MAX_VOICES = 100
SHADES = 10


@dataclass(frozen=True)
class Voice:
    """One detector that gave a reason."""

    name: str
    says: str
    count: int  # flagged samples that it names
    alone: int  # ... and that nobody else does


@dataclass(frozen=True)
class Agreement:
    """All of them, most heard first."""

    flagged: int
    voices: Sequence[Voice]
    #: For each of the first voices: samples shared with each of them, and how strong a field is coloured.
    overlap: Sequence[tuple[str, Sequence[tuple[int, int]]]]


def speakers(summary: Mapping[str, Any]) -> dict[str, str]:
    """What is said as a reason -> the detector that says it.

    >>> speakers({"detectors": {"run": [{"name": "lof", "says": "It is far."}]}})
    {'It is far.': 'lof'}
    """
    names: dict[str, list[str]] = {}
    for detector in summary["detectors"]["run"]:
        names.setdefault(detector["says"], []).append(detector["name"])
    return {says: " or ".join(some) for says, some in names.items()}


def agreement(verdict: Verdict) -> Agreement | None:
    """Counted over all flagged samples; None where no detector gave a reason."""
    named = speakers(verdict.summary)
    places = {says: place for place, says in enumerate(named)}
    reasons = verdict.suspicious()["reasons"].to_pylist()
    spoke = np.zeros((len(reasons), len(named)), bool)  # (flagged, detectors)
    for row, said in enumerate(reasons):
        spoke[row, [places[reason] for reason in said or () if reason in places]] = True
    if not spoke.any():
        return None
    counts = spoke.sum(axis=0)
    alone = (spoke & (spoke.sum(axis=1, keepdims=True) == 1)).sum(axis=0)
    says = list(named)
    order = [int(place) for place in np.argsort(-counts, kind="stable") if counts[place]]
    voices = [Voice(named[says[place]], says[place], int(counts[place]), int(alone[place])) for place in order]
    return Agreement(len(reasons), voices[:MAX_VOICES], _overlap(spoke[:, order[:MAX_COMPARED]], voices))


def _overlap(spoke: np.ndarray, voices: Sequence[Voice]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Of each two detectors the samples that both name, coloured by their share of those that either does."""
    weights = spoke.astype(np.float64)
    both = (weights.T @ weights).astype(int)
    counts = both.diagonal()
    either = counts[:, None] + counts[None, :] - both
    shades = np.rint(SHADES * both / np.maximum(either, 1)).astype(int)
    rows = zip(both.tolist(), shades.tolist(), strict=True)
    return [(voice.name, list(zip(*row, strict=True))) for voice, row in zip(voices, rows, strict=False)]
