"""Even contradictions: labels that are wrong at random are contradicted in every direction alike.

A network contradicts labels of clean sets as well, but where classes resemble each other: cats for dogs by the dozen,
ships for frogs hardly ever. Labels that were changed at random turn up in every pair of classes. So a doubt counts for
more the rarer its pair is, in units of the rarer pairs, and doubts count at all only where hardly a pair is rare.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Detector, Evidence, Family, Floats, Rows
from detectors.confusion import LEAST_PROBABILITY, Answers, answered
from detectors.dynamics import log_odds

#: Fewer classes may all resemble each other: then honest confusion is even as well.
ENOUGH_CLASSES = 8


class EvenContradictions(Detector):
    """The odds that another label fits better, as the network saw it late in training and when it had ended.

    Settings:
        late: the share of the training whose losses are heard, from its end.
        confident: log odds against a label from which on a sample counts as a contradiction of its pair.
        rare: the share of pairs that are called rare.
    """

    needs = ("residual", "loss")
    sees: ClassVar[tuple[Family, ...]] = ("mislabelled",)
    label_odds = True
    says = "The network contradicts its label, in a set whose labels it contradicts in every direction alike."
    innocent = 0.45

    def __init__(self, *, late: float = 0.5, confident: float = 2.3, rare: float = 0.25) -> None:
        self.late = late
        self.confident = confident
        self.rare = rare

    def _score(self, evidence: Evidence) -> Floats:
        odds, instead = contradiction(evidence.derived(answered))
        losses = evidence.space("loss")
        first = min(losses.shape[1] - 1, round(losses.shape[1] * (1 - self.late)))
        doubts = (odds - log_odds(losses[:, first:].mean(axis=1))) / 2
        pairs = self._pairs(odds, instead, evidence.labels)
        usual = max(1.0, float(np.quantile(_between(pairs), self.rare))) if len(pairs) > 1 else 1.0
        return np.asarray(doubts - np.log(np.maximum(1.0, pairs[evidence.labels, instead] / usual)))

    def _class_scores(self, evidence: Evidence) -> Floats:
        """How common rare pairs are, in units of the average pair: 1 where all are alike; of the whole set."""
        between = _between(self._pairs(*contradiction(evidence.derived(answered)), evidence.labels))
        enough = len(evidence.classes) >= ENOUGH_CLASSES and between.any()
        even = float(np.quantile(between, self.rare) / between.mean()) if enough else 0.0
        return np.full(len(evidence.classes), even)

    def _pairs(self, odds: Floats, instead: Rows, labels: Rows) -> Floats:
        """How many samples of each label are contradicted in favour of each other one, (C, C)."""
        classes = int(max(labels.max(), instead.max())) + 1
        doubted = odds >= self.confident
        pairs = np.zeros((classes, classes))
        np.add.at(pairs, (labels[doubted], instead[doubted]), 1)
        return pairs


def contradiction(said: Answers) -> tuple[Floats, Rows]:
    """The log odds of the best other label against each sample's own, and which label that is.

    >>> from detectors.confusion import answers
    >>> odds, instead = contradiction(answers(np.array([[-0.9, 0.8, 0.1], [-0.5, 0.25, 0.25]]), np.array([0, 0])))
    >>> odds.round(2).tolist(), instead.tolist()
    ([2.08, -0.69], [1, 1])
    """
    odds = np.log(np.maximum(said.best, LEAST_PROBABILITY) / np.maximum(said.own, LEAST_PROBABILITY))
    return np.asarray(odds), said.instead


def _between(pairs: Floats) -> Floats:
    """What lies off the diagonal."""
    return np.asarray(pairs[~np.eye(len(pairs), dtype=bool)])
