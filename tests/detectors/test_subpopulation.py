"""SCAn: one variation for all classes, and a class that needs two means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_classes import classes_of

from detectors.base import Evidence, Floats
from detectors.checks import auroc, planted
from detectors.planted import evidence_of
from detectors.subpopulation import COMPARABLE_CLASSES, SCAn, Untangled, anomaly_index, untangled
from detectors.whitening import in_own_axes

TRIAL_SEEDS = range(3)


def by_two_means(rows: Floats, *, axes: int) -> Untangled:
    """Rows whose shared variation is a ball of one."""
    centred = rows - rows.mean(axis=0)
    return untangled(centred, in_own_axes(centred, axes, 10), np.eye(rows.shape[1]), tail=0.05)


def test_the_smaller_of_two_groups_lies_on_the_positive_side() -> None:
    """Halfway between the means is 0, and the saving is that of the two means."""
    rng = np.random.default_rng(0)
    rows, is_small = rng.normal(size=(400, 4)), np.arange(400) < 60
    rows[is_small, 2] += 10
    found = by_two_means(rows, axes=4)
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
    found = by_two_means(rows, axes=1)
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


def test_a_metric_is_worth_what_whitening_is() -> None:
    """Rows measured by the inverse of their variation fall apart as whitened rows do."""
    rng = np.random.default_rng(1)
    rows, mixing = rng.normal(size=(300, 5)), np.eye(5) + 0.4 * rng.normal(size=(5, 5))
    rows[:30] += 4
    rows -= rows.mean(axis=0)
    reduced = in_own_axes(rows, 5, 10)
    plain = untangled(rows, reduced, np.eye(5), tail=0.05)
    back = np.linalg.inv(mixing)
    mixed = untangled(rows @ mixing, reduced, back @ back.T, tail=0.05)
    assert mixed.gain == pytest.approx(plain.gain)
    np.testing.assert_allclose(mixed.side, plain.side, atol=1e-9)


@pytest.mark.parametrize("size", [0, 1])
def test_a_sample_alone_has_no_group(size: int) -> None:
    """Nothing can be untangled."""
    nothing = Evidence(np.zeros(size, np.int64), ("a",), np.zeros(size, np.uint64), {"feature": np.ones((size, 3))})
    np.testing.assert_array_equal(SCAn().score(nothing), np.zeros(size))
