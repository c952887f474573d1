"""Neighbours of many rows with few dimensions: rows are compared with those of the cells around their own.

A full search grows with the square of the rows; this one with their number. Up to ``PROBES`` cells it compares
all with all, and is exact. Beyond, some neighbours across the borders of cells are missed; distances stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detectors.base import Neighbors, Rows

#: More dimensions than this have too many borders for a few cells.
MOST_DIMENSIONS = 16
#: Rows of a cell at most, and half as many at least.
CELL = 128
#: Cells that a row is compared with, its own among them.
PROBES = 24
#: Candidates by distances that are rounded, beside those that are wanted by exact ones.
_SPARE = 8

_Vectors = NDArray[np.float32]


def nearest_in_cells(vectors: NDArray[np.floating], k: int) -> Neighbors:
    """The k nearest others of every row, nearest first, ties by index; -1 and infinity where there are fewer."""
    rows = np.asarray(vectors, dtype=np.float32)
    distances = np.full((len(rows), k), np.inf, dtype=np.float32)
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    cells = list(_split(rows, np.arange(len(rows)))) if len(rows) else []
    centres = np.array([rows[cell].mean(axis=0) for cell in cells])
    for number, own in enumerate(cells):
        away = ((centres - centres[number]) ** 2).sum(axis=1)
        away[number] = -1  # its own cell comes first, whatever copies there are
        around = np.concatenate([cells[other] for other in np.argsort(away, kind="stable")[:PROBES]])
        width = min(k, len(around) - 1)
        distances[own, :width], indices[own, :width] = _closest(rows, own, around, centres[number], width)
    return Neighbors(distances, indices)


def _split(rows: _Vectors, members: Rows) -> Iterator[Rows]:
    """Halves of halves, across the direction in which they spread most, so no cell is larger than the others."""
    if len(members) <= CELL:
        yield members
        return
    centred = rows[members] - rows[members].mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    middle = len(members) // 2
    order = np.argpartition(centred @ directions[:, -1], middle)
    for half in (order[:middle], order[middle:]):
        yield from _split(rows, members[half])


def _closest(rows: _Vectors, own: Rows, around: Rows, centre: _Vectors, k: int) -> tuple[_Vectors, Rows]:
    """Of ``own``, which ``around`` begins with: candidates by one product of matrices, then exact distances."""
    asking, others = rows[own], rows[around]
    rough = _rough(asking - centre, others - centre)  # small numbers: less cancellation
    np.fill_diagonal(rough, np.inf)  # nobody is a neighbour of its own
    _, found = _smallest(rough, np.arange(len(around)), min(k + _SPARE, len(around) - 1))
    difference = (others.take(found, axis=0) - asking[:, None]).astype(np.float64)
    exact = np.sqrt(np.einsum("mcd,mcd->mc", difference, difference)).astype(np.float32)
    best, ids = _smallest(exact, around[found], k)
    return best, ids


def _rough(asking: _Vectors, others: _Vectors) -> _Vectors:
    """Squared distances of all pairs, (m, M), as far as float32 carries."""
    near, far = (np.einsum("nd,nd->n", some, some)[:, None] for some in (asking, others))
    one_side = np.concatenate([-2 * asking, near, np.ones_like(near)], axis=1)
    other_side = np.concatenate([others, np.ones_like(far), far], axis=1)
    return np.asarray(np.maximum(one_side @ other_side.T, 0))


def _smallest(numbers: _Vectors, names: Rows, count: int) -> tuple[_Vectors, Rows]:
    """The ``count`` smallest of every row, ascending, and their names, which decide between equals.

    Bits of floats that are not negative sort as the floats do: with the name behind them, one plain sort does it all.
    """
    keys = np.left_shift(numbers.view(np.uint32), 32, dtype=np.uint64)
    keys |= names.astype(np.uint64)
    if count < keys.shape[1]:
        keys.partition(count - 1 if count else 0, axis=1)
    keys = keys[:, :count]
    keys.sort(axis=1)
    return (keys >> 32).astype(np.uint32).view(np.float32), (keys & 0xFFFFFFFF).astype(np.int64)
