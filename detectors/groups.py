"""Inconsistent groups: samples that keep close to one another, apart from their class, and came as a surprise.

A network that has learned a trigger puts its carriers together. Before it had, it said that they belong to
various other classes. Near duplicates and rare styles keep together as well, but nobody was surprised by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from detectors.base import Detector, Evidence, Family, Floats, MissingEvidence, Neighbors, Rows, by_class
from detectors.density import RESOLUTION, class_median, k_distance
from detectors.dynamics import Losses

#: Fewer samples than this are no group.
LEAST_MEMBERS = 4


def mutual_groups(indices: Rows) -> Rows:
    """Connected groups where two samples are joined if each is among the other's neighbours, (n,) group numbers.

    Mutual, because a sample beside a dense clump has the clump for neighbours, and they do not have it.

    >>> mutual_groups(np.array([[1], [0], [1], [4], [3]])).tolist()
    [0, 0, 1, 2, 2]
    """
    real = indices >= 0
    starts = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    found = indices[real].astype(np.int32)
    listed = csr_array((np.ones(len(found), dtype=np.int8), found, starts), shape=(len(indices),) * 2)
    return np.asarray(connected_components(listed.multiply(listed.T.tocsr()), directed=False)[1], dtype=np.int64)


def cohesion(distances: Floats, is_inside: NDArray[np.bool_], least: float) -> float:
    """By how many nats a group's nearest outsiders are farther away than its nearest insiders; (m, k), typical member.

    Where every listed neighbour is an insider, the last of them says how far an outsider is at least. Distances
    below ``least`` are float noise.
    """
    listed = np.where(np.isfinite(distances), distances, 0)
    inside = np.where(is_inside, distances, np.inf).min(axis=1)
    outside = np.where(is_inside, np.inf, distances).min(axis=1)
    outside = np.where(np.isfinite(outside), outside, listed.max(axis=1))
    return float(max(0.0, np.median(np.log(np.maximum(outside, least) / np.maximum(inside, least)))))


def groups_of_size(group_of: Rows, least: float, most: float) -> list[Rows]:
    """The members of every group of at least and at most so many."""
    order = np.argsort(group_of, kind="stable")
    sizes = np.unique(group_of, return_counts=True)[1]
    groups = np.split(order, np.cumsum(sizes)[:-1])
    return [groups[number] for number in np.flatnonzero((sizes >= least) & (sizes <= most))]


class InconsistentGroups(Detector):
    """Groups within a class that keep together, each scored by its cohesion times its surprise, in nats each.

    Few neighbours find the cores of groups that touch their class, many find groups that are loose; a sample
    gets the best of what it is found in.

    Settings:
        levels: numbers of neighbours among which two samples must be each other's to be joined.
        largest: groups of more than this share of a class are the class.
    """

    needs = ("loss",)
    neighbors: ClassVar[tuple[str, ...]] = ("feature/class",)
    sees: ClassVar[tuple[Family, ...]] = ("shifted", "tight")
    says = "It belongs to a group that keeps to itself and was first taken for something else."

    def __init__(self, *, levels: tuple[int, ...] = (4, 8, 16), largest: float = 0.5) -> None:
        self.levels = levels
        self.largest = largest

    def _score(self, evidence: Evidence) -> Floats:
        graph = evidence.neighbors[self.neighbors[0]]
        columns = graph.indices.shape[1]
        if columns < max(self.levels):
            raise MissingEvidence(
                f"{self!r} needs {max(self.levels)} neighbours; {self.neighbors[0]!r} was extracted with {columns}"
            )
        scores = np.zeros(len(evidence))
        for rows, strength in self._groups(evidence, graph):
            scores[rows] = np.maximum(scores[rows], strength)
        return scores

    def _groups(self, evidence: Evidence, graph: Neighbors) -> Iterator[tuple[Rows, float]]:
        """Every group of every level that surprised, with its cohesion times its surprise."""
        usual = class_median(k_distance(graph.distances), evidence.labels)
        for level in self.levels:
            group_of = mutual_groups(graph.indices[:, :level])
            for _, members in by_class(evidence):
                losses = Losses.of(evidence.part("loss", members))
                for group in groups_of_size(group_of[members], LEAST_MEMBERS, self.largest * len(members)):
                    surprised, rows = losses.surprise(group), members[group]
                    if surprised > 0:
                        indices, distances = graph.indices[rows], graph.distances[rows].astype(np.float64)
                        is_inside = (group_of[indices] == group_of[rows[0]]) & (indices >= 0)
                        yield rows, surprised * cohesion(distances, is_inside, RESOLUTION * usual[rows[0]])

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores = self._score(evidence)
        return scores, np.array([scores[members].max() for _, members in by_class(evidence)])

    def _class_scores(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[1]
