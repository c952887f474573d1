"""Last-layer gradients, residual (x) feature, compared without ever being written out at n x C x d.

Inner products factor: <g_i, g_j> = <r_i, r_j> <h_i, h_j>. So does a random projection of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]
Rows = NDArray[np.int64]

SIGNS = np.array([-1, 1], dtype=np.float32)
#: Rows of which each may be asked about once in so many questions, and a product of them all is still quicker.
_OFTEN = 96
_CHUNK = 512  # rows at a time: bounds memory


def sketch(residual: np.ndarray, feature: np.ndarray, *, size: int = 256, seed: int = 0) -> Floats32:
    """A seeded linear sketch (n, size) of the gradients that keeps their distances in expectation.

    Each column is a product of one random sign projection of either factor; columns are averaged.
    """
    rng = np.random.default_rng(seed)
    left = rng.choice(SIGNS, size=(residual.shape[1], size))
    right = rng.choice(SIGNS, size=(feature.shape[1], size))
    columns = (residual.astype(np.float32) @ left) * (feature.astype(np.float32) @ right)
    return np.asarray(columns / np.float32(size**0.5))


def squared_distances(residual: np.ndarray, feature: np.ndarray, rows: Rows, others: Rows) -> NDArray[np.float64]:
    """Exact squared gradient distances between ``rows`` (m,) and ``others`` (m, k), from the two factors."""
    asked = np.zeros(len(residual), dtype=bool)
    asked[others] = True
    among = np.flatnonzero(asked)
    if len(among) <= _OFTEN * others.shape[1]:  # each is asked about so often that a product of all costs less
        return _by_product(residual, feature, rows, among, (np.cumsum(asked) - 1)[others])
    return _by_column(residual, feature, rows, others)


def pairwise_squared_distances(residual: np.ndarray, feature: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Squared distances between all gradients, (n, n): two small products, computed and given in ``dtype``.

    >>> one = np.array([[1.0, -1.0], [0.0, 0.0]])
    >>> pairwise_squared_distances(one, np.array([[2.0], [3.0]]))
    array([[0., 8.],
           [8., 0.]])
    """
    r: np.ndarray = residual.astype(dtype)
    h: np.ndarray = feature.astype(dtype)
    products = r @ r.T
    products *= h @ h.T
    return _distances(products, products.diagonal().copy(), products.diagonal().copy())


def _by_product(
    residual: np.ndarray, feature: np.ndarray, rows: Rows, among: Rows, places: Rows
) -> NDArray[np.float64]:
    theirs = residual[among].astype(np.float64), feature[among].astype(np.float64)
    lengths = (theirs[0] ** 2).sum(1) * (theirs[1] ** 2).sum(1)
    squared = np.empty(places.shape)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        r, h = residual[rows[part]].astype(np.float64), feature[rows[part]].astype(np.float64)
        products = r @ theirs[0].T
        products *= h @ theirs[1].T
        own = (r**2).sum(1) * (h**2).sum(1)
        squared[part] = np.take_along_axis(_distances(products, own, lengths), places[part], axis=1)
    return squared


def _by_column(residual: np.ndarray, feature: np.ndarray, rows: Rows, others: Rows) -> NDArray[np.float64]:
    """(m, d) at a time, never (m, k, d)."""
    r, h = residual[rows].astype(np.float64), feature[rows].astype(np.float64)
    own = (r**2).sum(1) * (h**2).sum(1)
    squared = np.empty(others.shape, dtype=np.float64)
    for column, other in enumerate(others.T):
        rs, hs = residual[other].astype(np.float64), feature[other].astype(np.float64)
        theirs = (rs**2).sum(1) * (hs**2).sum(1)
        squared[:, column] = own + theirs - 2 * np.einsum("mc,mc->m", r, rs) * np.einsum("md,md->m", h, hs)
    return np.maximum(squared, 0)


def _distances(products: np.ndarray, own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """|a|^2 + |b|^2 - 2 ab, in place."""
    products *= -2
    products += own[:, None]
    products += theirs
    return np.asarray(np.maximum(products, 0, out=products))
