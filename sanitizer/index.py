"""Nearest neighbours: FAISS where it is installed, an exact torch search otherwise, one contract.

Both engines only propose candidates; what is returned was re-ranked by exact distances, so they agree.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.base import Neighbors
from sanitizer.errors import MissingDependency

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
Group = tuple[Rows, Rows]  # who asks, and among whom
Engine = Literal["auto", "faiss", "torch"]
#: Exact squared distances between rows (m,) and their candidates (m, c).
Exact = Callable[[Rows, Rows], NDArray[np.float64]]

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

    ``exact`` re-ranks the ``k + spare`` candidates (default: Euclidean distance of ``vectors``); give it,
    and more spare, where ``vectors`` are only a sketch of what is meant. Rows with fewer than k possible
    neighbours are padded with index -1 and distance infinity.
    """
    measure = exact or functools.partial(_euclidean, vectors)
    search = _engine(engine)
    distances = np.full((len(vectors), k), np.inf, dtype=np.float32)
    indices = np.full((len(vectors), k), -1, dtype=np.int64)
    for asking, among in groups:
        wanted = min(k + 1 + spare, len(among))
        if not wanted or not len(asking):
            continue
        centre = np.asarray(vectors[among], dtype=np.float32).mean(axis=0)  # small numbers: less cancellation
        reference = np.asarray(vectors[among], dtype=np.float32) - centre
        ask = search(reference, device)
        for start in range(0, len(asking), _CHUNK):
            rows = asking[start : start + _CHUNK]
            found = among[ask(np.asarray(vectors[rows], dtype=np.float32) - centre, wanted)]
            best, order = _rerank(measure(rows, found), found, rows, k)
            width = order.shape[1]
            distances[rows, :width], indices[rows, :width] = best, order
    return Neighbors(distances, indices)


def _rerank(squared: NDArray[np.float64], found: Rows, rows: Rows, k: int) -> tuple[NDArray[np.float32], Rows]:
    """Sort candidates by (exact distance, index), without the asking row itself."""
    squared = np.where(found == rows[:, None], np.inf, squared)
    order = np.lexsort((found, squared), axis=1)[:, :k]
    best = np.sqrt(np.take_along_axis(squared, order, axis=1))
    ids = np.take_along_axis(found, order, axis=1)
    return best.astype(np.float32), np.where(np.isinf(best), -1, ids)


def _euclidean(vectors: NDArray[np.floating], rows: Rows, found: Rows) -> NDArray[np.float64]:
    own = np.asarray(vectors[rows], dtype=np.float32)
    squared = np.empty(found.shape, dtype=np.float64)
    for column in range(found.shape[1]):  # column by column: (m, d) at a time, never (m, c, d)
        difference = own - np.asarray(vectors[found[:, column]], dtype=np.float32)
        squared[:, column] = np.einsum("md,md->m", difference, difference, dtype=np.float64)
    return squared


# --- engines: reference (r, d), device -> a function (queries (m, d), count) -> positions (m, count)

Ask = Callable[[NDArray[np.float32], int], Rows]


def _engine(name: Engine) -> Callable[[NDArray[np.float32], str], Ask]:
    if name == "torch" or (name == "auto" and not _faiss()):
        return _ask_torch
    if not _faiss():
        raise MissingDependency(
            "the faiss engine needs FAISS, which is not installed; pip install 'dataset-sanitizer[cpu]'"
        )
    return _ask_faiss


@functools.cache
def _faiss() -> Any:
    """FAISS, imported after torch (the other order crashes with some builds), or None."""
    import torch  # noqa: F401

    try:
        import faiss
    except (ImportError, RuntimeError, OSError) as error:
        log.info("FAISS is not usable (%s): neighbours come from the exact torch search", error)
        return None
    return faiss


def _ask_faiss(reference: NDArray[np.float32], device: str) -> Ask:
    faiss: Any = _faiss()
    index = faiss.IndexFlatL2(reference.shape[1])
    if device.startswith("cuda") and hasattr(faiss, "StandardGpuResources"):
        number = int(device.partition(":")[2] or 0)
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index)
    index.add(np.ascontiguousarray(reference))
    return lambda queries, count: index.search(np.ascontiguousarray(queries), count)[1].astype(np.int64)


def _ask_torch(reference: NDArray[np.float32], device: str) -> Ask:
    import torch

    base = torch.from_numpy(reference).to(device)
    norms = (base**2).sum(dim=1)

    def ask(queries: NDArray[np.float32], count: int) -> Rows:
        # |q|^2 is the same for every candidate of a query: it cannot change the order.
        distance = norms - 2 * (torch.from_numpy(queries).to(device) @ base.T)
        return np.asarray(distance.topk(count, largest=False).indices.cpu().numpy(), dtype=np.int64)

    return ask
