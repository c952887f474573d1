"""SCAn (Tang et al. 2021): a sample is its class's mean plus a variation that all classes share.

A class that two means explain much better than one hides a second population. The paper learns the shared
variation from clean samples; here it comes from all of them, without the farthest of every class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Evidence, Floats, TwofoldDetector, by_class
from detectors.decomposition import shared_variation
from detectors.scatter import along_axes, centred
from detectors.tails import two_means_groups
from detectors.whitening import enough

#: So many classes are needed before one of them can be called unusual among them.
COMPARABLE_CLASSES = 4
#: The spread of class evidence, as a share of its median, that is granted to classes however alike.
LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class Untangled:
    """A class explained by two means."""

    side: Floats  # (m,) position towards the smaller group, 0 midway between the means, in shared deviations
    gain: float  # squared distance that a sample saves on average by having a mean of its own group


def untangled(rows: Floats, reduced: Floats, metric: Floats, *, tail: float) -> Untangled:
    """The two means that explain a class best, started from either tail of its leading axes.

    Args:
        rows: (m, d) centred.
        reduced: (m, k) the same along their leading axes, in shared deviations.
        metric: (d, d) inverse of the shared variation: rows are measured by it, and never multiplied with it.
    """
    lines = np.concatenate([reduced.T, -reduced.T])
    groups = two_means_groups(reduced, lines >= np.quantile(lines, 1 - tail, axis=1)[:, None])
    best = max(groups, key=lambda group: _gain(_apart(reduced, group), _apart(reduced, group), group))
    group = _settled(rows, best, metric)
    if group.sum() * 2 > len(group):
        group = ~group
    apart = _apart(rows, group)
    across = metric @ apart
    gain = _gain(apart, across, group)
    if not gain > 0:
        return Untangled(np.zeros(len(rows)), 0.0)
    return Untangled(_beyond_middle(rows, group, across) / np.sqrt(apart @ across), gain)


def anomaly_index(values: Floats) -> Floats:
    """By how many robust deviations each class exceeds the median class; the values as they are for few classes."""
    if len(values) < COMPARABLE_CLASSES:
        return values
    excess = values - np.median(values)
    spread = max(1.4826 * np.median(np.abs(excess)), LEAST_SPREAD * np.median(values))
    return np.asarray(excess / (spread or 1.0))


def _settled(rows: Floats, group: NDArray[np.bool_], metric: Floats, *, rounds: int = 50) -> NDArray[np.bool_]:
    """Lloyd's algorithm for two groups with distances in a metric, from a given start, until nothing moves."""
    for _ in range(rounds):
        if not 1 < group.sum() < len(group) - 1:
            break
        moved = _beyond_middle(rows, group, metric @ _apart(rows, group)) > 0
        if (moved == group).all():
            break
        group = moved
    return group


def _apart(rows: Floats, group: NDArray[np.bool_]) -> Floats:
    """From the mean of the others to that of a group of centred rows; zero where there are not two groups."""
    count = group.sum()
    inside = group.astype(np.float64) @ rows
    return inside / count + inside / (len(rows) - count) if 0 < count < len(rows) else np.zeros(rows.shape[1])


def _beyond_middle(rows: Floats, group: NDArray[np.bool_], across: Floats) -> Floats:
    """How far centred rows lie along a direction from the middle between a group and the others."""
    along = rows @ across
    return np.asarray(along - (along[group].mean() + along[~group].mean()) / 2)


def _gain(apart: Floats, across: Floats, group: NDArray[np.bool_]) -> float:
    """Mean squared distance to one common mean, less that to the mean of a row's own group."""
    share = group.mean()
    return float(share * (1 - share) * (apart @ across))


class SCAn(TwofoldDetector):
    """The paper's untangling without its clean samples: class evidence is what a second mean explains.

    Settings:
        trimmed: share of each class left out where the shared variation is learned; it hides less than that.
        axes: how many leading axes of a class are searched; at most one for every ``rows_per_axis`` rows.
        tail: the share of a class that starts as the smaller group.
    """

    needs = ("feature",)
    sees = ("shifted", "tight")
    says = "It belongs to the smaller of two groups that explain its class much better than one."

    def __init__(self, *, trimmed: float = 0.1, axes: int = 8, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.trimmed = trimmed
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores, found = np.zeros(len(evidence)), self._untangled(evidence)
        odd = anomaly_index(np.array([one.gain for one in found]))
        for (_, members), one, weight in zip(by_class(evidence), found, np.maximum(odd, 0), strict=True):
            scores[members] = weight * one.side
        return scores, odd

    def _untangled(self, evidence: Evidence) -> list[Untangled]:
        if not len(evidence):
            return []
        values, vectors = np.linalg.eigh(shared_variation(evidence, trimmed=self.trimmed))
        units = vectors / np.sqrt(values)
        metric, found = units @ units.T, []
        for label, members in by_class(evidence):
            reduced = along_axes(evidence, label, enough(len(members), self.axes, self.rows_per_axis), units)
            found.append(untangled(centred(evidence, label), reduced, metric, tail=self.tail))
        return found
