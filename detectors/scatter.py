"""How classes vary: sums of products of their centred features, in double precision, and what whitens them.

Whitening divides by the small variances, so they must not drown in the rounding of the large ones.
"""

from __future__ import annotations

import numpy as np

from detectors.axes import leading_axes, leading_vectors, towards_heavier_tail
from detectors.base import Evidence, Floats

#: The matrices of all classes are kept as long as they take no more than this share of the stored features.
_SMALL = 1 / 2


def centred(evidence: Evidence, label: int) -> Floats:
    """The features of a class as differences from their mean, (m, d)."""
    rows = evidence.part("feature", evidence.rows(label))
    rows -= rows.mean(axis=0)
    return rows


def scatter(evidence: Evidence, label: int) -> Floats:
    """The products of a class's centred features summed over its samples, (d, d)."""
    stored = evidence.spaces["feature"]
    needed = 8 * len(evidence.classes) * stored.shape[1] ** 2
    if needed <= _SMALL * stored.size * stored.dtype.itemsize:
        return evidence.derived(_scatter, label)
    return _scatter(evidence, label)


def pooled_covariance(evidence: Evidence) -> Floats:
    """The covariance of all samples around the means of their classes, (d, d)."""
    width = evidence.spaces["feature"].shape[1]
    total = np.zeros((width, width))
    for label in evidence.classes:
        total += scatter(evidence, int(label))
    return total / max(1, len(evidence))


def along_axes(evidence: Evidence, label: int, count: int, units: Floats | None = None) -> Floats:
    """Where the samples of a class lie along its leading axes, (m, at most ``count``), the widest first.

    Args:
        units: (d, d) what features are to be multiplied with first. Axes are turned by it, and no sample.
    """
    rows = centred(evidence, label)
    turn = np.eye(rows.shape[1]) if units is None else units
    if len(rows) >= rows.shape[1]:
        products = scatter(evidence, label)
        axes = leading_vectors(products if units is None else turn.T @ products @ turn, count)
    else:
        axes = leading_axes(rows if units is None else rows @ turn, count)
    along = rows @ (turn @ axes.T)
    return np.asarray(along * towards_heavier_tail(along))


def _scatter(evidence: Evidence, label: int) -> Floats:
    rows = centred(evidence, label)
    return np.asarray(rows.T @ rows)
