"""Whitening by the covariance pooled within classes: what is unusual for a member of any class stands out.

Natural variation (pose, background) is shared by all classes and dominates plain covariances; measured in
units of it, a planted group that a class hides becomes the largest thing there is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.axes import leading_axes, towards_heavier_tail
from detectors.base import Evidence, Floats, by_class
from detectors.scatter import along_axes, pooled_covariance

#: Whitened axes that are found together: who asks for fewer is given the first of them.
SHARED = 16


def class_residuals(evidence: Evidence, space: str = "feature") -> Floats:
    """Every sample as its difference from the mean of its class."""
    rows = evidence.space(space)
    residuals = np.empty_like(rows)
    for _, members in by_class(evidence):
        residuals[members] = rows[members] - rows[members].mean(axis=0)
    return residuals


def whitened(residuals: Floats, *, ridge: float) -> Floats:
    """Residuals in units of their pooled covariance; ``ridge`` is a share of its mean eigenvalue."""
    return np.asarray(residuals @ whitener(residuals, ridge=ridge))


def whitener(residuals: Floats, *, ridge: float) -> Floats:
    """The matrix that whitens such rows, (d, d)."""
    return whitening(residuals.T @ residuals / max(1, len(residuals)), ridge=ridge)


def whitening(covariance: Floats, *, ridge: float) -> Floats:
    """The symmetric matrix that whitens rows of a covariance, (d, d)."""
    values, vectors = np.linalg.eigh(covariance)
    floor = ridge * values.mean() + np.finfo(float).tiny
    return np.asarray((vectors / np.sqrt(np.clip(values, 0, None) + floor)) @ vectors.T)


def along_whitened_axes(evidence: Evidence, label: int, count: int, *, ridge: float) -> Floats:
    """Where the features of a class lie along its leading axes when whitened, (m, at most ``count``)."""
    along = evidence.derived(_along_whitened, label, max(count, SHARED), ridge)
    return along[:, :count].astype(np.float64)


def _along_whitened(evidence: Evidence, label: int, count: int, ridge: float) -> NDArray[np.float32]:
    matrix = evidence.derived(_feature_whitening, ridge)
    return along_axes(evidence, label, count, matrix).astype(np.float32)


def _feature_whitening(evidence: Evidence, ridge: float) -> Floats:
    return whitening(pooled_covariance(evidence), ridge=ridge)


def clipped(rows: Floats, most: float = 5.0) -> Floats:
    """Rows in which nothing counts for more than so many standard deviations: strays must not set the scale."""
    return np.asarray(np.clip(rows, -most, most))


def principal_axes(rows: Floats, count: int) -> Floats:
    """The leading directions of centred rows, (count, d), each pointing to its heavier tail.

    The sign that an eigenvector happens to have says nothing; the side on which few samples lie far out does.
    """
    centred = rows - rows.mean(axis=0)
    axes = leading_axes(centred, count)
    return np.asarray(towards_heavier_tail(centred @ axes.T)[:, None] * axes)


def enough(size: int, axes: int, rows_per_axis: int) -> int:
    """The number of axes in which so many rows may be searched."""
    return max(1, min(axes, size // rows_per_axis))


def in_own_axes(rows: Floats, axes: int, rows_per_axis: int) -> Floats:
    """Rows of one class in its leading axes: at most one axis for every ``rows_per_axis`` rows.

    In many dimensions any small class can be cut in two with a wide gap; few axes leave few ways to cut.
    """
    centred = rows - rows.mean(axis=0)
    along = centred @ leading_axes(centred, enough(len(rows), axes, rows_per_axis)).T
    return np.asarray(towards_heavier_tail(along) * along)
