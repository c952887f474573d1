"""Recurring patterns: the same pattern, found again and again in images of one label that otherwise differ.

Natural images of a class resemble each other more or less; a planted pattern is there or it is not. So what counts
is whether a pattern splits its class in two groups with nothing in between, and whether those who show it are as
diverse as their class in everything else: frames of one film also share a pattern, but they share all the rest, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Detector, Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.lines import cut_line, placed


class RecurringPattern(Detector):
    """Who shows the pattern that sets a group apart from its class; needs no trained network.

    Settings:
        enough: patterns with at least this part of the strongest one's evidence count as well: an attack may plant
            several.
    """

    needs = ("layout", "recurrence")
    sees = ("shifted", "tight")
    origin_free = False
    says = "It shows a pattern that recurs in its class, in images that have nothing else in common."
    innocent = 3.0
    centred = True

    def __init__(self, *, enough: float = 0.3) -> None:
        self.enough = enough

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for rows, positions, weights in self._weighed(evidence):
            strong = weights >= self.enough * weights.max()
            scores[rows] = (positions[:, strong] * weights[strong]).max(axis=1)
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([weights.max() for *_, weights in self._weighed(evidence)])

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, Floats]]:
        """For each class its rows, how clearly each of its patterns shows in them, and the evidence of each pattern."""
        shown, layout = evidence.space("recurrence"), evidence.space("layout")
        for _, rows in by_class(evidence):
            cuts = [cut_line(pattern) for pattern in shown[rows].T]
            positions = [placed(shown[rows, number], cut.above) for number, cut in enumerate(cuts)]
            weights = [cut.excess * diversity(layout[rows], cut.above) for cut in cuts]
            yield rows, np.stack(positions, axis=1), np.array(weights)
