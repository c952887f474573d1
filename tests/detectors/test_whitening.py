"""Whitening: what all classes share becomes one unit in every direction."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.planted import evidence_of
from detectors.whitening import class_residuals, in_own_axes, principal_axes, whitened


def rows_and_labels(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes around different means, alike in their very uneven spread."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [100, 200, 150])
    rows = rng.normal(size=(450, 12)) * np.geomspace(10, 0.01, 12) + 50 * rng.normal(size=(3, 12))[labels]
    return rows, labels


def test_residuals_have_no_class_mean_left() -> None:
    """And the distances within a class are as before."""
    rows, labels = rows_and_labels()
    residuals = class_residuals(evidence_of(rows, labels))
    for label in (0, 1, 2):
        np.testing.assert_allclose(residuals[labels == label].mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(
            np.diff(residuals[labels == label], axis=0), np.diff(rows[labels == label], axis=0), atol=1e-9
        )


def test_whitened_rows_have_identity_covariance() -> None:
    """Pooled within classes, as the ridge goes to zero."""
    rows, labels = rows_and_labels()
    white = whitened(class_residuals(evidence_of(rows, labels)), ridge=1e-12)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(12), atol=1e-4)


def test_a_ridge_holds_noise_down() -> None:
    """A direction in which nothing varies is not blown up to the size of the others."""
    rows, labels = rows_and_labels()
    white = whitened(class_residuals(evidence_of(rows, labels)), ridge=0.01)
    spread = np.linalg.eigvalsh(white.T @ white / len(white))
    assert spread.max() <= 1
    assert spread.min() < 1e-3


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale: float) -> None:
    """The ridge is a share of the data's own variance."""
    rows, labels = rows_and_labels()
    residuals = class_residuals(evidence_of(rows, labels))
    np.testing.assert_allclose(whitened(scale * residuals, ridge=0.01), whitened(residuals, ridge=0.01), rtol=1e-6)


def test_a_turned_space_is_whitened_alike() -> None:
    """Whitening keeps the axes that it was given: turning before is turning after."""
    rows, labels = rows_and_labels()
    residuals = class_residuals(evidence_of(rows, labels))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    np.testing.assert_allclose(
        whitened(residuals @ rotation, ridge=0.01), whitened(residuals, ridge=0.01) @ rotation, atol=1e-7
    )


def test_constant_rows_are_whitened_to_nothing() -> None:
    """No variance, no division by zero."""
    assert (whitened(np.zeros((20, 5)), ridge=0.01) == 0).all()


@pytest.mark.parametrize("size", [5, 100])
def test_axes_point_to_the_heavier_tail_and_are_orthonormal(size: int) -> None:
    """Whatever sign an eigenvector happened to have, with fewer rows than dimensions and with more."""
    rows = np.random.default_rng(2).exponential(size=(size, 10)) * np.linspace(3, 1, 10)
    axes = principal_axes(rows, 4)
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-9)
    along = (rows - rows.mean(axis=0)) @ axes.T
    assert ((along**3).sum(axis=0) > 0).all()
    assert (np.diff(along.var(axis=0)) <= 1e-9).all()
    np.testing.assert_allclose(principal_axes(-rows, 4), -axes, atol=1e-7)


@pytest.mark.parametrize(("size", "axes"), [(9, 1), (10, 1), (59, 5), (160, 16), (1000, 16)])
def test_a_small_class_is_searched_along_few_axes(size: int, axes: int) -> None:
    """One for every ten rows, at least one, at most sixteen."""
    rows = np.random.default_rng(3).normal(size=(size, 20))
    assert in_own_axes(rows, 16, 10).shape == (size, axes)
