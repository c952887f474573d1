"""Isolated medoids (EPIC, Yang et al. 2022): gradients that stand for nobody but themselves.

Facility location picks the samples that best stand for their class. Each sample chooses its nearest medoid;
one that nobody else chooses drives the model where the rest of its class does not go. The paper compares all
pairs of a class; here only neighbours are compared, which is what the largest similarities are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar, Protocol

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

    def offers(self) -> Offers:
        """Sorted by who offers."""
        return _ListedOffers(self)

    def assigned(self, picked: Rows) -> Rows:
        """The most similar medoid of each sample; a medoid's is itself, and ``NOBODY``'s is in no list."""
        size = len(self.values)
        is_medoid = np.zeros(size, dtype=bool)
        is_medoid[picked] = True
        offered = np.where(is_medoid[self.columns], self.values, 0)
        nearest = offered.argmax(axis=1)
        rows = np.arange(size)
        found = np.where(offered[rows, nearest] > 0, self.columns[rows, nearest], NOBODY)
        return np.where(is_medoid, rows, found)


@dataclass(frozen=True)
class AllPairs:
    """Similarities of all pairs in a group of m samples, as the paper has them; for groups that are small enough."""

    values: Floats  # (m, m) symmetric

    @classmethod
    def of(cls, distances: Floats, unit: float) -> AllPairs:
        """exp(-distance / unit), written over the distances: two such matrices might not fit."""
        np.divide(distances, -unit, out=distances)
        return cls(np.exp(distances, out=distances))

    @property
    def floor(self) -> Floats:
        """Every pair is listed, so nothing is left to bound."""
        return np.zeros(len(self.values))

    def offers(self) -> Offers:
        """The matrix itself: a row is what a candidate offers."""
        return _MatrixOffers(self.values)

    def assigned(self, picked: Rows) -> Rows:
        """The most similar medoid of each sample; a medoid's is itself."""
        found = picked[self.values[:, picked].argmax(axis=1)]
        found[picked] = picked
        return np.asarray(found)


class Offers(Protocol):
    """What candidates offer to those they could stand for; ``best`` is what each of these has already."""

    def gains(self, best: Floats) -> Floats:
        """What each candidate would add to the sum of ``best``."""

    def gain(self, position: int, best: Floats) -> float:
        """What one candidate would add."""

    def take(self, position: int, best: Floats) -> None:
        """Raise ``best`` by what a candidate offers."""


class _ListedOffers:
    def __init__(self, known: Similarities) -> None:
        size, k = known.values.shape
        positions = np.arange(size)
        served = np.concatenate([positions, np.repeat(positions, k)])
        candidate = np.concatenate([positions, known.columns.ravel()])
        value = np.concatenate([np.ones(size), known.values.ravel()])
        order = np.argsort(candidate, kind="stable")
        self.served, self.value, self.candidate = served[order], value[order], candidate[order]
        self.ends = np.cumsum(np.bincount(candidate, minlength=size))

    def gains(self, best: Floats) -> Floats:
        added = np.maximum(self.value - best[self.served], 0)
        return np.asarray(np.bincount(self.candidate, weights=added, minlength=len(best)))

    def gain(self, position: int, best: Floats) -> float:
        own = self._own(position)
        return float(np.maximum(self.value[own] - best[self.served[own]], 0).sum())

    def take(self, position: int, best: Floats) -> None:
        own = self._own(position)
        np.maximum.at(best, self.served[own], self.value[own])

    def _own(self, position: int) -> slice:
        return slice(self.ends[position - 1] if position else 0, self.ends[position])


class _MatrixOffers:
    def __init__(self, values: Floats) -> None:
        self.values = values

    def gains(self, best: Floats) -> Floats:
        return np.array([self.gain(position, best) for position in range(len(best))])

    def gain(self, position: int, best: Floats) -> float:
        return float(np.maximum(self.values[position] - best, 0).sum())

    def take(self, position: int, best: Floats) -> None:
        np.maximum(best, self.values[position], out=best)


def similarities(neighbors: Neighbors, rows: Rows, *, unit: float | None = None) -> Similarities:
    """exp(-distance / unit) of the neighbours that ``rows`` have among themselves; unit: the longest distance.

    The paper divides by the number of classes, more than any distance between its gradients. So similarity
    falls nearly in proportion to distance, and the loneliest samples are picked early; in no unit is that
    different here.
    """
    position = np.full(len(neighbors.indices), NOBODY)
    position[rows] = np.arange(len(rows))
    indices, distances = neighbors.indices[rows], neighbors.distances[rows].astype(np.float64)
    columns = np.where(indices >= 0, position[indices], NOBODY)
    known = columns != NOBODY
    unit = unit or distances[known].max(initial=0) or 1.0
    values = np.where(known, np.exp(-distances / unit), 0)
    cut_short = (known.sum(axis=1) < len(rows) - 1) & (indices[:, -1] >= 0)
    floor = np.where(cut_short, np.exp(-distances[:, -1] / unit), 0)
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


def lazy_greedy(known: Similarities | AllPairs, count: int) -> Rows:
    """At most ``count`` positions that maximise the sum over samples of the similarity to the most similar one picked.

    What a candidate adds only shrinks as others are picked, so what it once would have added is an upper bound,
    and few bounds have to be renewed for a pick (Minoux 1978).
    """
    offers, best = known.offers(), known.floor.copy()
    queue = [(-gain, position) for position, gain in enumerate(offers.gains(best).tolist())]
    heapq.heapify(queue)
    picked: list[int] = []
    while len(picked) < count:
        _, position = heapq.heappop(queue)
        renewed = (-offers.gain(position, best), position)
        if queue and renewed > queue[0]:
            heapq.heappush(queue, renewed)
            continue
        if -renewed[0] < LEAST_GAIN:
            break
        picked.append(position)
        offers.take(position, best)
    return np.array(picked, dtype=np.int64)


def assignment(known: Similarities | AllPairs, picked: Rows) -> Rows:
    """The most similar medoid of each sample, by position; a medoid's is itself."""
    return known.assigned(picked)


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
