"""Neighbour graphs as tasks: a class is a set of its own, so each is searched by whoever has the time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Evidence, Graph, Neighbors
from sanitizer.engines.cluster import Cluster
from sanitizer.evidence import NEIGHBORS, Lazy, build_evidence

Rows = NDArray[np.int64]

#: Samples in a task, at least: small classes share one.
TASK_ROWS = 4096


def with_graphs(evidence: Evidence, cluster: Cluster, *, device: str, seed: int) -> Evidence:
    """The same evidence; its graphs are made by the cluster."""
    tasks = _Tasks(evidence, cluster, device, seed)
    graphs = {name: functools.partial(tasks.graph, name) for name in evidence.neighbors}
    return replace(evidence, neighbors=Lazy(graphs))


@dataclass
class _Tasks:
    evidence: Evidence
    cluster: Cluster
    device: str
    seed: int
    sent: dict[tuple[str, int], Any] = field(default_factory=dict)  # (space, first row) -> where the cluster has it

    def graph(self, name: str) -> Neighbors:
        wanted = Graph.parse(name)
        parts = list(self._classes()) if wanted.within_class else [np.arange(len(self.evidence))]
        spaces = ("residual", "feature") if wanted.space == "gradient" else (wanted.space,)
        tasks = [
            self.cluster.task(
                graph_of, name, self.device, self.seed, spaces, self.evidence.labels[rows], self.evidence.keys[rows],
                *(self._sent(space, rows) for space in spaces), gpus=self.cluster.gpus,
            )
            for rows in parts
        ]  # fmt: skip
        distances = np.full((len(self.evidence), NEIGHBORS), np.inf, np.float32)
        indices = np.full((len(self.evidence), NEIGHBORS), -1, np.int64)
        for rows, (near, found) in zip(parts, self.cluster.get(tasks), strict=True):
            distances[rows], indices[rows] = near, np.where(found < 0, -1, rows[found])
        return Neighbors(distances, indices)

    def _classes(self) -> Iterator[Rows]:
        """The rows of each class, those of small ones joined."""
        joined: list[Rows] = []
        for label in self.evidence.classes:
            joined.append(self.evidence.rows(label))
            if sum(map(len, joined)) >= TASK_ROWS:
                yield np.sort(np.concatenate(joined))
                joined = []
        if joined:
            yield np.sort(np.concatenate(joined))

    def _sent(self, space: str, rows: Rows) -> Any:
        """Some rows of a space, sent once, however many graphs are made of them."""
        key = (space, -1 if len(rows) == len(self.evidence) else int(rows[0]))
        if key not in self.sent:
            self.sent[key] = self.cluster.put(np.asarray(self.evidence.spaces[space][rows]))
        return self.sent[key]


def graph_of(
    name: str, device: str, seed: int, spaces: tuple[str, ...], labels: Rows, keys: NDArray[np.uint64], *values: Any
) -> tuple[NDArray[np.float32], Rows]:
    """Distances and indices of one graph of some samples, as if there were no others."""
    asks: Any = SimpleNamespace(neighbors=(name,))  # all that is asked of a detector
    given = dict(zip(spaces, values, strict=True))
    found = build_evidence(given, labels, (), keys, [asks], device=device, seed=seed).neighbors[name]
    return found.distances, found.indices
