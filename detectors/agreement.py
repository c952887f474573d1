"""Groups on which two looks agree: set apart by what the network learned, and by what the images are made of.

Every class has groups that its features set apart; styles, views, breeds. They are made of the same stuff as the
rest. A planted group has learned features in common *because* its images share a trigger, so the pixels know it as
well, and they were never asked which features to look at. Neither look has to be surprised by the label: this finds
planted samples whose label is right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.diversity import diversity
from detectors.halves import beyond_chance, evenly_halved
from detectors.lines import cut_line, far_out, placed
from detectors.looks import Look, candidate_looks, look_at
from detectors.whitening import class_residuals, clipped, whitened


class AgreeingGroups(Detector):
    """Who belongs to the group that its class hides in both spaces.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched, at most one for every ``rows_per_axis`` rows.
        tail: the share of a class that starts as the minority.
    """

    needs = ("feature", "frequency", "layout")
    sees = ("shifted", "tight")
    says = "It belongs to a group that both the learned features and the pixels set apart from its class."
    innocent = 7.5
    centred = True

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for rows, learned, made_of, weight in self._weighed(evidence):
            scores[rows] = placed(learned + made_of, cut_line(learned).above) * weight
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([weight for *_, weight in self._weighed(evidence)])

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[np.ndarray, Floats, Floats, float]]:
        """For each class its rows, both looks at them, and how much to make of the two."""
        layout = evidence.space("layout")
        for rows, learned, made_of in self._looked(evidence):
            diverse = diversity(layout[rows], cut_line(learned).above)
            yield rows, learned, made_of, agreement(learned, made_of) * diverse

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
        for learned, group in candidate_looks(
            features, axes=self.axes, rows_per_axis=self.rows_per_axis, tail=self.tail
        ):
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
