"""Which gradients of a class stand for nobody but themselves: EPIC's rule, for classes of any size.

Classes that are small enough are compared pair by pair, as the paper does. For larger ones, whose pairs would not
fit, each gradient knows its nearest neighbours only, and memory grows with the class, not with its square.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Floats, Neighbors, Rows
from detectors.facility import NOBODY, AllPairs, assignment, pick_medoids, singletons
from detectors.medoids import similarities
from sanitizer.embed.gradients import pairwise_squared_distances, sketch, squared_distances
from sanitizer.index import nearest
from sanitizer.training.cells import MOST_DIMENSIONS, nearest_in_cells
from sanitizer.training.gradients import LastLayer

#: A sketch errs, so neighbours of weight gradients are chosen from more candidates before the exact re-ranking.
_SPARE = 32


@dataclass(frozen=True)
class Isolation:
    """What one class of m samples looks like to the rule."""

    alone: NDArray[np.bool_]  # (m,) medoids that nobody else chose
    distances: Floats  # (m,) to the nearest other gradient of the class; infinite for the only one

    @property
    def typical(self) -> float:
        """How far apart neighbours are in this class."""
        return float(np.median(self.distances))


def similarity_unit(gradients: LastLayer) -> float:
    """The paper's unit of distance: the number of classes; of weight gradients, times the length of a feature."""
    classes = float(gradients.residual.shape[1])
    if gradients.feature is None:
        return classes
    squares = np.einsum("nd,nd->n", gradients.feature, gradients.feature, dtype=np.float64)
    return classes * (math.sqrt(float(squares.mean())) or 1.0)


def medoid_count(share: float, size: int) -> int:
    """A class's part of the medoids, rounded up.

    >>> medoid_count(0.1, 70), medoid_count(0.1, 71), medoid_count(0.1, 1)
    (7, 8, 1)
    """
    return math.ceil(round(share * size, 6))


def isolation(
    gradients: LastLayer, rows: Rows, share: float, *, unit: float, dense: bool, neighbors: int, device: str = "cpu"
) -> Isolation:
    """Facility location over ``rows``, one class, with ``share`` of them as medoids; who of these is alone."""
    count = medoid_count(share, len(rows))
    own = LastLayer(gradients.residual[rows], None if gradients.feature is None else gradients.feature[rows])
    if dense or len(rows) <= neighbors:
        return _by_all_pairs(own, count, unit)
    return _by_neighbors(own, count, unit, neighbors, device)


def _by_all_pairs(own: LastLayer, count: int, unit: float) -> Isolation:
    distances = pairwise(own)
    np.fill_diagonal(distances, np.inf)
    closest = distances.min(axis=1)
    np.fill_diagonal(distances, 0)
    known = AllPairs.of(distances, unit)
    return Isolation(singletons(assignment(known, pick_medoids(known, count))), closest)


def _by_neighbors(own: LastLayer, count: int, unit: float, neighbors: int, device: str) -> Isolation:
    everybody = np.arange(len(own))
    graph = neighborhood(own, neighbors, device)
    known = similarities(graph, everybody, unit=unit)
    picked = pick_medoids(known, count)
    assigned = assignment(known, picked)
    # Whom a gradient far from every medoid chose is in no list, and that medoid is not alone.
    unknown = np.flatnonzero(assigned == NOBODY)
    assigned[unknown] = _search(own, unknown, np.sort(picked), 1, device).indices[unknown, 0]
    return Isolation(singletons(assigned), graph.distances[:, 0].astype(np.float64))


def neighborhood(own: LastLayer, neighbors: int, device: str = "cpu") -> Neighbors:
    """The nearest others of each gradient; if there are few classes, by cells, so that time grows with their number."""
    if own.feature is None and own.residual.shape[1] <= MOST_DIMENSIONS:
        return nearest_in_cells(own.residual, neighbors)
    everybody = np.arange(len(own))
    return _search(own, everybody, everybody, neighbors, device)


def _search(own: LastLayer, asking: Rows, among: Rows, k: int, device: str) -> Neighbors:
    groups = [(asking, among)]
    if own.feature is None:
        return nearest(own.residual, groups, k, device=device)
    exact = functools.partial(squared_distances, own.residual, own.feature)
    return nearest(sketch(own.residual, own.feature), groups, k, exact=exact, spare=_SPARE, device=device)


def pairwise(own: LastLayer) -> Floats:
    """Distances between all gradients, (m, m) float64."""
    if own.feature is None:
        squared = _differences(own.residual)
    else:
        squared = pairwise_squared_distances(own.residual, own.feature)
    return np.asarray(np.sqrt(squared, out=squared))


def _differences(residual: np.ndarray) -> Floats:
    """Row by row: gradients that are nearly the same keep a distance that is right."""
    rows = residual.astype(np.float64)
    squared = np.empty((len(rows), len(rows)))
    for row, its in enumerate(rows):
        difference = rows - its
        squared[row] = np.einsum("md,md->m", difference, difference)
    return squared
