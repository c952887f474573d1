"""Whitening by the covariance pooled within classes: what is unusual for a member of any class stands out.

Natural variation (pose, background) is shared by all classes and dominates plain covariances; measured in
units of it, a planted group that a class hides becomes the largest thing there is.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Evidence, Floats, by_class


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
    covariance = residuals.T @ residuals / max(1, len(residuals))
    values, vectors = np.linalg.eigh(covariance)
    floor = ridge * values.mean() + np.finfo(float).tiny
    return np.asarray((vectors / np.sqrt(np.clip(values, 0, None) + floor)) @ vectors.T)


def clipped(rows: Floats, most: float = 5.0) -> Floats:
    """Rows in which nothing counts for more than so many standard deviations: strays must not set the scale."""
    return np.asarray(np.clip(rows, -most, most))


def principal_axes(rows: Floats, count: int) -> Floats:
    """The leading directions of centred rows, (count, d), each pointing to its heavier tail.

    The sign that an eigenvector happens to have says nothing; the side on which few samples lie far out does.
    """
    centred = rows - rows.mean(axis=0)
    if len(rows) < rows.shape[1]:
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
    else:
        axes = np.linalg.eigh(centred.T @ centred)[1].T[::-1]
    axes = axes[:count]
    skew = ((centred @ axes.T) ** 3).sum(axis=0)
    return np.asarray(np.where(skew[:, None] < 0, -axes, axes))


def in_own_axes(rows: Floats, axes: int, rows_per_axis: int) -> Floats:
    """Rows of one class in its leading axes: at most one axis for every ``rows_per_axis`` rows.

    In many dimensions any small class can be cut in two with a wide gap; few axes leave few ways to cut.
    """
    count = max(1, min(axes, len(rows) // rows_per_axis))
    return np.asarray((rows - rows.mean(axis=0)) @ principal_axes(rows, count).T)
