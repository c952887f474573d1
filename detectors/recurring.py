"""Recurring patterns: the same pattern, found again and again in images of one label that otherwise differ.

Natural images of a class resemble each other more or less; a planted pattern is there or it is not. So what counts
is whether a pattern splits its class in two groups with nothing in between, and whether those who show it are as
diverse as their class in everything else: frames of one film also share a pattern, but they share all the rest, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.lines import cut_line, placed
from detectors.weighed import WeighingDetector


class RecurringPattern(WeighingDetector):
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

    def __init__(self, *, enough: float = 0.3) -> None:
        self.enough = enough

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        for _, rows in by_class(evidence):
            shown, layout = evidence.part("recurrence", rows), evidence.part("layout", rows)
            cuts = [cut_line(pattern) for pattern in shown.T]
            positions = np.stack([placed(line, cut.above) for line, cut in zip(shown.T, cuts, strict=True)], axis=1)
            weights = np.array([cut.excess * diversity(layout, cut.above) for cut in cuts])
            strongest = weights.max()
            if not strongest > 0:
                yield rows, np.zeros(len(rows)), 0.0
                continue
            counting = weights >= self.enough * strongest
            yield rows, (positions * weights / strongest)[:, counting].max(axis=1), float(strongest)
