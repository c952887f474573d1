"""Activation clustering (Chen et al. 2018): does a class fall apart into two groups?

Two-means is started from the data's own axes, never at random, so neither a seed nor the order of samples
can change the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.axes import along_leading_axes
from detectors.base import Evidence, Floats, TwofoldDetector, by_class
from detectors.tails import fisher_directions, sharpened_groups, tail_groups, two_means_groups
from detectors.whitening import along_whitened_axes, enough

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
    (group,) = two_means_groups(rows - rows.mean(axis=0), start[None], rounds=rounds)
    return np.asarray(group)


def sharpened(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05, rounds: int = 10) -> NDArray[np.bool_]:
    """Redraw the border between two groups with Fisher's discriminant, until nothing moves."""
    (border,) = sharpened_groups(rows - rows.mean(axis=0), group[None], ridge=ridge, rounds=rounds)
    return np.asarray(border)


def fisher_direction(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05) -> Floats:
    """The direction along which two groups lie farthest apart; zero where there are not two."""
    (direction,) = fisher_directions(rows - rows.mean(axis=0), group[None], ridge=ridge)
    return np.asarray(direction)


def cut(rows: Floats, group: NDArray[np.bool_], *, ridge: float = 0.05) -> Split:
    """Describe two groups along Fisher's direction between them."""
    if group.sum() * 2 > len(group):
        group = ~group
    centred = rows - rows.mean(axis=0)
    return _cut_along(centred @ fisher_direction(rows, group, ridge=ridge), group)


def tail_splits(rows: Floats, *, tail: float) -> Iterator[Split]:
    """Cuts of rows given in their own axes, started from either tail of every axis; each of them once."""
    centred = rows - rows.mean(axis=0)
    groups = tail_groups(centred, tail=tail)
    for along, group in zip(fisher_directions(centred, groups) @ centred.T, groups, strict=True):
        yield _cut_along(along, group)


def _cut_along(along: Floats, group: NDArray[np.bool_]) -> Split:
    """Describe a smaller group and the rest by where they lie on a line."""
    nothing = Split(np.zeros(len(along), bool), np.zeros(len(along)), 0.0)
    if not 1 < group.sum() < len(group):
        return nothing
    inside, outside = along[group], along[~group]
    spread = np.sqrt((inside.var() + outside.var()) / 2)
    if not spread > 1e-9 * np.abs(along).max():  # constant groups: nothing to measure a distance in
        return nothing
    return Split(group, (along - outside.mean()) / spread, float((inside.mean() - outside.mean()) / spread))


class ActivationClustering(TwofoldDetector):
    """The paper's clustering: ``components`` principal components per class, then two-means.

    The score is how far a sample lies on the smaller group's side; class evidence is the gap.
    """

    needs = ("feature",)
    sees = ("shifted",)
    says = "It belongs to the smaller of the two groups that its class falls into."

    def __init__(self, *, components: int = 10) -> None:
        self.components = components

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        splits = []
        for label in evidence.classes:
            reduced = along_leading_axes(evidence, "feature", int(label), self.components)
            splits.append(cut(reduced, two_means(reduced, reduced[:, 0] > 0)))
        return _positions(evidence, splits), _gaps(splits)


class WhitenedTwoMeans(TwofoldDetector):
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

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        splits = []
        for label, members in by_class(evidence):
            count = enough(len(members), self.axes, self.rows_per_axis)
            reduced = along_whitened_axes(evidence, label, count, ridge=self.ridge)
            splits.append(max(tail_splits(reduced, tail=self.tail), key=lambda split: split.gap))
        return _positions(evidence, splits), _gaps(splits)


def _positions(evidence: Evidence, splits: list[Split]) -> Floats:
    """Positions weighed by how much wider than a cut cloud's the gap is: where nothing splits, nothing shows."""
    scores = np.zeros(len(evidence))
    for (_, members), split in zip(by_class(evidence), splits, strict=True):
        scores[members] = split.position * max(0.0, split.gap - CUT_CLOUD)
    return scores


def _gaps(splits: list[Split]) -> Floats:
    return np.array([split.gap for split in splits])
