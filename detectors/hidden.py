"""A hidden population: a group that its class's features set apart *and* that training did not expect there.

Either sign alone is common in clean data. Near-duplicates and rare styles stand apart, hard examples
surprise. Planted groups do both: the trigger sets them apart, and until it was learned they were taken
for what they show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from detectors.base import Detector, Evidence, Floats, Rows, by_class
from detectors.clustering import CUT_CLOUD, Split, tail_splits
from detectors.dynamics import surprise
from detectors.whitening import class_residuals, in_own_axes, whitened


@dataclass(frozen=True)
class Suspicion:
    """The most suspicious way to cut one class in two."""

    split: Split
    evidence: float


def most_suspicious(splits: Iterable[Split], losses: Floats) -> Suspicion:
    """The cut with the largest evidence: how far apart its groups are, times how much the smaller one surprised.

    Distance is Bhattacharyya's for two normal groups, gap^2 / 8 nats, beyond that of one cloud cut in two.
    """
    weighed = [
        Suspicion(split, max(0.0, split.gap**2 - CUT_CLOUD**2) / 8 * surprise(losses, split.minority))
        for split in splits
    ]
    return max(weighed, key=lambda suspicion: suspicion.evidence)


class HiddenPopulation(Detector):
    """Class-level evidence first: which class hides a second population, then which samples belong to it.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched; at most one for every ``rows_per_axis`` rows,
            because in many dimensions any small class can be cut in two with a wide gap.
        tail: the share of a class that starts as the minority.
    """

    needs = ("feature", "loss")
    sees = ("shifted", "tight")
    says = "It belongs to a group that stands apart from its class and was first taken for something else."
    innocent = 3.4

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _suspicions(self, evidence: Evidence) -> list[tuple[Rows, Suspicion]]:
        rows = whitened(class_residuals(evidence), ridge=self.ridge)
        losses = evidence.space("loss")
        found = []
        for _, members in by_class(evidence):
            reduced = in_own_axes(rows[members], self.axes, self.rows_per_axis)
            found.append((members, most_suspicious(tail_splits(reduced, tail=self.tail), losses[members])))
        return found

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for members, suspicion in self._suspicions(evidence):
            scores[members] = suspicion.split.position * suspicion.evidence
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([suspicion.evidence for _, suspicion in self._suspicions(evidence)])
