"""SCAn (Tang et al. 2021): a sample is its class's mean plus a variation that all classes share.

A class that two means explain much better than one hides a second population. The paper learns the shared
variation from clean samples; here it comes from all of them, without the farthest of every class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf_shrinkage

from detectors.base import Detector, Evidence, Floats, Rows, by_class
from detectors.clustering import two_means
from detectors.whitening import in_own_axes

#: So many classes are needed before one of them can be called unusual among them.
COMPARABLE_CLASSES = 4
#: The spread of class evidence, as a share of its median, that is granted to classes however alike.
LEAST_SPREAD = 0.05
#: Shrinkage that is granted to any number of samples: a network may have units that never fire.
LEAST_SHRINKAGE = 1e-3


@dataclass(frozen=True)
class Decomposition:
    """Where classes lie, and what samples add to that."""

    means: Floats  # (C, d)
    between: Floats  # (d, d) covariance of the class means
    within: Floats  # (d, d) covariance of the variation that all classes share


@dataclass(frozen=True)
class Untangled:
    """A class explained by two means."""

    side: Floats  # (m,) position towards the smaller group, 0 midway between the means, in shared deviations
    gain: float  # squared distance that a sample saves on average by having a mean of its own group


def decompose(rows: Floats, member_of: Rows, *, shrinkage: float, rounds: int = 100) -> Decomposition:
    """Expectation-maximisation for x = mean + variation, both normal; classes are numbered from 0 without gaps.

    The expected mean of a class is S_between (S_between + S_within / n)^-1 times its average. In the axes that
    make S_within one and S_between diagonal that is a factor an axis, for all classes at once.
    """
    counts = np.bincount(member_of)
    averages = _averages(rows, member_of)
    centre = averages.mean(axis=0)
    offsets = averages - centre
    residuals = rows - averages[member_of]
    scatter = residuals.T @ residuals
    within = _shrunk(scatter / len(rows), shrinkage)
    between = offsets.T @ offsets / len(counts)
    means = offsets
    for _ in range(rounds):
        values, axes = eigh(between, within)  # axes.T @ within @ axes = 1
        reliability = counts[:, None] * np.clip(values, 0, None)
        expected = (offsets @ axes * (reliability / (reliability + 1))) @ (within @ axes).T
        settled = np.allclose(expected, means, rtol=0, atol=1e-5 * np.sqrt(np.trace(within)))
        means = expected
        between = means.T @ means / len(counts)
        missed = offsets - means
        within = _shrunk((scatter + (missed * counts[:, None]).T @ missed) / len(rows), shrinkage)
        if settled:
            break
    return Decomposition(centre + means, between, within)


def shared_variation(rows: Floats, labels: Rows, *, trimmed: float, rounds: int = 3) -> Floats:
    """The covariance within classes (d, d), without the ``trimmed`` share of each class that lies farthest out.

    Scaled so that the median distance is that of a normal cloud, for a trimmed cloud looks small.
    """
    member_of = np.unique(labels, return_inverse=True)[1]
    kept = np.ones(len(rows), dtype=bool)
    for _ in range(rounds):
        found = decompose(rows[kept], member_of[kept], shrinkage=_shrinkage(rows[kept], member_of[kept]))
        squared = (whitened_by(found.within, rows - found.means[member_of]) ** 2).sum(axis=1)
        kept = _closest(squared, member_of, 1 - trimmed)
    scale = float(np.median(squared) / chi2.ppf(0.5, rows.shape[1]))
    return np.asarray(found.within * (scale or 1.0))


def whitened_by(covariance: Floats, rows: Floats) -> Floats:
    """Rows in units of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(rows @ (vectors / np.sqrt(values)))


def untangled(rows: Floats, *, axes: int, rows_per_axis: int, tail: float) -> Untangled:
    """The two means that explain whitened rows of one class best, started from either tail of its leading axes."""
    reduced = in_own_axes(rows, axes, rows_per_axis)
    starts = [along >= np.quantile(along, 1 - tail) for along in (*reduced.T, *-reduced.T)]
    best = max((two_means(reduced, start) for start in starts), key=lambda group: _gain(reduced, group))
    group = two_means(rows, best)
    if group.sum() * 2 > len(group):
        group = ~group
    gain = _gain(rows, group)
    if not gain > 0:
        return Untangled(np.zeros(len(rows)), 0.0)
    inside, outside = rows[group].mean(axis=0), rows[~group].mean(axis=0)
    line = (inside - outside) / np.linalg.norm(inside - outside)
    return Untangled((rows - (inside + outside) / 2) @ line, gain)


def anomaly_index(values: Floats) -> Floats:
    """By how many robust deviations each class exceeds the median class; the values as they are for few classes."""
    if len(values) < COMPARABLE_CLASSES:
        return values
    excess = values - np.median(values)
    spread = max(1.4826 * np.median(np.abs(excess)), LEAST_SPREAD * np.median(values))
    return np.asarray(excess / (spread or 1.0))


def _gain(rows: Floats, group: NDArray[np.bool_]) -> float:
    """Mean squared distance to one common mean, less that to the mean of a row's own group."""
    share = group.mean()
    if not 0 < share < 1:
        return 0.0
    apart = rows[group].mean(axis=0) - rows[~group].mean(axis=0)
    return float(share * (1 - share) * (apart @ apart))


def _averages(rows: Floats, member_of: Rows) -> Floats:
    """The average of every class, (C, d)."""
    return np.stack([rows[member_of == which].mean(axis=0) for which in range(member_of.max() + 1)])


def _shrinkage(rows: Floats, member_of: Rows) -> float:
    """Ledoit and Wolf's: how far the variation within classes has to be drawn towards a ball to be invertible."""
    if len(rows) < 2:
        return 1.0
    residuals = rows - _averages(rows, member_of)[member_of]
    return max(LEAST_SHRINKAGE, float(ledoit_wolf_shrinkage(residuals, assume_centered=True)))


def _shrunk(covariance: Floats, shrinkage: float) -> Floats:
    ball = np.trace(covariance) / len(covariance) or 1.0
    return np.asarray((1 - shrinkage) * covariance + shrinkage * ball * np.eye(len(covariance)))


def _closest(squared: Floats, member_of: Rows, share: float) -> NDArray[np.bool_]:
    """The share of each class with the smallest distances, at least one sample of each."""
    kept = np.zeros(len(squared), dtype=bool)
    for which in range(int(member_of.max(initial=-1)) + 1):
        of_class = member_of == which
        kept[of_class] = squared[of_class] <= np.quantile(squared[of_class], share)
    return kept


class SCAn(Detector):
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

    def _untangled(self, evidence: Evidence) -> list[Untangled]:
        rows = evidence.space("feature")
        if not len(rows):
            return []
        rows = whitened_by(shared_variation(rows, evidence.labels, trimmed=self.trimmed), rows)
        return [
            untangled(rows[members], axes=self.axes, rows_per_axis=self.rows_per_axis, tail=self.tail)
            for _, members in by_class(evidence)
        ]

    def _score(self, evidence: Evidence) -> Floats:
        found = self._untangled(evidence)
        weights = np.maximum(anomaly_index(np.array([one.gain for one in found])), 0)
        scores = np.zeros(len(evidence))
        for (_, members), one, weight in zip(by_class(evidence), found, weights, strict=True):
            scores[members] = weight * one.side
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return anomaly_index(np.array([one.gain for one in self._untangled(evidence)]))
