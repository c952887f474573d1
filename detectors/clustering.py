"""Activation clustering (Chen et al. 2018): does a class fall apart into two groups?

Two-means is started from the data's own axes, never at random, so neither a seed nor the order of samples
can change the split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.whitening import class_residuals, in_own_axes, principal_axes, whitened

#: The gap between the halves of one Gaussian cloud cut at its mean, 2 * sqrt(2/pi) / sqrt(1 - 2/pi).
CUT_CLOUD = 2.65


@dataclass(frozen=True)
class Split:
    """A class cut in two; ``minority`` is the smaller group, empty where nothing can be cut."""

    minority: NDArray[np.bool_]  # (m,)
    position: Floats  # (m,) distance from the majority's mean towards the minority's, in units of their spread
    gap: float  # distance of the two means in those units


def two_means(rows: Floats, start: NDArray[np.bool_], *, rounds: int = 50) -> NDArray[np.bool_]:
    """Lloyd's algorithm for two groups, from a given start, until nothing moves."""
    return _settled(rows, start, lambda line, _: line, rounds)


def sharpened(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05, rounds: int = 10) -> NDArray[np.bool_]:
    """Redraw the border between two groups with Fisher's discriminant, until nothing moves."""

    def fisher(line: Floats, inner: NDArray[np.bool_]) -> Floats:
        return np.asarray(np.linalg.solve(_within(rows, inner, ridge), line))

    return _settled(rows, group, fisher, rounds)


def fisher_direction(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05) -> Floats:
    """The direction along which two groups lie farthest apart; zero where there are not two."""
    if not 1 < group.sum() < len(group) - 1:
        return np.zeros(rows.shape[1])
    inside, outside = _means(rows, group)
    return np.asarray(np.linalg.solve(_within(rows, group, ridge), inside - outside))


def cut(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05) -> Split:
    """Describe two groups along Fisher's direction between them."""
    nothing = Split(np.zeros(len(rows), bool), np.zeros(len(rows)), 0.0)
    if group.sum() * 2 > len(group):
        group = ~group
    if not 1 < group.sum() < len(group):
        return nothing
    inner, outer = _means(rows, group)
    line = inner - outer
    along = rows @ np.linalg.solve(_within(rows, group, ridge), line)
    inside, outside = along[group], along[~group]
    spread = np.sqrt((inside.var() + outside.var()) / 2)
    if not spread > 1e-9 * np.abs(along).max():  # constant groups: nothing to measure a distance in
        return nothing
    return Split(group, (along - outside.mean()) / spread, float((inside.mean() - outside.mean()) / spread))


def tail_splits(rows: Floats, *, tail: float) -> Iterator[Split]:
    """Cuts of rows given in their own axes, one started from either tail of every axis."""
    centred = rows - rows.mean(axis=0)
    for along in (*centred.T, *-centred.T):
        yield cut(centred, sharpened(centred, two_means(centred, along >= np.quantile(along, 1 - tail))))


def _settled(
    rows: Floats,
    group: NDArray[np.bool_],
    direction: Callable[[Floats, NDArray[np.bool_]], Floats],
    rounds: int,
) -> NDArray[np.bool_]:
    """Split at the midpoint of the group means along ``direction``, again and again."""
    for _ in range(rounds):
        if not 1 < group.sum() < len(group) - 1:
            break
        inside, outside = _means(rows, group)
        moved = (rows - (inside + outside) / 2) @ direction(inside - outside, group) > 0
        if (moved == group).all():
            break
        group = moved
    return group


def _means(rows: Floats, group: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The means of the two groups, by one product instead of two copies of the rows."""
    weights = np.stack([group / group.sum(), ~group / (~group).sum()])
    inside, outside = weights @ rows
    return inside, outside


def _within(rows: Floats, group: NDArray[np.bool_], ridge: float) -> Floats:
    """The covariance around the two group means, with a share of its mean variance added."""
    inside, outside = _means(rows, group)
    centred = rows - np.where(group[:, None], inside, outside)
    covariance = centred.T @ centred / len(rows)
    floor = ridge * np.trace(covariance) / len(covariance) or 1.0  # groups of one point each: any direction will do
    return np.asarray(covariance + floor * np.eye(len(covariance)))


class ActivationClustering(Detector):
    """The paper's clustering: ``components`` principal components per class, then two-means.

    The score is how far a sample lies on the smaller group's side; class evidence is the gap.
    """

    needs = ("feature",)
    sees = ("shifted",)
    says = "It belongs to the smaller of the two groups that its class falls into."

    def __init__(self, *, components: int = 10) -> None:
        self.components = components

    def _splits(self, evidence: Evidence) -> list[Split]:
        features = evidence.space("feature")
        splits = []
        for _, members in by_class(evidence):
            centred = features[members] - features[members].mean(axis=0)
            reduced = centred @ principal_axes(centred, self.components).T
            splits.append(cut(reduced, two_means(reduced, reduced[:, 0] > 0)))
        return splits

    def _score(self, evidence: Evidence) -> Floats:
        return _positions(evidence, self._splits(evidence))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([split.gap for split in self._splits(evidence)])


class WhitenedTwoMeans(Detector):
    """Two-means in the space whitened by the pooled within-class covariance, started from its tails.

    A planted group is separated by a gap; natural sub-populations shade into one another.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched; at most one for every ``rows_per_axis`` rows,
            because in many dimensions any small class can be cut in two with a wide gap.
        tail: the share of a class that starts as the minority.
    """

    needs = ("feature",)
    sees = ("shifted", "tight")
    says = "It belongs to a group that is separated from its class by a gap."

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _splits(self, evidence: Evidence) -> list[Split]:
        rows = whitened(class_residuals(evidence), ridge=self.ridge)
        splits = []
        for _, members in by_class(evidence):
            reduced = in_own_axes(rows[members], self.axes, self.rows_per_axis)
            splits.append(max(tail_splits(reduced, tail=self.tail), key=lambda split: split.gap))
        return splits

    def _score(self, evidence: Evidence) -> Floats:
        return _positions(evidence, self._splits(evidence))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([split.gap for split in self._splits(evidence)])


def _positions(evidence: Evidence, splits: list[Split]) -> Floats:
    """Positions weighed by how much wider than a cut cloud's the gap is: where nothing splits, nothing shows."""
    scores = np.zeros(len(evidence))
    for (_, members), split in zip(by_class(evidence), splits, strict=True):
        scores[members] = split.position * max(0.0, split.gap - CUT_CLOUD)
    return scores
