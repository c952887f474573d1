"""The leading axes of a class: the directions in which it varies most, and where its samples lie along them.

Only few of them are wanted, so only few are computed; and detectors that look along the same ones share them.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import ArpackError, eigsh

from detectors.base import Evidence, Floats
from detectors.precision import widened

#: Axes that are found together: who asks for fewer is given the first of them.
SHARED = 10
#: Widths from which iterating beats solving for everything, if a small part of the axes is asked for.
_WIDE, _FEW = 128, 1 / 8
#: Vectors that are iterated beyond twice those that are asked for: with few of them it takes many restarts.
_SPARE = 12
#: The axes of more samples than this are known well enough in single precision.
_MANY = 2000
#: Rows that are in double precision at a time.
_AT_ONCE = 512


def along_leading_axes(evidence: Evidence, space: str, label: int, count: int) -> Floats:
    """Where the samples of a class lie along its leading axes, (m, at most ``count``), seen from their mean."""
    return evidence.derived(_along, space, label, max(count, SHARED))[:, :count]


def leading_vectors(symmetric: np.ndarray, count: int) -> Floats:
    """The eigenvectors of the largest eigenvalues, the largest first, (count, d)."""
    width = len(symmetric)
    if width < _WIDE or count > _FEW * width or not symmetric.any():
        return np.asarray(np.linalg.eigh(symmetric)[1].T[::-1][:count])
    start = np.random.default_rng(0).normal(size=width)  # drawn, so that no data lie across it by design
    try:
        values, vectors = eigsh(symmetric, count, v0=start, ncv=min(width, 2 * count + _SPARE))
    except ArpackError:
        return np.asarray(np.linalg.eigh(symmetric)[1].T[::-1][:count])
    return np.asarray(vectors[:, np.argsort(-values, kind="stable")].T)


def leading_axes(centred: np.ndarray, count: int) -> Floats:
    """The directions in which centred rows vary most, (at most ``count``, d); which way they point says nothing."""
    if len(centred) >= centred.shape[1]:
        return leading_vectors((centred.T @ centred).astype(np.float64), count)
    weights = leading_vectors((centred @ centred.T).astype(np.float64), count)
    return np.asarray(np.linalg.qr(centred.T @ weights.T)[0].T)  # orthonormal, though nothing vary along the last


def towards_heavier_tail(along: Floats) -> Floats:
    """For each column of centred positions 1, or -1 where few lie far out on the negative side."""
    return np.where((along * along * along).sum(axis=0) < 0, -1.0, 1.0)


def _along(evidence: Evidence, space: str, label: int, count: int) -> Floats:
    rows = np.take(evidence.spaces[space], evidence.rows(label), axis=0)
    rows = widened(rows, None if len(rows) > _MANY else np.float64)
    rows -= rows.mean(axis=0)
    along = _placed(rows, leading_axes(rows, count))
    along -= along.mean(axis=0)  # by as much as single precision missed the mean
    return along * towards_heavier_tail(along)


def _placed(rows: np.ndarray, axes: Floats) -> Floats:
    """``rows @ axes.T`` in double precision, a few rows at a time."""
    along = np.empty((len(axes), len(rows)))
    for start in range(0, len(rows), _AT_ONCE):
        few = slice(start, start + _AT_ONCE)
        along[:, few] = axes @ rows[few].T.astype(np.float64)
    return along.T
