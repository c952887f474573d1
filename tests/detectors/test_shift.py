"""Prediction shift: the less confidence a sample loses, the more suspicious it is, in its own class."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.shift import PredictionShift, uncertainty

EACH = 200


def shaken(seed: int = 0) -> np.ndarray:
    """Confidences of two classes, of which the second is the sturdier one."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.9, 1, 2 * EACH)
    left = np.concatenate([rng.beta(2, 8, EACH), rng.beta(5, 5, EACH)])
    return np.stack([before, before * left], axis=1)


def evidence_of(confidence: np.ndarray) -> Evidence:
    """Two classes of the same size."""
    labels = np.repeat([0, 1], EACH)
    return Evidence(labels, ["a", "b"], np.arange(2 * EACH, dtype=np.uint64), {"dropout": confidence})


def test_the_score_falls_with_every_bit_of_confidence_lost() -> None:
    """Within a class the order is that of the paper's uncertainty, reversed."""
    confidence = shaken()
    scores, lost = PredictionShift().score(evidence_of(confidence)), uncertainty(confidence)
    for members in (slice(0, EACH), slice(EACH, None)):
        np.testing.assert_array_equal(np.argsort(scores[members]), np.argsort(-lost[members]))


def test_a_sturdy_class_is_not_suspicious_for_it() -> None:
    """Classes are compared with themselves."""
    scores = PredictionShift().score(evidence_of(shaken()))
    assert np.median(scores[:EACH]) == pytest.approx(np.median(scores[EACH:]), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_what_outlasts_dropout_is_found(seed: int) -> None:
    """A planted group that keeps nine tenths of its confidence, in the class that loses most."""
    confidence = shaken(seed)
    planted = np.isin(np.arange(2 * EACH), [0, 17, 60, 99, 150])
    confidence[planted, 1] = 0.9 * confidence[planted, 0]
    assert auroc(PredictionShift().score(evidence_of(confidence)), planted) > 0.97
