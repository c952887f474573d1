"""What each candidate still adds to facility location, of samples that list whom they are similar to.

Whoever is taken betters few samples, and each of these knows the few candidates that it is now worth less to. So gains
are kept up to date, and looking for the largest sums nothing again.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from detectors.base import Floats, Rows


class Gains:
    """The gains of m candidates, ``left`` (m,), as far as others were not taken.

    Similarities are rounded to a grid so coarse (about 1e-13) that all sums of them are exact: what is added and taken
    away again leaves nothing, and copies tie whatever the order of their lists.

    Args:
        values: (m, k) similarities between 0 and 1 to those listed, 0 where padded.
        columns: (m, k) who is listed, by position.
        floor: (m,) what each sample has before anybody is taken.
    """

    def __init__(self, values: Floats, columns: Rows, floor: Floats) -> None:
        size, width = len(values), values.shape[1] + 1
        self._columns = np.empty((size, width), dtype=np.int32)
        self._columns[:, 0], self._columns[:, 1:] = np.arange(size), columns
        self._values = np.empty((size, width))
        self._values[:, 0], self._values[:, 1:] = 1, values  # a sample is wholly similar to itself
        self._best = floor.copy()
        grid = exact_grid(np.bincount(self._columns.ravel(), minlength=size).max(initial=1))
        for numbers in (self._values, self._best):
            np.rint(np.multiply(numbers, grid, out=numbers), out=numbers)
            numbers /= grid
        self.left: Floats = self._at_first()
        self._served, self._offered, self._starts = self._by_candidate()

    def take(self, candidate: int) -> None:
        """From here on, whomever this candidate serves has at least what it offers."""
        own = slice(self._starts[candidate], self._starts[candidate + 1])
        rows, new = self._served[own], self._offered[own]
        better = np.flatnonzero(new > self._best[rows])
        rows, new = rows[better], new[better]
        lost = np.minimum(self._values[rows], new[:, None])
        lost -= self._best[rows][:, None]
        np.maximum(lost, 0, out=lost)
        np.subtract.at(self.left, self._columns[rows].ravel(), lost.ravel())
        self._best[rows] = new

    def _at_first(self) -> Floats:
        """Everything summed, once."""
        added = self._values - self._best[:, None]
        np.maximum(added, 0, out=added)
        sums = np.bincount(self._columns.ravel(), weights=added.ravel(), minlength=len(added))
        return np.asarray(sums, dtype=np.float64)

    def _by_candidate(self) -> tuple[Rows, Floats, list[int]]:
        """Whom each candidate serves, with what, and where in these two its part starts."""
        size, width = self._values.shape
        starts = width * np.arange(size + 1)
        by_sample = csr_array((self._values.ravel(), self._columns.ravel(), starts), shape=(size, size))
        turned = by_sample.tocsc()
        return turned.indices, turned.data, turned.indptr.tolist()


def exact_grid(terms: int) -> float:
    """The finest grid, in steps to the unit, on which so many numbers up to 1 have an exact sum.

    >>> exact_grid(1) == 2.0**51, exact_grid(100) == 2.0**45
    (True, True)
    """
    return float(2.0 ** (52 - int(terms).bit_length()))
