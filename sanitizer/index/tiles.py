"""Pairs that may be neighbours, from products in bf16: tile by tile, and none of them is missed.

Whoever is left out is proven to be farther than k others are. Of a group that is compared with itself only half of
the pairs are multiplied. A row with more candidates than are worth measuring is given up, and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations, pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.index.best import Best
from sanitizer.index.halved import Bounds, Halved
from sanitizer.index.pairs import squared_between

Rows = NDArray[np.int64]
Cut = NDArray[np.int16]  # bits of bf16, which sort like what they stand for, but for the order of those below zero

_SIDE = 2560  # rows and columns of a tile, at most: it stays in the cache
_GROUP = 8  # columns of which the least stands for all, where a few of many are looked for
_NOBODY = np.iinfo(np.int16).min
_CHUNK = 4096


class TileSearch:
    """One group: ``asking`` (m, d) and ``among`` (r, d), the same tensor where it is compared with itself."""

    def __init__(self, asking: Tensor, among: Tensor, ids: tuple[Rows, Rows], best: Best) -> None:
        self.best = best
        self.given_up = np.zeros(len(asking), bool)
        self._rows, self._ids = (asking, among), ids
        self._same = asking is among
        centre = _mean(among)
        reference = Halved.of(among, centre)
        self._halved = (reference if self._same else Halved.of(asking, centre), reference)
        self._bounds = Bounds.of(reference)
        side = min(_SIDE, max(len(asking), len(among)))
        self._buffer = torch.empty(side * side, dtype=torch.bfloat16, device=among.device)

    def run(self) -> None:
        """Look at every tile."""
        with _summed_in_fp32():
            self._run(*(_even(len(side)) for side in self._rows))

    def _run(self, rows: list[slice], columns: list[slice]) -> None:
        if not self._same:
            for tile in product(rows, columns):
                self._look(*tile)
            return
        for part in rows:  # first everybody's own tile: it tells how near the others have to be
            self._look(part, part)
        for tile in combinations(rows, 2):
            self._look(*tile, both=True)

    def _look(self, rows: slice, columns: slice, *, both: bool = False) -> None:
        """Measure the candidates of a tile: for its rows, and if ``both`` for its columns too."""
        half = self._product(rows, columns)
        cuts = self._cut(rows, half), self._cut(columns) if both else None
        i, j, value = _below(half, *cuts)
        apart = self._ids[0][rows][i] != self._ids[1][columns][j]
        wanted = [(i, value < cuts[0][i], rows)]
        if cuts[1] is not None:
            wanted.append((j, value < cuts[1][j], columns))
        for at, mine, part in wanted:
            mine &= apart
            mine &= ~self._crowded(at, mine, part)[at]
        kept = np.logical_or.reduce([mine for _, mine, _ in wanted])
        i, j = i[kept], j[kept]
        own = self._rows[0][rows].float()
        other = own if self._same and not both else self._rows[1][columns].float()
        squared = squared_between(own, other, i, j)
        mine = wanted[0][1][kept]
        self.best.add(rows.start + i[mine], squared[mine], self._ids[1][columns][j[mine]])
        if both:
            theirs = np.flatnonzero(wanted[1][1][kept])
            theirs = theirs[np.argsort(j[theirs].astype(np.uint16), kind="stable")]
            self.best.add(columns.start + j[theirs], squared[theirs], self._ids[0][rows][i[theirs]])

    def _product(self, rows: slice, columns: slice) -> Tensor:
        asking, among = self._halved[0][rows], self._halved[1][columns]
        out = self._buffer[: len(asking) * len(among)].view(len(asking), len(among))
        torch.mm(asking.left(), among.right.T, out=out)
        return out

    def _cut(self, part: slice, half: Tensor | None = None) -> Cut:
        """Products below it may be those of neighbours: by the k known ones, or by k that this tile has."""
        rows = self._halved[0][part]
        distance = torch.from_numpy(self.best.reach(part)).to(rows.lost.device).sqrt()
        if half is not None and not distance.isfinite().all():
            distance = distance.minimum(self._bounds.farthest(rows, _kth(half, self.best.k)))
        cut = self._bounds.cut(rows, distance).cpu().numpy()
        bits: Cut = ((cut.view(np.int32) >> 16) + 1).astype(np.int16)
        bits[self.given_up[part]] = _NOBODY
        return bits

    def _crowded(self, at: Rows, mine: NDArray[np.bool_], part: slice) -> NDArray[np.bool_]:
        """Who has more candidates than are worth measuring; they are given up."""
        crowded = np.bincount(at[mine], minlength=part.stop - part.start) > 4 * self.best.k + 64
        self.given_up[part] |= crowded
        return crowded


def is_fast(device: str) -> bool:
    """Whether this hardware multiplies bf16 natively."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    tests = (getattr(torch.cpu, f"_is_{what}_supported", bool) for what in ("avx512_bf16", "amx_tile"))
    return any(test() for test in tests)


@contextmanager
def _summed_in_fp32() -> Iterator[None]:
    """A GPU may sum products in bf16 unless it is told not to; no bound allows for that."""
    settings = torch.backends.cuda.matmul
    before = settings.allow_bf16_reduced_precision_reduction
    settings.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        settings.allow_bf16_reduced_precision_reduction = before


def _kth(half: Tensor, k: int) -> Tensor:
    """A product (m,) that more than k of each row do not exceed."""
    width = half.shape[1]
    if width <= k:
        return half.new_full((len(half),), torch.inf).float()
    group = max(1, min(_GROUP, width // (4 * k + 4)))
    least = half[:, : width // group * group].view(torch.int16).reshape(len(half), group, -1).amin(dim=1)
    if half.is_cuda:
        kth = least.topk(k + 1, largest=False).values.amax(dim=1)
    else:  # numpy selects ten times as fast as torch
        kth = torch.from_numpy(np.partition(least.numpy(), k, axis=1)[:, k].copy())
    value: Tensor = kth.view(torch.bfloat16).float()
    return value


def _below(half: Tensor, rows: Cut, columns: Cut | None) -> tuple[Rows, Rows, Cut]:
    """Where products are below the cut of their row or of their column, and the products; row by row."""
    bits = half.view(torch.int16)
    if half.is_cuda:
        below = bits < torch.from_numpy(rows).to(half.device)[:, None]
        if columns is not None:
            below |= bits < torch.from_numpy(columns).to(half.device)
        flat = below.view(-1).nonzero()[:, 0]
        place, value = flat.cpu().numpy(), bits.view(-1)[flat].cpu().numpy()
    else:  # numpy compares and counts five times as fast as torch
        plain = bits.numpy()
        mask = plain < rows[:, None]
        if columns is not None:
            mask |= plain < columns
        place = np.flatnonzero(mask)
        value = plain.ravel()[place]
    i = place // half.shape[1]
    return i, place - i * half.shape[1], value


def _even(count: int) -> list[slice]:
    """As few parts as there have to be, of the same size."""
    ends = np.linspace(0, count, -(-count // _SIDE) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _mean(rows: Tensor) -> Tensor:
    total = torch.zeros(rows.shape[1], device=rows.device)
    for start in range(0, len(rows), _CHUNK):
        total += rows[start : start + _CHUNK].float().sum(dim=0)
    return total / len(rows)
