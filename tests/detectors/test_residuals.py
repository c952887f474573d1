"""Samples without the mean of their class: block by block they are what they are as a whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.residuals import BLOCK, Residuals, class_moments, residuals, usual_residuals, whitened
from detectors.rests import rests
from detectors.whitening import class_residuals, clipped, principal_axes, whitener

CLASSES, WIDTH = 3, 6


def evidence(size: int = 3 * BLOCK + 5, width: int = WIDTH) -> Evidence:
    """Samples of classes that lie elsewhere, stored in half precision."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, size) * 2  # numbers with gaps
    rows = 3 * rng.normal(size=(2 * CLASSES, width))[labels] + rng.standard_t(3, size=(size, width))
    keys = rng.integers(0, 2**63, size, dtype=np.uint64)
    return Evidence(labels, tuple("abcdef"), keys, {"feature": rows.astype(np.float16)})


def test_residuals_are_differences_from_the_class_mean() -> None:
    """In any order, and in units of what they vary by if asked for."""
    known = evidence()
    rows = np.random.default_rng(1).permutation(len(known))[: 2 * BLOCK]
    whole = class_residuals(known)
    np.testing.assert_allclose(residuals(known, "feature").of(rows), whole[rows], atol=1e-12)
    expected = clipped(whole / (whole.std(axis=0) + 1e-9))
    np.testing.assert_allclose(usual_residuals(known, "feature").of(rows), expected[rows], atol=1e-9)


def test_sums_and_products_are_those_of_all_rows() -> None:
    """However many blocks they are read in."""
    known = evidence()
    seen, rows = residuals(known, "feature"), np.arange(len(known))
    whole = seen.of(rows)
    across = np.random.default_rng(2).normal(size=(WIDTH, 2))
    groups = np.random.default_rng(3).random((4, len(rows))) < 0.3
    with_ones = np.column_stack([whole, np.ones(len(rows))])
    np.testing.assert_allclose(seen.times(rows, across), whole @ across, atol=1e-9)
    np.testing.assert_allclose(seen.sums(rows, groups), groups.astype(float) @ whole, atol=1e-9)
    np.testing.assert_allclose(seen.moments(rows), with_ones.T @ with_ones, atol=1e-8)


@pytest.mark.parametrize("by", [residuals, usual_residuals])
def test_directions_are_whitened_instead_of_samples(by: Callable[[Evidence, str], Residuals]) -> None:
    """By the covariance that all samples have around the means of their classes."""
    known = evidence()
    white = whitened(known, "feature", by=by, ridge=0.01)
    whole = white.residuals.of(np.arange(len(known)))
    np.testing.assert_allclose(white.matrix, whitener(whole, ridge=0.01), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("size", [3 * BLOCK, 60], ids=["many", "few"])
def test_a_rest_is_seen_along_its_own_axes(size: int) -> None:
    """Those of the whitened samples that are not of the part, found by moments or by the samples themselves."""
    known = evidence(size, width=32)
    rows = known.rows(2)
    part = np.arange(len(rows)) % 3
    white = whitened(known, "feature", by=usual_residuals, ridge=0.1)
    turned = white.residuals.of(rows) @ white.matrix
    found = rests(
        white, rows, part, lambda: class_moments(known, 2, "feature", usual_residuals), axes=2, rows_per_axis=5
    )
    for number, rest in enumerate(found):
        np.testing.assert_array_equal(rest.asked, part == number)
        others = turned[part != number]
        axes = principal_axes(others, rest.along.shape[1])
        np.testing.assert_allclose(rest.along, (turned - others.mean(axis=0)) @ axes.T, atol=1e-6)
        np.testing.assert_allclose(rest.axes(white.residuals.of(rows)), rest.along, atol=1e-9)
    assert number == 2
