"""Facility location: the few samples of a group that best stand for all of it, and who stands for whom.

What is maximised is the sum, over the samples, of the similarity to the most similar one that was picked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Floats, Rows
from detectors.gains import Gains
from detectors.greedy import greedy, lazy_greedy

#: What a row without a medoid among its neighbours is assigned to.
NOBODY = -1


@dataclass(frozen=True)
class Similarities:
    """Similarities within a group of m samples, by their positions in it; a sample is wholly similar to itself.

    ``floor`` bounds what a sample's similarity to all those that are not listed can be.
    """

    values: Floats  # (m, k), 0 where padded
    columns: Rows  # (m, k) positions, a row's own where padded
    floor: Floats  # (m,)

    def picked(self, count: int) -> Rows:
        """The medoids, in the order picked."""
        return greedy(Gains(self.values, self.columns, self.floor), count)

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

    def picked(self, count: int) -> Rows:
        """The medoids, in the order picked."""
        return lazy_greedy(self.values, count)

    def assigned(self, picked: Rows) -> Rows:
        """The most similar medoid of each sample; a medoid's is itself."""
        found = picked[self.values[:, picked].argmax(axis=1)]
        found[picked] = picked
        return np.asarray(found)


def pick_medoids(known: Similarities | AllPairs, count: int) -> Rows:
    """At most ``count`` positions that together serve best, greedily: the first are those of a smaller count."""
    return known.picked(count)


def assignment(known: Similarities | AllPairs, picked: Rows) -> Rows:
    """The most similar medoid of each sample, by position; a medoid's is itself."""
    return known.assigned(picked)


def singletons(assigned: Rows) -> NDArray[np.bool_]:
    """Which samples are medoids that nobody but themselves chose."""
    clusters = np.bincount(assigned[assigned != NOBODY], minlength=len(assigned))
    return np.asarray((assigned == np.arange(len(assigned))) & (clusters == 1))
