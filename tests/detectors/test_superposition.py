"""Superposition: the less doubt a sample leaves under other images, the more suspicious it is, in its own class."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.superposition import Superposition

EACH = 200


def doubts(seed: int = 0) -> np.ndarray:
    """Entropies of two classes, of which the second leaves less doubt."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(1.2, 0.2, EACH), rng.normal(0.7, 0.1, EACH)])[:, None]


def evidence_of(doubt: np.ndarray) -> Evidence:
    """Two classes of the same size."""
    labels = np.repeat([0, 1], EACH)
    return Evidence(labels, ["a", "b"], np.arange(2 * EACH, dtype=np.uint64), {"superposition": doubt})


def test_the_score_falls_with_doubt() -> None:
    """Within a class the order is that of the entropies, reversed; between classes nothing is compared."""
    doubt = doubts()
    scores = Superposition().score(evidence_of(doubt))
    for members in (slice(0, EACH), slice(EACH, None)):
        np.testing.assert_array_equal(np.argsort(scores[members]), np.argsort(-doubt[members, 0]))
        assert np.median(scores[members]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_what_speaks_through_other_images_is_found(seed: int) -> None:
    """A planted group that leaves hardly any doubt."""
    doubt = doubts(seed)
    planted = np.isin(np.arange(2 * EACH), [3, 70, 90, 180, 199])
    doubt[planted] = 0.05
    assert auroc(Superposition().score(evidence_of(doubt)), planted) > 0.99
