"""Exact distances of chosen pairs: in fp32 for all of them, in fp64 where that could not tell two apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.index.engines import faiss_or_none

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.int64]
Floats32 = NDArray[np.float32]

#: Squared distances closer than this share of themselves are compared again: 64 roundings of fp32. Squares are summed
#: in at least 16 lanes, so that a sum of d of them is off by no more than d/16 + 4 roundings.
_CLOSE = 2.0**-18
_CHUNK = 4096  # pairs at a time: bounds memory


def squared_between(one: Tensor, other: Tensor, i: Rows, j: Rows) -> Floats32:
    """|one[i] - other[j]|^2 of every pair, from differences: rows (n, d) and (m, d) in fp32, pairs (p,)."""
    faiss: Any = faiss_or_none()
    if one.is_cuda or not hasattr(faiss, "pairwise_indexed_L2sqr"):
        return _by_torch(one, other, i, j)
    squared = np.empty(len(i), np.float32)
    left, right = (np.ascontiguousarray(rows.numpy()) for rows in (one, other))
    i, j = np.ascontiguousarray(i, np.int64), np.ascontiguousarray(j, np.int64)
    pointers = [faiss.swig_ptr(array) for array in (left, i, right, j, squared)]
    faiss.pairwise_indexed_L2sqr(left.shape[1], len(i), *pointers)
    return squared


def _by_torch(one: Tensor, other: Tensor, i: Rows, j: Rows) -> Floats32:
    import torch

    squared = np.empty(len(i), np.float32)
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        left, right = (torch.from_numpy(rows[part]).to(one.device) for rows in (i, j))
        squared[part] = (one[left] - other[right]).square_().sum(dim=1).cpu().numpy()
    return squared


def told_apart(
    vectors: NDArray[np.floating], rows: Rows, squared: Floats32, found: Rows
) -> tuple[NDArray[np.float64], Rows]:
    """Neighbours (m, k) in the order of exact distances: those that fp32 cannot order are measured in fp64."""
    exact = squared.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity from infinity: nobody, and nobody
        close = (exact[:, 1:] - exact[:, :-1] <= _CLOSE * exact[:, 1:]) & (exact[:, 1:] > 0)
    close &= found[:, 1:] >= 0
    doubtful = np.zeros(found.shape, bool)
    doubtful[:, 1:] |= close
    doubtful[:, :-1] |= close
    line, column = np.nonzero(doubtful)
    for start in range(0, len(line), _CHUNK):
        at = line[start : start + _CHUNK], column[start : start + _CHUNK]
        own, theirs = (vectors[ids].astype(np.float64) for ids in (rows[at[0]], found[at]))
        exact[at] = np.einsum("pd,pd->p", own - theirs, own - theirs)
    again = np.flatnonzero(doubtful.any(axis=1))
    order = np.lexsort((found[again], exact[again]), axis=1)
    exact[again] = np.take_along_axis(exact[again], order, axis=1)
    found[again] = np.take_along_axis(found[again], order, axis=1)
    return exact, found
