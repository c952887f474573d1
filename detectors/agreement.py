"""Groups on which two looks agree: set apart by what the network learned, and by what the images are made of.

Every class has groups that its features set apart; styles, views, breeds. They are made of the same stuff as the
rest. A planted group has learned features in common *because* its images share a trigger, so the pixels know it as
well, and they were never asked which features to look at. Neither look has to be surprised by the label: this finds
planted samples whose label is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.clustering import fisher_direction, sharpened, two_means
from detectors.diversity import diversity
from detectors.halves import beyond_chance, evenly_halved
from detectors.lines import cut_line, gap_between
from detectors.whitening import class_residuals, clipped, principal_axes, whitened


@dataclass(frozen=True)
class Look:
    """A direction, and where on it the rest of the class lies, in units of the spread within the groups."""

    direction: Floats
    middle: float
    spread: float

    def __call__(self, rows: Floats) -> Floats:
        """How far out each row lies."""
        return np.asarray((rows @ self.direction - self.middle) / self.spread)


class AgreeingGroups(Detector):
    """Who belongs to the group that its class hides in both spaces.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched, at most one for every ``rows_per_axis`` rows.
        tail: the share of a class that starts as the minority.
    """

    needs = ("feature", "frequency")
    sees = ("shifted", "tight")
    says = "It belongs to a group that both the learned features and the pixels set apart from its class."
    innocent = 7.5

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for rows, learned, made_of, weight in self._weighed(evidence):
            scores[rows] = (learned + made_of) * weight
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([weight for *_, weight in self._weighed(evidence)])

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[np.ndarray, Floats, Floats, float]]:
        """For each class its rows, both looks at them, and how much to make of the two."""
        details = evidence.space("frequency")
        for rows, learned, made_of in self._looked(evidence):
            diverse = diversity(details[rows], cut_line(learned).above)
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
        count = max(1, min(self.axes, len(features) // self.rows_per_axis))
        axes = principal_axes(features, count).T if len(features) > 1 else np.zeros((features.shape[1], 0))
        centre = features.mean(axis=0) if len(features) else 0
        reduced = (features - centre) @ axes
        best, found = 0.0, None
        for along in (*reduced.T, *-reduced.T):
            group = sharpened(reduced, two_means(reduced, along >= np.quantile(along, 1 - self.tail)))
            group = ~group if group.sum() * 2 > len(group) else group
            looks = _looks(features, axes @ fisher_direction(reduced, group), details, group)
            value = agreement(looks[0](features), looks[1](details)) if looks else 0.0
            if value > best:
                best, found = value, looks
        return found


def agreement(learned: Floats, made_of: Floats) -> float:
    """How far apart the group that the features see lies in them, times how far apart the same group is made."""
    group = cut_line(learned)
    return float(group.excess * max(0.0, gap_between(made_of, group.above)))


def _looks(features: Floats, learned: Floats, details: Floats, group: np.ndarray) -> tuple[Look, Look] | None:
    """Both looks at a group; None where there is none."""
    few = min(group.sum(), (~group).sum())
    if few < 2:
        return None
    made_of = details[group].mean(axis=0) - details[~group].mean(axis=0)
    made_of = beyond_chance(made_of, group.sum() ** -0.5 + (~group).sum() ** -0.5)
    looks = []
    for rows, direction in ((features, learned), (details, made_of)):
        along = rows @ direction
        spread = float(np.sqrt((along[group].var() + along[~group].var()) / 2))
        if not spread > 1e-9 * max(1e-9, np.abs(along).max()):
            return None
        looks.append(Look(direction, float(along[~group].mean()), spread))
    return looks[0], looks[1]
