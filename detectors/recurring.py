"""Recurring patterns: the same pattern, found again and again in images of one label that otherwise differ.

Natural images of a class resemble each other more or less; a planted pattern is there or it is not. So what counts
is whether a pattern splits its class in two groups with nothing in between, and whether those who show it are as
diverse as their class in everything else: frames of one film also share a pattern, but they share all the rest, too.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.diversity import diversity
from detectors.lines import cut_line


class RecurringPattern(Detector):
    """Who shows the pattern that sets a group apart from its class; needs no trained network.

    Settings:
        enough: patterns with at least this part of the strongest one's evidence count as well: an attack may plant
            several.
    """

    needs = ("frequency", "recurrence")
    sees = ("shifted", "tight")
    origin_free = False
    says = "It shows a pattern that recurs in its class, in images that have nothing else in common."
    innocent = 3.0

    def __init__(self, *, enough: float = 0.3) -> None:
        self.enough = enough

    def _score(self, evidence: Evidence) -> Floats:
        shown = evidence.space("recurrence")
        scores = np.zeros(len(evidence))
        for rows, weights in self._weighed(evidence):
            strong = weights >= self.enough * weights.max()
            scores[rows] = shown[np.ix_(rows, np.flatnonzero(strong))].max(axis=1) * weights.max()
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([weights.max() for _, weights in self._weighed(evidence)])

    def _weighed(self, evidence: Evidence) -> list[tuple[np.ndarray, Floats]]:
        """For each class its rows, and the evidence of each of its patterns."""
        shown, made_of = evidence.space("recurrence"), evidence.space("frequency")
        weighed = []
        for _, rows in by_class(evidence):
            cuts = [cut_line(pattern) for pattern in shown[rows].T]
            weighed.append((rows, np.array([cut.excess * diversity(made_of[rows], cut.above) for cut in cuts])))
        return weighed
