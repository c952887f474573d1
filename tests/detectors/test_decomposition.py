"""The decomposition of classes: all of them at once as one by one, and nobody far out sets the scale."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from toy_classes import classes_of

from detectors.base import Floats, Rows
from detectors.decomposition import LEAST_SHRINKAGE, Moments, decompose, shared_variation
from detectors.planted import evidence_of

TRIAL_SEEDS = range(3)


def moments(rows: Floats, labels: Rows) -> Moments:
    """What there is to know of them."""
    averages = np.array([rows[labels == label].mean(axis=0) for label in np.unique(labels)])
    offsets = rows - averages[labels]
    fourth = float(((offsets**2).sum(axis=1) ** 2).sum())
    return Moments(np.bincount(labels).tolist(), list(averages), offsets.T @ offsets, fourth)


def by_the_book(rows: Floats, labels: Rows, rounds: int) -> tuple[Floats, Floats, Floats]:
    """The recipe, sample by sample and class by class."""
    width, classes = rows.shape[1], labels.max() + 1
    centre = np.mean([rows[labels == c].mean(axis=0) for c in range(classes)], axis=0)
    offsets = rows - centre
    means = np.array([offsets[labels == c].mean(axis=0) for c in range(classes)])
    between = sum(np.outer(mean, mean) for mean in means) / classes
    within = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(offsets, labels, strict=True)) / len(rows)
    for _ in range(rounds):
        means = np.zeros((classes, width))
        for c in range(classes):
            members = offsets[labels == c]
            gain = -np.linalg.inv(len(members) * between + within) @ between @ np.linalg.inv(within)
            for x in members:
                means[c] += -within @ gain @ x
        between = sum(np.outer(mean, mean) for mean in means) / classes
        within = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(offsets, labels, strict=True)) / len(rows)
    return centre + means, between, within


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_all_classes_at_once_is_what_the_loop_computes(rounds: int) -> None:
    """Classes of unequal size, one round after another."""
    rows, labels = classes_of((5, 9, 30, 14), width=3)
    found = decompose(moments(rows, labels), shrinkage=0.0, rounds=rounds)
    means, between, within = by_the_book(rows, labels, rounds)
    np.testing.assert_allclose(found.means, means, rtol=1e-8)
    np.testing.assert_allclose(found.between, between, rtol=1e-8)
    np.testing.assert_allclose(found.within, within, rtol=1e-8)


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_the_shared_variation_is_found_beside_a_hidden_group(seed: int) -> None:
    """The farthest of every class are left out, and the size of the rest is made up for."""
    rows, labels = classes_of((800,) * 5, width=6, seed=seed)
    truth = np.cov((rows - np.array([rows[labels == c].mean(axis=0) for c in range(5)])[labels]).T)
    rows[:40] += 15
    found = shared_variation(evidence_of(rows, labels), trimmed=0.1)
    everything = decompose(moments(rows, labels), shrinkage=0.0).within
    assert np.trace(found) == pytest.approx(np.trace(truth), rel=0.1)
    assert np.abs(found - truth).max() < 0.25 * np.abs(truth).max()
    assert np.abs(found - truth).max() < 0.3 * np.abs(everything - truth).max()


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (40, 60, 20), (3000,)])
@pytest.mark.parametrize("width", [2, 7])
def test_shrinkage_is_that_of_ledoit_and_wolf(sizes: tuple[int, ...], width: int) -> None:
    """From sums as from the samples, and never none at all."""
    rows, labels = classes_of(sizes, width)
    known = moments(rows, labels)
    offsets = rows - np.array(known.averages)[labels]
    expected = ledoit_wolf_shrinkage(offsets, assume_centered=True)
    assert known.shrinkage() == pytest.approx(max(LEAST_SHRINKAGE, expected))


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones((9, 3)), np.arange(9.0)[:, None]], ids=np.shape)
def test_what_does_not_vary_can_be_divided_by(rows: Floats) -> None:
    """A sample alone, copies of one, a single dimension."""
    found = shared_variation(evidence_of(rows, np.zeros(len(rows), dtype=np.int64)), trimmed=0.1)
    assert np.linalg.eigvalsh(found).min() > 0


def test_moving_the_origin_moves_only_the_means() -> None:
    """Variation is seen from the middle of each class."""
    rows, labels = classes_of((50, 80, 60), width=4)
    before = shared_variation(evidence_of(rows, labels), trimmed=0.1)
    np.testing.assert_allclose(shared_variation(evidence_of(rows + 100, labels), trimmed=0.1), before, rtol=1e-9)
