"""SPECTRE (Hayase et al. 2021): a class in units of its own majority, scored by quantum entropy.

The paper is told how many samples are poison, and removes as many. Here the majority is found without: by
concentration steps (Rousseeuw 1999) on most of the class, then by the distances that a normal cloud has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from detectors.base import Evidence, Floats, Rows, TwofoldDetector, by_class
from detectors.scatter import along_axes
from detectors.whitening import enough

#: The share of a normal cloud that counts as its majority once the concentration steps have found its middle.
INNER = 0.99
#: Samples of a class for each dimension that is looked at: fewer cannot tell its covariance.
ROWS_PER_AXIS = 10
#: Excess of the largest eigenvalue below which a class counts as having none: float noise.
LEAST_EXCESS = 1e-9
#: What is added to variances before dividing by them, as a share of their mean, and of that of the whole class.
RIDGE, LEAST_RIDGE = 1e-3, 1e-6


@dataclass(frozen=True)
class _Cloud:
    """Where rows lie, and how far they reach along each of their own axes."""

    middle: Floats  # (k,)
    axes: Floats  # (k, k) in columns
    spread: Floats  # (k,)


@dataclass(frozen=True)
class Reading:
    """One class as SPECTRE sees it."""

    scores: Floats  # (m,) 1 is usual
    value: float  # how much more than the majority the class varies in the directions that entropy weighs


def majority(rows: Floats, *, share: float, rounds: int = 10) -> NDArray[np.bool_]:
    """The rows that belong to one cloud around the ``share`` of rows that lie closest together, (n,).

    The distances are scaled so that their median is that of a normal cloud: features have heavier tails.
    """
    count = max(1, int(np.ceil(share * len(rows))))
    least = _least_variance(rows)
    squared = _squared_from_medians(rows, least)
    kept = np.zeros(len(rows), dtype=bool)
    for _ in range(rounds):
        closest = squared <= np.partition(squared, count - 1)[count - 1]
        if (closest == kept).all():
            break
        kept = closest
        cloud = _cloud(rows, kept, least)
        offsets = (rows - cloud.middle) @ (cloud.axes / cloud.spread)
        squared = np.einsum("ij,ij->i", offsets, offsets)
    width = rows.shape[1]
    usual = np.median(squared) / chi2.ppf(0.5, width)
    return np.asarray(squared <= usual * chi2.ppf(INNER, width))


def entropy_weights(moments: Floats, *, alpha: float) -> Floats:
    """M = exp(alpha (S - 1) / (|S| - 1)) / trace, for second moments S (k, k) of whitened rows.

    The exponential is that of the matrix, by its eigenvalues. Ports that exponentiate entry by entry give
    scores that depend on how the axes happen to lie.
    """
    values, vectors = np.linalg.eigh(moments)
    excess = values[-1] - 1
    weights = np.exp(alpha * (values - 1) / excess) if excess > LEAST_EXCESS else np.ones(len(values))
    return np.asarray((vectors * (weights / weights.sum())) @ vectors.T)


def quantum_entropy_scores(rows: Floats, *, alpha: float) -> Floats:
    """``w' M w`` for each whitened row w: how far out it lies where the rows vary more than they should."""
    weights = entropy_weights(_moments(rows), alpha=alpha)
    return np.asarray(((rows @ weights) * rows).sum(axis=1))


def reading(widest: Floats, dimensions: tuple[int, ...], *, share: float, alpha: float) -> Reading:
    """Scores of one class in the number of its own axes, of those given, whose majority leaves the most to explain."""
    width = widest.shape[1]
    found = []
    for k in [k for k in dimensions if k < width] + [width]:
        kept = majority(widest[:, :k], share=share)
        moments = _moments(_in_units_of(widest, kept))
        value = float((moments * entropy_weights(moments, alpha=alpha)).sum())
        found.append((value, k, kept))
    value, k, kept = max(found, key=lambda candidate: candidate[0])
    return Reading(quantum_entropy_scores(_in_units_of(widest[:, :k], kept), alpha=alpha), value)


def _in_units_of(rows: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Rows as differences from the mean of the kept ones, in units of the kept ones' covariance."""
    cloud = _cloud(rows, kept, _least_variance(rows))
    return np.asarray((rows - cloud.middle) @ ((cloud.axes / cloud.spread) @ cloud.axes.T))


def _cloud(rows: Floats, kept: NDArray[np.bool_], least: float) -> _Cloud:
    """The cloud of the kept rows; ``least`` is added to its variances, and a share of their mean."""
    chosen = rows[kept]
    middle = chosen.mean(axis=0)
    chosen -= middle
    values, axes = np.linalg.eigh(_moments(chosen))
    return _Cloud(middle, axes, np.sqrt(np.clip(values, 0, None) + RIDGE * values.mean() + least))


def _squared_from_medians(rows: Floats, least: float) -> Floats:
    """Squared distances from the median of every axis, in units of the median square along it."""
    columns = np.ascontiguousarray(rows.T)
    squared = (columns - np.median(columns, axis=1, keepdims=True)) ** 2
    usual = np.median(squared, axis=1)
    return np.asarray((1 / (usual + RIDGE * usual.mean() + least)) @ squared)


def _least_variance(rows: Floats) -> float:
    """What to add to variances so that they can be divided by, though most rows be copies of one another."""
    return float(LEAST_RIDGE * rows.var(axis=0).mean())


def _moments(rows: Floats) -> Floats:
    return np.asarray(rows.T @ rows / max(1, len(rows)))


class Spectre(TwofoldDetector):
    """SPECTRE in every class, without the number of poisons; class evidence is the value that chose its dimension.

    Settings:
        dimensions: numbers of principal axes to try; at most one axis for every ten samples.
        share: of a class, from which the search for its majority starts; what a class may hide is less than the rest.
        alpha: how sharply the directions of largest excess are preferred; 0 is the plain distance.
    """

    needs = ("feature",)
    sees = ("shifted", "tight")
    says = "It lies far out in the directions in which its class varies more than the majority of the class does."

    def __init__(self, *, dimensions: tuple[int, ...] = (8, 16, 32), share: float = 0.75, alpha: float = 4.0) -> None:
        self.dimensions = dimensions
        self.share = share
        self.alpha = alpha

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores, values = np.zeros(len(evidence)), []
        for label, members in by_class(evidence):
            found = self._reading(evidence, label, members)
            scores[members] = found.scores
            values.append(found.value)
        return scores, np.array(values)

    def _reading(self, evidence: Evidence, label: int, members: Rows) -> Reading:
        if _all_copies(evidence.spaces["feature"], members):
            return Reading(np.ones(len(members)), 1.0)
        widest = along_axes(evidence, label, enough(len(members), max(self.dimensions), ROWS_PER_AXIS))
        return reading(widest, self.dimensions, share=self.share, alpha=self.alpha)


def _all_copies(stored: np.ndarray, members: Rows) -> bool:
    """Whether nothing varies; the first sample that differs tells."""
    return all((stored[row] == stored[members[0]]).all() for row in members[1:])
