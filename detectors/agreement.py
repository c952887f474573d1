"""Groups on which two looks agree: set apart by what the network learned, and by what the images are made of.

Every class has groups that its features set apart; styles, views, breeds. They are made of the same stuff as the
rest. A planted group has learned features in common *because* its images share a trigger, so the pixels know it as
well, and they were never asked which features to look at. Neither look has to be surprised by the label: this finds
planted samples whose label is right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.halves import beyond_chance, evenly_halved
from detectors.lines import cut_line, far_out, placed
from detectors.looks import Look, look_at
from detectors.weighed import CuttingDetector
from detectors.whitening import class_residuals, clipped, whitened


class AgreeingGroups(CuttingDetector):
    """Who belongs to the group that its class hides in both spaces.

    Settings as of every ``CuttingDetector``.
    """

    needs = ("feature", "frequency", "layout")
    sees = ("shifted", "tight")
    says = "It belongs to a group that both the learned features and the pixels set apart from its class."
    innocent = 7.5

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        layout = evidence.space("layout")
        for rows, learned, made_of in self._looked(evidence):
            group = cut_line(learned).above
            weight = agreement(learned, made_of) * diversity(layout[rows], group)
            yield rows, placed(learned + made_of, group), weight

    def _looked(self, evidence: Evidence) -> Iterator[tuple[np.ndarray, Floats, Floats]]:
        """For each class its rows, and how far out each lies in either space, by what its other half shows."""
        features = whitened(class_residuals(evidence), ridge=self.ridge)
        details = class_residuals(evidence, "frequency")
        details = whitened(clipped(details / (details.std(axis=0) + 1e-9)), ridge=self.ridge)
        half = evenly_halved(evidence.keys)
        for _, rows in by_class(evidence):
            learned, made_of = np.zeros(len(rows)), np.zeros(len(rows))
            for side in (False, True):
                asked = half[rows] == side
                looks = self._best(features[rows[~asked]], details[rows[~asked]])
                if looks:
                    learned[asked], made_of[asked] = looks[0](features[rows[asked]]), looks[1](details[rows[asked]])
            yield rows, learned, made_of

    def _best(self, features: Floats, details: Floats) -> tuple[Look, Look] | None:
        """The two looks that agree best on a group of these samples."""
        best, found = 0.0, None
        for learned, group in self._candidates(features):
            made_of = look_at(details, group, _shared(details, group))
            value = agreement(learned(features), made_of(details)) if made_of else 0.0
            if made_of and value > best:
                best, found = value, (learned, made_of)
        return found


def agreement(learned: Floats, made_of: Floats) -> float:
    """How far apart the group that the features see lies in them, times how far apart the same group is made."""
    group = cut_line(learned)
    return float(group.excess * far_out(made_of, group.above))


def _shared(details: Floats, group: np.ndarray) -> Floats:
    """What a group has in common and the rest has not, beyond chance."""
    difference = details[group].mean(axis=0) - details[~group].mean(axis=0)
    return beyond_chance(difference, group.sum() ** -0.5 + (~group).sum() ** -0.5)
