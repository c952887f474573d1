"""A hidden population: a group that its class's features set apart *and* that training did not expect there.

Either sign alone is common in clean data. Near-duplicates and rare styles stand apart, hard examples
surprise. Planted groups do both: the trigger sets them apart, and until it was learned they were taken
for what they show. Copies of one image that do both are frames of a film, so a group counts by its diversity too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.clustering import CUT_CLOUD
from detectors.diversity import diversity
from detectors.dynamics import surprise
from detectors.halves import evenly_parted
from detectors.looks import Look
from detectors.weighed import CuttingDetector
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


class HiddenPopulation(CuttingDetector):
    """Class-level evidence first: which class hides a second population, then which samples belong to it.

    A cut is chosen in a part of a class and weighed in the rest, where nothing was chosen.

    Settings as of every ``CuttingDetector``.
    """

    needs = ("feature", "loss", "layout")
    sees = ("shifted", "tight")
    says = "It belongs to a group that stands apart from its class and was first taken for something else."
    innocent = 1.2

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        """For each class its rows, where they lie by what others show, and how suspicious that is."""
        features = whitened(class_residuals(evidence), ridge=self.ridge)
        losses, layout = evidence.space("loss"), evidence.space("layout")
        for _, rows in by_class(evidence):
            alone = len(rows) < FEW
            part = evenly_parted(evidence.keys[rows], 1 if alone else 2 if len(rows) >= MANY else 5)
            position = np.zeros(len(rows))
            for asked in (part == number for number in np.unique(part)):
                shown = rows if alone else rows[~asked]
                look = self._best(features[shown], losses[shown])
                if look:
                    position[asked] = look(features[rows[asked]]) / (2 * look.border)
            weight = suspicion(position, 0.5, losses[rows]) * (WEIGHED_ON_ITSELF if alone else 1)
            yield rows, position, weight * diversity(layout[rows], position > 0.5)

    def _best(self, features: Floats, losses: Floats) -> Look | None:
        """The most suspicious look at these samples."""
        best, found = 0.0, None
        for look, _ in self._candidates(features):
            value = suspicion(look(features), look.border, losses)
            if value > best:
                best, found = value, look
        return found
