"""A hidden population: a group that its class's features set apart *and* that training did not expect there.

Either sign alone is common in clean data. Near-duplicates and rare styles stand apart, hard examples
surprise. Planted groups do both: the trigger sets them apart, and until it was learned they were taken
for what they show. Copies of one image that do both are frames of a film, so a group counts by its diversity too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.clustering import CUT_CLOUD
from detectors.diversity import diversity
from detectors.dynamics import surprise
from detectors.halves import evenly_parted
from detectors.looks import Look, looks_along
from detectors.residuals import Whitened, class_moments, residuals, whitened
from detectors.rests import rests
from detectors.weighed import CuttingDetector

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
        features = whitened(evidence, "feature", by=residuals, ridge=self.ridge)
        for label, rows in by_class(evidence):
            losses = evidence.part("loss", rows)
            alone = len(rows) < FEW
            position = self._alone(features, rows, losses) if alone else self._asked(evidence, features, label, losses)
            weight = suspicion(position, 0.5, losses) * (WEIGHED_ON_ITSELF if alone else 1)
            yield rows, position, weight * diversity(evidence.part("layout", rows), position > 0.5)

    def _asked(self, evidence: Evidence, features: Whitened, label: int, losses: Floats) -> Floats:
        """Where the samples of each part of a class lie by what the rest of it shows."""
        rows = evidence.rows(label)
        position = np.zeros(len(rows))
        part = evenly_parted(evidence.keys[rows], 2 if len(rows) >= MANY else 5)
        of_class = partial(class_moments, evidence, label, "feature", residuals)
        for rest in rests(features, rows, part, of_class, axes=self.axes, rows_per_axis=self.rows_per_axis):
            shown = rest.shown
            look = _most_suspicious(looks_along(shown, tail=self.tail), shown, losses[~rest.asked])
            if look:
                position[rest.asked] = look(rest.along[rest.asked]) / (2 * look.border)
        return position

    def _alone(self, features: Whitened, rows: Rows, losses: Floats) -> Floats:
        """Where the samples of a small class lie by what all of them show."""
        seen = features.residuals.of(rows) @ features.matrix
        look = _most_suspicious(self._candidates(seen), seen, losses)
        return look(seen) / (2 * look.border) if look else np.zeros(len(rows))


def _most_suspicious(looks: Iterable[tuple[Look, np.ndarray]], rows: Floats, losses: Floats) -> Look | None:
    """The look whose group stands farthest apart, and surprised most."""
    best, found = 0.0, None
    for look, _ in looks:
        value = suspicion(look(rows), look.border, losses)
        if value > best:
            best, found = value, look
    return found
