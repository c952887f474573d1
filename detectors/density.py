"""How lonely, or how crowded, a sample is among its own class.

The first papers are Breunig 2000 (LOF), Schubert 2014 (simplified LOF), Anderberg 2024 (DAO); Huang 2025
showed that they find poison at the scale of the web. All of it is read off neighbour graphs; where there are
no labels, the whole set is one class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Family, Floats, MissingEvidence, Neighbors, Rows, by_class

#: Distances below this share of what is usual in the class are float noise between near duplicates.
RESOLUTION = 1e-3
#: A neighbourhood whose distances are all alike has no finite dimension; this is more than features have.
MOST_DIMENSIONS = 100.0
#: Spread of log distances that even a perfectly even class is granted.
LEAST_SPREAD = 0.05
#: Rows whose neighbourhoods are in double precision at a time.
BLOCK = 4096


def k_distance(distances: np.ndarray) -> Floats:
    """The distance to the last neighbour of each row, (n, k) -> (n,); NaN for a sample without neighbours.

    >>> k_distance(np.array([[1.0, 2.0], [1.0, np.inf], [np.inf, np.inf]]))
    array([ 2.,  1., nan])
    """
    found = np.isfinite(distances).sum(axis=1)
    last = np.take_along_axis(distances, np.maximum(found - 1, 0)[:, None], axis=1)[:, 0]
    return np.where(found > 0, last, np.nan).astype(np.float64)


def class_median(values: Floats, labels: Rows) -> Floats:
    """The median of each sample's class; the whole set's where the class has none or it is 0."""
    positive = values[values > 0]
    medians = np.full(len(values), np.median(positive) if len(positive) else 1.0)
    for label in np.unique(labels):
        of_class = labels == label
        known = values[of_class & np.isfinite(values)]
        if len(known) and np.median(known) > 0:
            medians[of_class] = np.median(known)
    return medians


def settled(distances: Floats, labels: Rows) -> Floats:
    """Distances (n,) that can be divided by: above float noise, and typical where unknown."""
    typical = class_median(distances, labels)
    return np.maximum(np.where(np.isfinite(distances), distances, typical), RESOLUTION * typical)


def robust_z(values: Floats, labels: Rows) -> Floats:
    """Deviations from the class median in units of its median absolute deviation, made comparable to sigma."""
    z = np.zeros(len(values))
    for label in np.unique(labels):
        of_class = labels == label
        deviation = values[of_class] - np.median(values[of_class])
        z[of_class] = deviation / max(1.4826 * np.median(np.abs(deviation)), LEAST_SPREAD)
    return z


def neighbor_mean(values: Floats, indices: Rows, *, alone: float) -> Floats:
    """The mean of ``values`` (n, k) over real neighbours; ``alone`` for a sample that has none."""
    real = indices >= 0
    total = np.where(real, values, 0).sum(axis=1)
    return np.where(real.any(axis=1), total / np.maximum(real.sum(axis=1), 1), alone)


def in_blocks(size: int, formula: Callable[[slice], Floats]) -> Floats:
    """What a formula says of every row (n,), some rows at a time: neighbourhoods are never all in double precision."""
    blocks = (slice(start, start + BLOCK) for start in range(0, size, BLOCK))
    return np.concatenate([np.zeros(0), *map(formula, blocks)])


def local_outlier_factor(distances: np.ndarray, indices: Rows, k_distances: Floats) -> Floats:
    """How much denser the neighbours live than the sample: 1 is usual."""

    def density_of(here: slice) -> Floats:
        nearest = indices[here]
        reach = np.maximum(k_distances[nearest], np.where(nearest >= 0, distances[here], 0))
        return 1 / neighbor_mean(reach, nearest, alone=1.0)

    density = in_blocks(len(indices), density_of)

    def factor(here: slice) -> Floats:
        return neighbor_mean(density[indices[here]] / density[here, None], indices[here], alone=1.0)

    return in_blocks(len(indices), factor)


def simplified_lof(indices: Rows, k_distances: Floats) -> Floats:
    """The sample's k-distance over those of its neighbours, on average: 1 is usual."""

    def factor(here: slice) -> Floats:
        return neighbor_mean(k_distances[here, None] / k_distances[indices[here]], indices[here], alone=1.0)

    return in_blocks(len(indices), factor)


def intrinsic_dimension(distances: Floats) -> Floats:
    """The maximum-likelihood local intrinsic dimension around each row of (n, k) distances.

    Distances on a line grow like 1, 2, 3, ...: the estimate nears 1.

    >>> intrinsic_dimension(np.arange(1.0, 1001.0)[None]).round(2)
    array([1.])
    """
    real = np.isfinite(distances)
    farthest = k_distance(distances)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(real & (farthest > 0), distances / farthest, 1.0)
    growth = -np.log(np.maximum(ratio, RESOLUTION)).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    return np.asarray(1 / np.maximum(growth, 1 / MOST_DIMENSIONS))


def dimension_aware_outlierness(indices: Rows, k_distances: Floats, dimensions: Floats) -> Floats:
    """The log ratio of densities between neighbours and sample, in the dimension that they live in: 0 is usual."""

    def ratio(here: slice) -> Floats:
        nearest = indices[here]
        ratios = np.log(k_distances[here, None] / k_distances[nearest])
        return neighbor_mean(dimensions[nearest] * ratios, nearest, alone=0.0)

    return in_blocks(len(indices), ratio)


class KDistance(Detector):
    """The distance to the k-th neighbour within the class, in units of the class's median."""

    neighbors: ClassVar[tuple[str, ...]] = ("feature/class",)
    uses_labels = False
    sees: ClassVar[tuple[Family, ...]] = ("dispersed", "mislabelled")
    says = "It lies far from the other samples of its class."

    def __init__(self, *, k: int = 10) -> None:
        self.k = k

    def _score(self, evidence: Evidence) -> Floats:
        distances, _ = _nearest(self, evidence, self.neighbors[0], self.k)
        lonely = settled(k_distance(distances), evidence.labels)
        return lonely / class_median(lonely, evidence.labels)


class GradientDensity(KDistance):
    """``KDistance`` among the last-layer gradients: alone in what it wants the model to learn."""

    neighbors: ClassVar[tuple[str, ...]] = ("gradient/class",)
    uses_labels = True
    sees: ClassVar[tuple[Family, ...]] = ("mislabelled",)
    origin_free = False
    says = "It pulls the model in a direction that the rest of its class does not."


class LocalOutlierFactor(Detector):
    """LOF within the class (Breunig 2000), as scikit-learn computes it."""

    neighbors: ClassVar[tuple[str, ...]] = ("feature/class",)
    uses_labels = False
    sees: ClassVar[tuple[Family, ...]] = ("shifted", "tight", "dispersed", "mislabelled")
    says = "Its neighbours in the class live closer together than it lives to them."

    def __init__(self, *, k: int = 20) -> None:
        self.k = k

    def _score(self, evidence: Evidence) -> Floats:
        distances, indices = _nearest(self, evidence, self.neighbors[0], self.k)
        return local_outlier_factor(distances, indices, settled(k_distance(distances), evidence.labels))


class SLOF(Detector):
    """Simplified LOF (Schubert 2014): k-distances compared with those of the neighbours."""

    neighbors: ClassVar[tuple[str, ...]] = ("feature/class",)
    uses_labels = False
    sees: ClassVar[tuple[Family, ...]] = ("shifted", "tight", "dispersed", "mislabelled")
    says = "It lies farther out than its neighbours in the class do."

    def __init__(self, *, k: int = 20) -> None:
        self.k = k

    def _score(self, evidence: Evidence) -> Floats:
        distances, indices = _nearest(self, evidence, self.neighbors[0], self.k)
        return simplified_lof(indices, settled(k_distance(distances), evidence.labels))


class DAO(Detector):
    """Dimension-aware outlierness (Anderberg 2024) against a reference too small for a clump to fill (Huang 2025)."""

    neighbors: ClassVar[tuple[str, ...]] = ("feature/class~256",)
    uses_labels = False
    sees: ClassVar[tuple[Family, ...]] = ("dispersed", "mislabelled")
    says = "It, or the clump that it belongs to, lies apart from its class."

    def __init__(self, *, k: int = 16) -> None:
        self.k = k

    def _score(self, evidence: Evidence) -> Floats:
        distances, indices = _nearest(self, evidence, self.neighbors[0], self.k)
        k_distances = settled(k_distance(distances), evidence.labels)
        dimensions = in_blocks(len(evidence), lambda here: intrinsic_dimension(distances[here].astype(np.float64)))
        return dimension_aware_outlierness(indices, k_distances, dimensions)


class Tightness(Detector):
    """Crowded beyond what its class and its surroundings explain: a clump of near duplicates.

    The surroundings are the ``outer``-th neighbour in a reference that a clump cannot fill, so the middle of
    a class, which is dense at every scale, is not mistaken for one.
    """

    neighbors: ClassVar[tuple[str, ...]] = ("feature/class", "feature/class~256")
    uses_labels = False
    sees: ClassVar[tuple[Family, ...]] = ("tight",)
    says = "It sits in a clump that is much denser than its class and than what lies around the clump."

    def __init__(self, *, k: int = 10, outer: int = 30) -> None:
        self.k = k
        self.outer = outer

    def _score(self, evidence: Evidence) -> Floats:
        labels = evidence.labels
        inner, _ = _nearest(self, evidence, self.neighbors[0], self.k)
        outer, _ = _nearest(self, evidence, self.neighbors[1], self.outer)
        crowd = np.log(settled(k_distance(inner), labels))
        surroundings = np.log(settled(k_distance(outer), labels))
        contrast = robust_z(surroundings - crowd, labels)
        return np.asarray(np.minimum(robust_z(-crowd, labels), contrast))

    def _class_scores(self, evidence: Evidence) -> Floats:
        """The mean of the k + 1 highest scores: what one clump that fills its own neighbourhoods adds up to."""
        return self._opinion(evidence)[1]

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores = self._score(evidence)
        return scores, np.array([np.sort(scores[rows])[-self.k - 1 :].mean() for _, rows in by_class(evidence)])


def _nearest(detector: Detector, evidence: Evidence, name: str, k: int) -> tuple[NDArray[np.float32], Rows]:
    """The first k columns of a graph, as they are stored: distances and indices."""
    graph: Neighbors = evidence.neighbors[name]
    columns = graph.indices.shape[1]
    if columns < k:
        raise MissingEvidence(f"{detector!r} needs {k} neighbours a sample; {name!r} was extracted with {columns}")
    return graph.distances[:, :k], graph.indices[:, :k]
