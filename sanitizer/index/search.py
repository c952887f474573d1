"""The search itself: candidates from an engine, their exact distances, the nearest of them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detectors.base import Neighbors
from sanitizer.index.best import Best
from sanitizer.index.engines import Engine, engine_named
from sanitizer.index.pairs import squared_between, told_apart

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
Group = tuple[Rows, Rows]  # who asks, and among whom
#: Exact squared distances between rows (m,) and their candidates (m, c).
Exact = Callable[[Rows, Rows], NDArray[np.float64]]
Found = tuple[NDArray[np.float64], Rows]  # squared distances and neighbours, nearest first

_CHUNK = 4096  # queries at a time: bounds memory


def nearest(
    vectors: NDArray[np.floating],  # (n, d): what is searched
    groups: Iterable[Group],
    k: int,
    *,
    exact: Exact | None = None,
    spare: int = 8,
    engine: Engine = "auto",
    device: str = "cpu",
) -> Neighbors:
    """The k nearest of every asking row within its group, itself excluded, nearest first.

    ``exact`` measures the ``k + spare`` candidates (default: Euclidean distance of ``vectors``); give it, and more
    spare, where ``vectors`` are only a sketch of what is meant. Rows with fewer than k possible neighbours are padded
    with index -1 and distance infinity.
    """
    search = functools.partial(_by_sketch, exact) if exact else _by_distance
    distances = np.full((len(vectors), k), np.inf, dtype=np.float32)
    indices = np.full((len(vectors), k), -1, dtype=np.int64)
    for asking, among in groups:
        if len(asking) and len(among):
            squared, found = search(vectors, asking, among, k, spare, engine, device)
            distances[asking, : found.shape[1]], indices[asking, : found.shape[1]] = np.sqrt(squared), found
    return Neighbors(distances, indices)


def _by_distance(
    vectors: NDArray[np.floating], asking: Rows, among: Rows, k: int, spare: int, engine: Engine, device: str
) -> Found:
    """By Euclidean distance: in bf16 where that is fast; in fp32 for whom that cannot tell, and elsewhere."""
    own = _tensor(vectors, asking, device)
    reference = own if np.array_equal(asking, among) else _tensor(vectors, among, device)
    best, again = Best(len(asking), k + 1), np.arange(len(asking))  # one more: ties at the end are told apart too
    if _halves(engine, device):
        from sanitizer.index.tiles import TileSearch

        tiles = TileSearch(own, reference, (asking, among), best)
        tiles.run()
        best.forget(tiles.given_up)
        again = np.flatnonzero(tiles.given_up)
        log.debug("%d of %d rows are searched again in fp32", len(again), len(asking))
    if len(again):
        _in_fp32(best, again, (own, reference), (asking, among), spare, engine)
    squared, found = told_apart(vectors, asking, *best.found())
    return squared[:, :k], found[:, :k]


def _halves(engine: Engine, device: str) -> bool:
    if engine != "auto":
        return engine == "bf16"
    from sanitizer.index.tiles import is_fast

    return is_fast(device)


def _tensor(vectors: NDArray[np.floating], rows: Rows, device: str) -> Tensor:
    """These rows as they are kept, in half precision or single."""
    import torch

    own = vectors[rows]
    kept = own if own.dtype in (np.float16, np.float32) else own.astype(np.float32)
    return torch.from_numpy(kept).to(device)


def _in_fp32(
    best: Best, again: Rows, rows: tuple[Tensor, Tensor], ids: tuple[Rows, Rows], spare: int, engine: Engine
) -> None:
    """Candidates of the rows ``again`` by fp32, which is right about them but for its last digits."""
    own, reference = rows[0], rows[1].float()
    wanted = min(best.k + spare, len(reference))
    centre = reference.mean(dim=0)  # small numbers: less cancellation
    ask = engine_named(engine)((reference - centre).cpu().numpy(), str(own.device))
    for start in range(0, len(again), _CHUNK):
        asking = again[start : start + _CHUNK]
        queries = own[asking].float()
        j = ask((queries - centre).cpu().numpy(), wanted).ravel()
        i = np.repeat(np.arange(len(asking)), wanted)
        other = ids[0][asking[i]] != ids[1][j]
        i, j = i[other], j[other]
        best.add(asking[i], squared_between(queries, reference, i, j), ids[1][j])


def _by_sketch(
    exact: Exact,
    vectors: NDArray[np.floating], asking: Rows, among: Rows, k: int, spare: int, engine: Engine, device: str,
) -> Found:  # fmt: skip
    """The engine's candidates, measured by the caller."""
    wanted = min(k + 1 + spare, len(among))
    reference = np.asarray(vectors[among], dtype=np.float32)
    centre = reference.mean(axis=0)
    ask = engine_named(engine)(reference - centre, device)
    squared, found = [], []
    for start in range(0, len(asking), _CHUNK):
        rows = asking[start : start + _CHUNK]
        candidates = among[ask(np.asarray(vectors[rows], dtype=np.float32) - centre, wanted)]
        ranked = _ranked(exact(rows, candidates), candidates, rows, k)
        squared.append(ranked[0])
        found.append(ranked[1])
    return np.concatenate(squared), np.concatenate(found)


def _ranked(squared: NDArray[np.float64], found: Rows, rows: Rows, k: int) -> Found:
    """Candidates in the order of (exact distance, index), without the asking row itself."""
    squared = np.where(found == rows[:, None], np.inf, squared)
    order = np.lexsort((found, squared), axis=1)[:, :k]
    best = np.take_along_axis(squared, order, axis=1)
    ids = np.take_along_axis(found, order, axis=1)
    return best, np.where(np.isinf(best), -1, ids)
