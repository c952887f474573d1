"""Detectors that say what a test wants, and judgements of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from detectors.base import Detector, Evidence, Floats
from sanitizer.verdict import (
    CLASS_MARGIN,
    LABEL_ODDS,
    Calibration,
    Judgement,
    Opinion,
    judge,
)


class Deciding(Detector):
    """A detector whose class evidence counts."""

    sees = ("shifted",)
    says = "It was planted."
    innocent = 2.0

    def _score(self, evidence: Evidence) -> Floats:
        return np.zeros(len(evidence))


class Noticing(Deciding):
    """Another one whose class evidence counts."""

    says = "It recurs."


class Scattering(Deciding):
    """One that finds planted samples which have in common only that they contradict their label."""

    sees = ("mislabelled",)
    says = "It looks like another class."


class Doubting(Deciding):
    """One that gives odds that a label is wrong."""

    sees = ("mislabelled",)
    says = "Its label looks wrong."
    innocent = None
    label_odds = True


class Watching(Deciding):
    """One that may say what it wants of classes: nothing follows from it."""

    says = "It looks odd."
    innocent = None


def evidence_over(labels: Sequence[int] | np.ndarray) -> Evidence:
    """Nothing but labels: that is all a decision needs."""
    labels = np.asarray(labels, dtype=np.int64)
    names = [f"class {number}" for number in range(int(labels.max()) + 1)]
    return Evidence(labels, names, np.arange(len(labels), dtype=np.uint64))


def opinion(
    scores: Floats,
    class_scores: Sequence[float] | None = None,
    *,
    decides: bool = True,
    detector: Detector | None = None,
) -> Opinion:
    """What a detector made up."""
    detector = detector or (Deciding() if decides else Watching())
    return Opinion(detector, np.asarray(scores, float), None if class_scores is None else np.array(class_scores, float))


def decided(labels: Sequence[int] | np.ndarray, opinions: Mapping[str, Opinion], *, max_drop: float = 0.2) -> Judgement:
    """The judgement over labels and opinions."""
    return judge(evidence_over(labels), opinions, Calibration(max_drop=max_drop))


def cloud_with_tail(size: int, tail: int, *, seed: int = 0, height: float = 12) -> Floats:
    """Normal scores, of which the last ``tail`` lie ``height`` deviations out."""
    scores = np.random.default_rng(seed).normal(size=size)
    if tail:
        scores[-tail:] += height
    return scores


LABELS = np.repeat([0, 1], [200, 100])  # class 0 hides the group: its last twelve
TAIL = np.isin(np.arange(300), np.arange(188, 200))
SCORES = np.concatenate([cloud_with_tail(200, 12), cloud_with_tail(100, 0, seed=1)])
STRONG = 2.0 * CLASS_MARGIN * 1.5  # class evidence in a detector's own units


def odds_over(labels: np.ndarray, wrong: np.ndarray, *, height: float = 2 * LABEL_ODDS) -> Opinion:
    """Odds against some labels, all others being certain."""
    return opinion(np.where(wrong, np.log(height), -3.0), detector=Doubting())


def scattered_run(rng: np.random.Generator, poison: int) -> tuple[np.ndarray, Opinion, np.ndarray]:
    """Three classes of equal honest confusion, one of which holds poison that contradicts its label."""
    labels = np.repeat([0, 1, 2], [300 + poison, 300, 300])
    planted = np.isin(np.arange(len(labels)), np.arange(300, 300 + poison))
    scores = rng.exponential(size=len(labels)) + planted * rng.exponential(5, len(labels))
    return labels, opinion(scores, [STRONG, 0.0, 0.0], detector=Scattering()), planted


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Opinion], float]:
    """Labels, opinions of up to three detectors, all of which may decide, and a cap."""
    labels = np.repeat(np.arange(3), draw(st.tuples(*[st.integers(1, 60)] * 3)))
    opinions = {}
    for number in range(draw(st.integers(1, 3))):
        seed, tail = draw(st.integers(0, 99)), draw(st.floats(0, 0.9))
        scores = np.random.default_rng(seed).normal(size=len(labels))
        scores[np.random.default_rng(seed + 1).random(len(labels)) < tail] += draw(st.sampled_from([3.0, 20.0, 1e6]))
        opinions[str(number)] = opinion(scores, draw(st.tuples(*[st.floats(0, 1e3)] * 3)))
    for number in range(draw(st.integers(0, 2))):
        odds = np.random.default_rng(draw(st.integers(0, 99))).normal(0, draw(st.sampled_from([1.0, 5.0])), len(labels))
        opinions[f"odds {number}"] = opinion(odds, detector=Doubting())
    return labels, opinions, draw(st.sampled_from([0.01, 0.1, 0.2, 1.0]))
