"""From embeddings to ``Evidence``: spaces and neighbour graphs, each computed when a detector asks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Graph, Neighbors
from sanitizer.embed import gradients
from sanitizer.index import Engine, nearest

T = TypeVar("T")

#: Columns of every neighbour graph: enough for every detector's k.
NEIGHBORS = 32
#: A sketch errs, so gradient neighbours are chosen from more candidates before the exact re-ranking.
GRADIENT_SPARE = 32


class Lazy(Mapping[str, T]):
    """A mapping whose values are computed on first use and kept."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self._makers = {name: functools.cache(make) for name, make in makers.items()}

    def __getitem__(self, name: str) -> T:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:  # Mapping's own would compute the value
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def build_evidence(
    spaces: Mapping[str, np.ndarray],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    keys: NDArray[np.uint64],
    detectors: Iterable[Detector],
    *,
    device: str = "cpu",
    engine: Engine = "auto",
    seed: int = 0,
) -> Evidence:
    """Evidence that offers the given spaces and every neighbour graph that these detectors declare."""

    def graph(name: str) -> Neighbors:
        wanted = Graph.parse(name)
        asking = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if not wanted.within_class:
            asking = [np.arange(len(labels))]
        groups = [(rows, wanted.reference_rows(keys, rows)) for rows in asking]
        search = functools.partial(nearest, groups=groups, k=NEIGHBORS, engine=engine, device=device)
        if wanted.space != "gradient":
            return search(spaces[wanted.space])
        residual, feature = spaces["residual"], spaces["feature"]
        exact = functools.partial(gradients.squared_distances, residual, feature)
        return search(gradients.sketch(residual, feature, seed=seed), exact=exact, spare=GRADIENT_SPARE)

    names = dict.fromkeys(name for detector in detectors for name in detector.neighbors)
    available = [name for name in names if _has(spaces, Graph.parse(name).space)]
    graphs = Lazy({name: functools.partial(graph, name) for name in available})
    return Evidence(labels, class_names, keys, spaces, graphs)


def _has(spaces: Mapping[str, np.ndarray], space: str) -> bool:
    """Gradients are not a space of their own: they are two."""
    return {"residual", "feature"} <= set(spaces) if space == "gradient" else space in spaces
