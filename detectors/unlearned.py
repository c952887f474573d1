"""Unlearned labels: where training came to believe nearly every label, those that it never believed stand apart.

A network that is too small to learn samples by heart learns what most labels of a kind have in common. In a set that
it can learn, the few labels that it still contradicts late in training are another group than the hard ones: between
them there is a gap. In a set that it cannot learn hard and wrong labels are one cloud, and this says nothing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Detector, Evidence, Family, Floats
from detectors.dynamics import beyond_class, log_odds
from detectors.lines import LineCut, cut_line

#: A sample was contradicted if its label was given less than even odds.
EVEN = np.log(2)


class UnlearnedLabels(Detector):
    """The odds that a sample belongs to those whose label was never believed.

    Settings:
        late: the share of the training whose losses are heard, from its end.
    """

    needs = ("loss",)
    sees: ClassVar[tuple[Family, ...]] = ("mislabelled",)
    label_odds = True
    says = "To the end of training the network contradicted its label, when it had come to believe those around it."
    innocent = 1.5

    def __init__(self, *, late: float = 0.5) -> None:
        self.late = late

    def _score(self, evidence: Evidence) -> Floats:
        line = beyond_class(-log_odds(self._loss(evidence)), evidence)
        return odds_of(line, cut_line(line))

    def _class_scores(self, evidence: Evidence) -> Floats:
        """How far apart the two groups of the whole set lie, as far as most of the upper one were contradicted."""
        loss = self._loss(evidence)
        cut = cut_line(beyond_class(-log_odds(loss), evidence))
        contradicted = float((loss[cut.above] > EVEN).mean()) if cut.above.any() else 0.0
        return np.full(len(evidence.classes), cut.excess * max(0.0, 2 * contradicted - 1))

    def _loss(self, evidence: Evidence) -> Floats:
        losses = evidence.space("loss")
        first = min(losses.shape[1] - 1, round(losses.shape[1] * (1 - self.late)))
        return np.asarray(losses[:, first:].mean(axis=1), dtype=np.float64)


def odds_of(line: Floats, cut: LineCut) -> Floats:
    """The log odds that each value belongs to the upper of two bell-shaped groups of one width.

    >>> line = np.r_[np.linspace(-1, 1, 90), np.linspace(7, 9, 10)]
    >>> odds_of(line, cut_line(line))[[0, -1]].round(0)
    array([-117.,  113.])
    """
    if not cut.above.any():
        return np.asarray(line - line.max(initial=0))
    inside, outside = line[cut.above], line[~cut.above]
    variance = (inside.var() * len(inside) + outside.var() * len(outside)) / len(line)
    apart, middle = inside.mean() - outside.mean(), (inside.mean() + outside.mean()) / 2
    prior = np.log(len(inside) / len(outside))
    return np.asarray(prior + apart * (line - middle) / variance)
