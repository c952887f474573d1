"""Opinions: what is found together is the same as what is asked for one by one, and it is found once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from detectors.agreement import AgreeingGroups
from detectors.base import Detector, Evidence, Floats, MissingEvidence, Rows, by_class
from detectors.hidden import HiddenPopulation
from detectors.planted import planted
from detectors.recurring import RecurringPattern
from detectors.spectral import SpectralSignature
from detectors.weighed import WeighingDetector

EVERYBODY = [AgreeingGroups(), HiddenPopulation(), RecurringPattern(), SpectralSignature()]


class Counting(WeighingDetector):
    """One that remembers how often it looked."""

    sees = ("shifted",)

    def __init__(self) -> None:
        self.looks = 0

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        for label, rows in by_class(evidence):
            self.looks += 1
            yield rows, np.arange(len(rows)) / len(rows), float(label)


@pytest.mark.parametrize("detector", EVERYBODY, ids=repr)
def test_an_opinion_is_both_answers(detector: Detector) -> None:
    """Whoever finds them together says the same as to one question at a time."""
    evidence, _ = planted("shifted", seed=0)
    scores, class_scores = detector.opinion(evidence)
    np.testing.assert_array_equal(scores, detector.score(evidence))
    alone = detector.class_scores(evidence)
    assert (alone is None) == (class_scores is None)
    if alone is not None and class_scores is not None:
        np.testing.assert_array_equal(class_scores, alone)


def test_each_class_is_looked_at_once() -> None:
    """An opinion costs no more than scores do; they are position times weight."""
    evidence, _ = planted("shifted", seed=0)
    detector = Counting()
    scores, class_scores = detector.opinion(evidence)
    assert detector.looks == len(evidence.classes)
    np.testing.assert_array_equal(class_scores, evidence.classes.astype(float))  # type: ignore[arg-type]
    assert scores[evidence.rows(0)].max() == 0
    assert 0 < scores[evidence.rows(2)].max() < 2


def test_an_opinion_asks_for_what_it_needs() -> None:
    """As every answer does."""
    nothing = Evidence(np.zeros(4, np.int64), ("a",), np.arange(4, dtype=np.uint64))
    with pytest.raises(MissingEvidence, match="needs space 'feature'"):
        HiddenPopulation().opinion(nothing)
