"""The nearest few of every row, kept while candidates arrive in any order.

A candidate is one number that sorts: its squared distance in the upper half (bits of a float that is never negative
sort like the float), its index in the lower, so that ties go to the smaller index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats32 = NDArray[np.float32]

_SHIFT = np.uint64(32)
_NOBODY = np.iinfo(np.uint32).max
#: Nobody, infinitely far away.
_EMPTY = np.uint64((int(np.float32(np.inf).view(np.uint32)) << 32) | _NOBODY)


class Best:
    """The k nearest candidates so far of each of n rows."""

    def __init__(self, n: int, k: int) -> None:
        self.k = k
        self._keys = np.full((n, k), _EMPTY)

    def add(self, rows: Rows, squared: Floats32, ids: Rows) -> None:
        """Candidates of rows, which ascend."""
        if not len(rows):
            return
        start, stop = rows[0], rows[-1] + 1
        counts = np.bincount(rows - start)
        offsets = np.cumsum(counts) - counts
        offered = np.full((len(counts), counts.max()), _EMPTY)
        keys = (squared.view(np.uint32).astype(np.uint64) << _SHIFT) | ids.astype(np.uint64)
        offered[rows - start, np.arange(len(rows)) - offsets[rows - start]] = keys
        kept = self._keys[start:stop]
        kept[:] = np.sort(np.concatenate([kept, offered], axis=1), axis=1)[:, : self.k]

    def forget(self, rows: NDArray[np.bool_]) -> None:
        """Begin again with these."""
        self._keys[rows] = _EMPTY

    def reach(self, rows: slice) -> Floats32:
        """The squared distance of the last candidate kept; infinite while there are fewer."""
        return _squared(self._keys[rows, -1])

    def found(self) -> tuple[Floats32, Rows]:
        """Squared distances and indices, nearest first; infinity and -1 where there is nobody."""
        ids = (self._keys & np.uint64(_NOBODY)).astype(np.int64)
        return _squared(self._keys), np.where(ids == _NOBODY, -1, ids)


def _squared(keys: NDArray[np.uint64]) -> Floats32:
    return (keys >> _SHIFT).astype(np.uint32).view(np.float32)
