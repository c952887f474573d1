"""SCAn: one variation for all classes, and a class that needs two means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Evidence, Floats, Rows
from detectors.checks import auroc, planted
from detectors.planted import evidence_of
from detectors.subpopulation import (
    COMPARABLE_CLASSES,
    SCAn,
    anomaly_index,
    decompose,
    shared_variation,
    untangled,
    whitened_by,
)

TRIAL_SEEDS = range(3)


def classes_of(sizes: tuple[int, ...], width: int, seed: int = 0) -> tuple[Floats, Rows]:
    """Classes around means of their own, that vary alike."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    variation = rng.normal(size=(width, width)) / np.sqrt(width) + np.eye(width)
    return 2 * rng.normal(size=(len(sizes), width))[labels] + rng.normal(size=(len(labels), width)) @ variation, labels


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
    found = decompose(rows, labels, shrinkage=0.0, rounds=rounds)
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
    found = shared_variation(rows, labels, trimmed=0.1)
    everything = decompose(rows, labels, shrinkage=0.0).within
    assert np.trace(found) == pytest.approx(np.trace(truth), rel=0.1)
    assert np.abs(found - truth).max() < 0.25 * np.abs(truth).max()
    assert np.abs(found - truth).max() < 0.3 * np.abs(everything - truth).max()


def test_whitened_rows_have_the_covariance_of_a_ball() -> None:
    """In units of their own covariance."""
    rows = classes_of((2000,), width=5)[0]
    centred = rows - rows.mean(axis=0)
    covariance = centred.T @ centred / len(rows)
    whitened = whitened_by(covariance, centred)
    np.testing.assert_allclose(whitened.T @ whitened / len(rows), np.eye(5), atol=1e-8)


def test_the_smaller_of_two_groups_lies_on_the_positive_side() -> None:
    """Halfway between the means is 0, and the saving is that of the two means."""
    rng = np.random.default_rng(0)
    rows, is_small = rng.normal(size=(400, 4)), np.arange(400) < 60
    rows[is_small, 2] += 10
    found = untangled(rows, axes=4, rows_per_axis=10, tail=0.05)
    assert (found.side[is_small] > 0).all()
    assert (found.side[~is_small] < 0).all()
    assert found.side[is_small].mean() == pytest.approx(-found.side[~is_small].mean())
    assert found.gain == pytest.approx(0.15 * 0.85 * 10**2, rel=0.1)


def test_the_larger_group_is_never_taken_for_the_smaller() -> None:
    """Though a sample far out on its side makes it the heavier tail, where the search starts."""
    rows = 0.1 * np.random.default_rng(0).normal(size=(401, 2))
    is_small = np.arange(401) < 180
    rows[is_small, 0] += 30
    rows[400, 0] = -100
    found = untangled(rows, axes=1, rows_per_axis=10, tail=0.05)
    np.testing.assert_array_equal(found.side > 0, is_small)


@pytest.mark.parametrize("family", ["shifted", "tight"])
def test_a_change_of_coordinates_changes_little(family) -> None:  # type: ignore[no-untyped-def]
    """Any linear map, not only rotations: all that is left of the coordinates is the shrinkage."""
    evidence, is_poison = planted(family, seed=1)
    mixing = np.eye(16) + 0.3 * np.random.default_rng(0).normal(size=(16, 16)) / 4
    moved = replace(evidence, spaces={**evidence.spaces, "feature": 50 * evidence.space("feature") @ mixing})
    before, after = SCAn().score(evidence), SCAn().score(moved)
    assert np.corrcoef(before, after)[0, 1] > 0.999
    assert auroc(after, is_poison) > 0.99


def test_the_odd_class_is_counted_in_robust_deviations() -> None:
    """Around the median class, in units that the odd one does not stretch."""
    index = anomaly_index(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    np.testing.assert_allclose(index, [-1.349, -0.6745, 0, 0.6745, 97 / 1.4826], rtol=1e-3)


def test_few_classes_cannot_be_compared() -> None:
    """Their evidence is what a second mean explains, as it is."""
    values = np.arange(1.0, COMPARABLE_CLASSES)
    np.testing.assert_array_equal(anomaly_index(values), values)


def test_classes_that_are_all_alike_are_not_odd() -> None:
    """A spread of zero does not make a hair's breadth an anomaly."""
    assert np.abs(anomaly_index(np.array([1.0, 1.0, 1.0, 1.0, 1.01]))).max() < 1
    np.testing.assert_array_equal(anomaly_index(np.zeros(6)), np.zeros(6))


def clean(seed: int, sizes: tuple[int, ...] = (300, 500, 200, 400, 350)) -> Evidence:
    """Classes that hide nothing."""
    return evidence_of(*classes_of(sizes, width=12, seed=seed))


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_a_hidden_group_stands_out_among_classes_of_any_size(seed: int) -> None:
    """Its class is far odder than any that hides nothing, and its members are found."""
    evidence = clean(seed)
    feature = evidence.space("feature").copy()
    is_poison = np.zeros(len(evidence), dtype=bool)
    is_poison[evidence.rows(2)[:15]] = True
    feature[is_poison] += 8 * np.random.default_rng(seed).normal(size=12) / np.sqrt(12)
    poisoned = evidence_of(feature, evidence.labels)
    before, after = SCAn().class_scores(evidence), SCAn().class_scores(poisoned)
    assert before is not None
    assert after is not None
    assert after[2] > 2 * before.max()
    assert after.argmax() == 2
    assert auroc(SCAn().score(poisoned), is_poison) > 0.99


@pytest.mark.parametrize("size", [0, 1])
def test_a_sample_alone_has_no_group(size: int) -> None:
    """Nothing can be untangled."""
    nothing = Evidence(np.zeros(size, np.int64), ("a",), np.zeros(size, np.uint64), {"feature": np.ones((size, 3))})
    np.testing.assert_array_equal(SCAn().score(nothing), np.zeros(size))
