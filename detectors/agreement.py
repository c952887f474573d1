"""Groups on which two looks agree: set apart by what the network learned, and by what the images are made of.

Every class has groups that its features set apart; styles, views, breeds. They are made of the same stuff as the
rest. A planted group has learned features in common *because* its images share a trigger, so the pixels know it as
well, and they were never asked which features to look at. Neither look has to be surprised by the label: this finds
planted samples whose label is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.halves import beyond_chance, evenly_halved
from detectors.lines import cut_line, far_out, placed
from detectors.looks import Look, look_along, looks_along
from detectors.residuals import Whitened, class_moments, residuals, usual_residuals, whitened
from detectors.rests import rests
from detectors.weighed import CuttingDetector


class AgreeingGroups(CuttingDetector):
    """Who belongs to the group that its class hides in both spaces.

    Settings as of every ``CuttingDetector``.
    """

    needs = ("feature", "frequency", "layout")
    sees = ("shifted", "tight")
    says = "It belongs to a group that both the learned features and the pixels set apart from its class."
    innocent = 7.5

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        for rows, learned, made_of in self._looked(evidence):
            group = cut_line(learned).above
            weight = agreement(learned, made_of) * diversity(evidence.part("layout", rows), group)
            yield rows, placed(learned + made_of, group), weight

    def _looked(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, Floats]]:
        """For each class its rows, and how far out each lies in either space, by what its other half shows."""
        features = whitened(evidence, "feature", by=residuals, ridge=self.ridge)
        details = whitened(evidence, "frequency", by=usual_residuals, ridge=self.ridge)
        half = evenly_halved(evidence.keys)
        for label, rows in by_class(evidence):
            learned, made_of = np.zeros(len(rows)), np.zeros(len(rows))
            of_class = partial(class_moments, evidence, label, "feature", residuals)
            for rest in rests(features, rows, half[rows], of_class, axes=self.axes, rows_per_axis=self.rows_per_axis):
                looks = self._best(rest.shown, details, rows[~rest.asked])
                if looks:
                    learned[rest.asked] = looks[0](rest.along[rest.asked])
                    seen = details.residuals.times(rows[rest.asked], looks[1].direction[:, None])
                    made_of[rest.asked] = looks[1].along(seen[:, 0])
            yield rows, learned, made_of

    def _best(self, features: Floats, details: Whitened, rows: Rows) -> tuple[Look, Look] | None:
        """The two looks that agree best on a group of these samples: at features along their axes, and at details."""
        cuts = list(looks_along(features, tail=self.tail))
        if not cuts:
            return None
        directions = _shared(details, rows, np.stack([group for _, group in cuts]))
        lines = details.residuals.times(rows, directions.T).T
        best, found = 0.0, None
        for (learned, group), direction, line in zip(cuts, directions, lines, strict=True):
            made_of = look_along(line, group, direction)
            value = agreement(learned(features), made_of.along(line)) if made_of else 0.0
            if made_of and value > best:
                best, found = value, (learned, made_of)
        return found


def agreement(learned: Floats, made_of: Floats) -> float:
    """How far apart the group that the features see lies in them, times how far apart the same group is made."""
    group = cut_line(learned)
    return float(group.excess * far_out(made_of, group.above))


def _shared(details: Whitened, rows: Rows, groups: np.ndarray) -> Floats:
    """The direction of what each group (g, m) of these rows has in common and the rest has not, beyond chance."""
    sizes = groups.sum(axis=1)[:, None], (~groups).sum(axis=1)[:, None]
    *sums, total = details.residuals.sums(rows, np.concatenate([groups, np.ones((1, len(rows)), dtype=bool)]))
    apart = (np.array(sums) / sizes[0] - (total - sums) / sizes[1]) @ details.matrix
    return np.asarray(beyond_chance(apart, sizes[0] ** -0.5 + sizes[1] ** -0.5) @ details.matrix)
