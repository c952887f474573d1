"""Robust units: the middle of a class is zero, its spread is one, and what is planted moves neither."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.robust import class_units

SIZES = (300, 500)


def two_classes() -> Evidence:
    """Labels alone."""
    labels = np.repeat([2, 7], SIZES)
    return Evidence(labels, [str(c) for c in range(8)], np.arange(len(labels), dtype=np.uint64))


def test_normal_values_have_unit_spread_in_every_class_and_column() -> None:
    """Whatever their middle and their spread were."""
    evidence, rng = two_classes(), np.random.default_rng(0)
    values = rng.normal(size=(sum(SIZES), 3)) * [1, 10, 100] + 50.0 * evidence.labels[:, None]
    for members in (evidence.rows(2), evidence.rows(7)):
        units = class_units(evidence, values)[members]
        np.testing.assert_allclose(np.median(units, axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(units.std(axis=0), 1, atol=0.15)
    np.testing.assert_array_equal(class_units(evidence, values)[:, 0], class_units(evidence, values[:, 0]))


def test_shifting_and_scaling_change_nothing() -> None:
    """Units are free of the original ones."""
    evidence, values = two_classes(), np.random.default_rng(1).normal(size=sum(SIZES))
    np.testing.assert_allclose(class_units(evidence, 3 * values - 20), class_units(evidence, values), rtol=1e-3)


def test_what_lies_far_out_does_not_move_the_rest() -> None:
    """A tenth of a class at infinity, or nearly."""
    evidence, values = two_classes(), np.random.default_rng(2).normal(size=sum(SIZES))
    far = values.copy()
    far[:30] = 1e4
    before, after = class_units(evidence, values), class_units(evidence, far)
    np.testing.assert_allclose(after[30:], before[30:], atol=0.5)
    assert after[:30].min() > 5000


@pytest.mark.parametrize("size", [1, 2, 40])
def test_a_class_that_does_not_vary_has_finite_units(size: int) -> None:
    """Zero for all, and a great many for one that differs."""
    evidence = Evidence(np.zeros(size, int), ["a"], np.arange(size, dtype=np.uint64))
    np.testing.assert_array_equal(class_units(evidence, np.full(size, 0.3)), 0)
    np.testing.assert_array_equal(class_units(evidence, np.zeros(size)), 0)
    if size > 2:
        odd = np.where(np.arange(size) == 1, 0.4, 0.3)
        units = class_units(evidence, odd)
        assert np.isfinite(units).all()
        assert units[1] > 1000
