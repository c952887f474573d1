"""Isolated medoids (EPIC, Yang et al. 2022): gradients that stand for nobody but themselves.

Facility location picks the samples that best stand for their class. Each sample chooses its nearest medoid;
one that nobody else chooses drives the model where the rest of its class does not go. The paper compares all
pairs of a class; here only neighbours are compared, which is what the largest similarities are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Family, Floats, Neighbors, Rows, by_class

#: What a row without a medoid among its neighbours is assigned to.
NOBODY = -1
#: Who adds less than this to the sum of similarities is a copy of a medoid.
LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class Similarities:
    """Similarities within a group of m samples, by their positions in it; a sample is wholly similar to itself.

    ``floor`` bounds what a sample's similarity to all those that are not listed can be.
    """

    values: Floats  # (m, k), 0 where padded
    columns: Rows  # (m, k) positions, a row's own where padded
    floor: Floats  # (m,)


def similarities(neighbors: Neighbors, rows: Rows) -> Similarities:
    """exp(-distance / longest distance) of the neighbours that ``rows`` have among themselves.

    The paper divides by the number of classes, more than any distance between its gradients. So similarity
    falls nearly in proportion to distance, and the loneliest samples are picked early; in no unit is that
    different here.
    """
    position = np.full(len(neighbors.indices), NOBODY)
    position[rows] = np.arange(len(rows))
    indices, distances = neighbors.indices[rows], neighbors.distances[rows].astype(np.float64)
    columns = np.where(indices >= 0, position[indices], NOBODY)
    known = columns != NOBODY
    longest = distances[known].max(initial=0) or 1.0
    values = np.where(known, np.exp(-distances / longest), 0)
    cut_short = (known.sum(axis=1) < len(rows) - 1) & (indices[:, -1] >= 0)
    floor = np.where(cut_short, np.exp(-distances[:, -1] / longest), 0)
    return Similarities(values, np.where(known, columns, np.arange(len(rows))[:, None]), floor)


def select_medoids(neighbors: Neighbors, rows: Rows, count: int) -> tuple[Rows, Rows]:
    """The ``count`` of ``rows`` that best stand for all of them, in the order picked, and who stands for each row.

    Greedy facility location: the first part of the result is the result for a smaller count. Ties go to whoever
    comes first in ``rows``, and copies of medoids are not picked, so there may be fewer. A row with no medoid
    among its neighbours is assigned to ``NOBODY``.
    """
    known = similarities(neighbors, rows)
    picked = lazy_greedy(known, min(count, len(rows)))
    assigned = assignment(known, picked)
    return rows[picked], np.where(assigned != NOBODY, rows[assigned], NOBODY)


def lazy_greedy(known: Similarities, count: int) -> Rows:
    """At most ``count`` positions that maximise the sum over samples of the similarity to the most similar one picked.

    What a candidate adds only shrinks as others are picked, so what it once would have added is an upper bound,
    and few bounds have to be renewed for a pick (Minoux 1978).
    """
    size, k = known.values.shape
    positions = np.arange(size)
    served = np.concatenate([positions, np.repeat(positions, k)])
    candidate = np.concatenate([positions, known.columns.ravel()])
    value = np.concatenate([np.ones(size), known.values.ravel()])
    order = np.argsort(candidate, kind="stable")
    served, value = served[order], value[order]
    ends = np.cumsum(np.bincount(candidate, minlength=size))

    best = known.floor.copy()
    bounds = np.bincount(candidate[order], weights=np.maximum(value - best[served], 0), minlength=size)
    queue = list(zip((-bounds).tolist(), range(size), strict=True))
    heapq.heapify(queue)
    picked: list[int] = []
    while len(picked) < count:
        _, position = heapq.heappop(queue)
        own = slice(ends[position - 1] if position else 0, ends[position])
        whom, offered = served[own], value[own]
        renewed = (-float(np.maximum(offered - best[whom], 0).sum()), position)
        if queue and renewed > queue[0]:
            heapq.heappush(queue, renewed)
            continue
        if -renewed[0] < LEAST_GAIN:
            break
        picked.append(position)
        np.maximum.at(best, whom, offered)
    return np.array(picked, dtype=np.int64)


def assignment(known: Similarities, picked: Rows) -> Rows:
    """The most similar medoid of each sample, by position; a medoid's is itself."""
    size = len(known.values)
    is_medoid = np.zeros(size, dtype=bool)
    is_medoid[picked] = True
    offered = np.where(is_medoid[known.columns], known.values, 0)
    nearest = offered.argmax(axis=1)
    rows = np.arange(size)
    found = np.where(offered[rows, nearest] > 0, known.columns[rows, nearest], NOBODY)
    return np.where(is_medoid, rows, found)


def singletons(assigned: Rows) -> NDArray[np.bool_]:
    """Which samples are medoids that nobody but themselves chose."""
    clusters = np.bincount(assigned[assigned != NOBODY], minlength=len(assigned))
    return np.asarray((assigned == np.arange(len(assigned))) & (clusters == 1))


def loneliness(neighbors: Neighbors, rows: Rows) -> Floats:
    """The distance to the nearest neighbour, mapped to [0, 1) so that half is the group's median; 0 if unknown."""
    nearest = neighbors.distances[rows, 0].astype(np.float64)
    nearest = np.where(np.isfinite(nearest), nearest, 0)
    return np.asarray(nearest / (nearest + (np.median(nearest) or 1.0)))


class IsolatedMedoids(Detector):
    """How many of several budgets of medoids leave a sample a medoid of its own: the fewer it takes, the lonelier.

    A medoid that nobody else chose is never chosen again, so budgets count how early that was; among equals the
    distance to the nearest neighbour decides.

    Settings:
        budgets: medoids, as shares of the class.
    """

    neighbors: ClassVar[tuple[str, ...]] = ("gradient/class",)
    sees: ClassVar[tuple[Family, ...]] = ("mislabelled",)
    origin_free = False
    says = "It pulls the model where nobody else in its class does: it stands for itself alone."

    def __init__(self, *, budgets: tuple[float, ...] = (0.1, 0.2, 0.3)) -> None:
        self.budgets = budgets

    def _score(self, evidence: Evidence) -> Floats:
        graph = evidence.neighbors[self.neighbors[0]]
        scores = np.zeros(len(evidence))
        for _, members in by_class(evidence):
            if len(members) == 1:  # nobody else could have chosen it
                continue
            rows = members[np.argsort(evidence.keys[members], kind="stable")]
            known = similarities(graph, rows)
            counts = [int(np.ceil(budget * len(rows))) for budget in self.budgets]
            picked = lazy_greedy(known, max(counts))
            scores[rows] = loneliness(graph, rows)
            for count in counts:
                scores[rows] += singletons(assignment(known, picked[:count]))
        return scores
