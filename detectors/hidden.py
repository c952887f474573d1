"""A hidden population: a group that its class's features set apart *and* that training did not expect there.

Either sign alone is common in clean data. Near-duplicates and rare styles stand apart, hard examples
surprise. Planted groups do both: the trigger sets them apart, and until it was learned they were taken
for what they show.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Detector, Evidence, Floats, Rows, by_class
from detectors.clustering import CUT_CLOUD
from detectors.dynamics import surprise
from detectors.halves import evenly_parted
from detectors.looks import Look, candidate_looks
from detectors.whitening import class_residuals, whitened

#: Classes of so many are halved; of smaller ones four fifths are needed to find anything, and of a few, all.
MANY, FEW = 1000, 100
#: What a cut is worth that was weighed where it was chosen: chance fits as well.
WEIGHED_ON_ITSELF = 0.35


def suspicion(along: Floats, border: float, losses: Floats) -> float:
    """How far apart two groups of a line lie, times how much the upper one surprised.

    Distance is Bhattacharyya's for two normal groups, gap^2 / 8 nats, beyond that of one cloud cut in two.
    """
    group = along > border
    if not 1 < group.sum() < len(group) - 1:
        return 0.0
    inside, outside = along[group], along[~group]
    variance = (inside.var() + outside.var()) / 2
    gap = (inside.mean() - outside.mean()) ** 2 / variance if variance > 0 else 0.0
    return float(max(0.0, gap - CUT_CLOUD**2) / 8 * surprise(losses, group))


class HiddenPopulation(Detector):
    """Class-level evidence first: which class hides a second population, then which samples belong to it.

    A cut is chosen in a part of a class and weighed in the rest, where nothing was chosen.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched; at most one for every ``rows_per_axis`` rows,
            because in many dimensions any small class can be cut in two with a wide gap.
        tail: the share of a class that starts as the minority.
    """

    needs = ("feature", "loss")
    sees = ("shifted", "tight")
    says = "It belongs to a group that stands apart from its class and was first taken for something else."
    innocent = 1.2
    centred = True

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for rows, position, weight in self._weighed(evidence):
            scores[rows] = position * weight
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([weight for *_, weight in self._weighed(evidence)])

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        """For each class its rows, where they lie by what others show, and how suspicious that is."""
        features = whitened(class_residuals(evidence), ridge=self.ridge)
        losses = evidence.space("loss")
        for _, rows in by_class(evidence):
            alone = len(rows) < FEW
            part = evenly_parted(evidence.keys[rows], 1 if alone else 2 if len(rows) >= MANY else 5)
            position = np.zeros(len(rows))
            for asked in (part == number for number in np.unique(part)):
                shown = rows if alone else rows[~asked]
                look = self._best(features[shown], losses[shown])
                if look:
                    position[asked] = look(features[rows[asked]]) / (2 * look.border)
            yield rows, position, suspicion(position, 0.5, losses[rows]) * (WEIGHED_ON_ITSELF if alone else 1)

    def _best(self, features: Floats, losses: Floats) -> Look | None:
        """The most suspicious look at these samples."""
        best, found = 0.0, None
        for look, _ in candidate_looks(features, axes=self.axes, rows_per_axis=self.rows_per_axis, tail=self.tail):
            value = suspicion(look(features), look.border, losses)
            if value > best:
                best, found = value, look
        return found
