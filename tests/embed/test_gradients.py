"""Gradients as two factors: distances are exact, sketches keep them, nothing is ever written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from sanitizer.embed import gradients
from sanitizer.embed.gradients import pairwise_squared_distances, sketch, squared_distances


def factors(n: int = 60, classes: int = 5, width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residuals that sum to zero and features that are never negative, as a network leaves them."""
    rng = np.random.default_rng(seed)
    residual = rng.dirichlet(np.ones(classes), n) - np.eye(classes)[rng.integers(classes, size=n)]
    return residual.astype(np.float32), np.maximum(rng.normal(0.5, 1, (n, width)), 0).astype(np.float16)


def written_out(residual: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """The gradients as nobody else may have them: (n, C * d)."""
    outer = residual.astype(np.float64)[:, :, None] * feature.astype(np.float64)[:, None, :]
    return outer.reshape(len(feature), -1)


def test_distances_are_those_of_the_written_out_gradients() -> None:
    """For every pair asked about, to rounding."""
    residual, feature = factors()
    whole = written_out(residual, feature)
    rows = np.array([3, 0, 59])
    others = np.array([[1, 2, 3], [0, 7, 7], [58, 0, 5]])
    expected = cdist(whole, whole, "sqeuclidean")[rows[:, None], others]
    np.testing.assert_allclose(squared_distances(residual, feature, rows, others), expected, rtol=1e-9, atol=1e-12)


def test_all_pairs_are_the_pairs_one_by_one() -> None:
    """By two products or asked about in turn, few of many or many of few; in fp32 to its rounding."""
    residual, feature = factors()
    everyone = np.arange(60)
    whole = written_out(residual, feature)
    expected = cdist(whole, whole, "sqeuclidean")
    np.testing.assert_allclose(pairwise_squared_distances(residual, feature), expected, rtol=1e-9, atol=1e-12)
    halved = pairwise_squared_distances(residual, feature, np.float32)
    np.testing.assert_allclose(halved, expected, atol=1e-5 * expected.max())
    assert halved.dtype == np.float32
    for often in (0, 60):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gradients, "_OFTEN", often)
            found = squared_distances(residual, feature, everyone, np.tile(everyone[::-1], (60, 1)))
        np.testing.assert_allclose(found, expected[:, ::-1], rtol=1e-9, atol=1e-12)


def test_a_gradient_is_at_no_distance_from_its_copy() -> None:
    """And no distance is ever below zero, however the sums round."""
    residual, feature = factors()
    residual[1], feature[1] = residual[0], feature[0]
    everyone = np.arange(60)
    squared = squared_distances(residual, feature, everyone, np.tile(everyone, (60, 1)))
    assert squared[0, 1] == pytest.approx(0, abs=1e-12)
    assert (squared >= 0).all()
    np.testing.assert_allclose(squared, squared.T, atol=1e-12)


def test_a_sketch_keeps_squared_distances_on_average() -> None:
    """Over many seeds each pair's mean is within a few percent of the truth."""
    residual, feature = factors(n=12)
    truth = pdist(written_out(residual, feature), "sqeuclidean")
    guesses = np.mean([pdist(sketch(residual, feature, seed=seed), "sqeuclidean") for seed in range(80)], axis=0)
    np.testing.assert_allclose(guesses, truth, rtol=0.12)
    assert guesses.mean() == pytest.approx(truth.mean(), rel=0.03)


def test_a_larger_sketch_errs_less() -> None:
    """Sixteen times the columns, about a quarter of the error."""
    residual, feature = factors()
    truth = pdist(written_out(residual, feature), "sqeuclidean")
    small, large = (np.std(pdist(sketch(residual, feature, size=size), "sqeuclidean") / truth) for size in (64, 1024))
    assert 2.5 < small / large < 6


def test_a_sketch_is_linear_in_its_factors_and_blind_to_the_company() -> None:
    """A row's sketch depends on the row and the seed alone."""
    residual, feature = factors()
    whole = sketch(residual, feature, seed=5)
    np.testing.assert_allclose(sketch(residual[7:9], feature[7:9], seed=5), whole[7:9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sketch(2 * residual, feature, seed=5), 2 * whole, rtol=1e-5)
    assert not np.allclose(sketch(residual, feature, seed=6), whole)


def test_a_sketch_is_small() -> None:
    """Its width is asked for, whatever the number of classes and features."""
    residual, feature = factors(classes=200, width=64)
    found = sketch(residual, feature, size=32)
    assert (found.shape, found.dtype) == ((60, 32), np.float32)
