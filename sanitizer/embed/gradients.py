"""Last-layer gradients, residual (x) feature, compared without ever being written out at n x C x d.

Inner products factor: <g_i, g_j> = <r_i, r_j> <h_i, h_j>. So does a random projection of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]

SIGNS = np.array([-1, 1], dtype=np.float32)


def sketch(residual: np.ndarray, feature: np.ndarray, *, size: int = 256, seed: int = 0) -> Floats32:
    """A seeded linear sketch (n, size) of the gradients that keeps their distances in expectation.

    Each column is a product of one random sign projection of either factor; columns are averaged.
    """
    rng = np.random.default_rng(seed)
    left = rng.choice(SIGNS, size=(residual.shape[1], size))
    right = rng.choice(SIGNS, size=(feature.shape[1], size))
    columns = (residual.astype(np.float32) @ left) * (feature.astype(np.float32) @ right)
    return np.asarray(columns / np.float32(size**0.5))


def squared_distances(
    residual: np.ndarray, feature: np.ndarray, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Exact squared gradient distances between ``rows`` (m,) and ``others`` (m, k), from the two factors."""
    r, h = residual[rows].astype(np.float64), feature[rows].astype(np.float64)
    own = (r**2).sum(1) * (h**2).sum(1)
    squared = np.empty(others.shape, dtype=np.float64)
    for column, other in enumerate(others.T):  # column by column: (m, d) at a time, never (m, k, d)
        rs, hs = residual[other].astype(np.float64), feature[other].astype(np.float64)
        theirs = (rs**2).sum(1) * (hs**2).sum(1)
        squared[:, column] = own + theirs - 2 * np.einsum("mc,mc->m", r, rs) * np.einsum("md,md->m", h, hs)
    return np.maximum(squared, 0)
