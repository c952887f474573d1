"""Isolated medoids (EPIC, Yang et al. 2022): gradients that stand for nobody but themselves.

Facility location picks the samples that best stand for their class. Each sample chooses its nearest medoid;
one that nobody else chooses drives the model where the rest of its class does not go. The paper compares all
pairs of a class; here only neighbours are compared, which is what the largest similarities are.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Detector, Evidence, Family, Floats, Neighbors, Rows, by_class
from detectors.facility import NOBODY, Similarities, assignment, pick_medoids, singletons


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
    picked = pick_medoids(known, min(count, len(rows)))
    assigned = assignment(known, picked)
    return rows[picked], np.where(assigned != NOBODY, rows[assigned], NOBODY)


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
            picked = pick_medoids(known, max(counts))
            scores[rows] = loneliness(graph, rows)
            for count in counts:
                scores[rows] += singletons(assignment(known, picked[:count]))
        return scores
