"""One-way confusion: samples of one label that look like every other class, and hardly any the other way round.

Honest confusion goes both ways: as many cats pass for dogs as dogs for cats. A trigger that the network has
not learned, or labels flipped towards one class, send samples of *all* classes to one label and none back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, Rows

#: Natural confusion leans towards the larger class, so only classes within this factor in size are compared...
COMPARABLE = 2.0
#: ... and a lean counts only if at least so many of them bear witness.
LEAST_WITNESSES = 3
#: Of the median of normal variables, beside their mean.
EFFICIENCY = 2 / np.pi
#: No sample surprises by more than a probability as small as this.
LEAST_PROBABILITY = 1e-9
#: Rows that are in double precision at a time.
BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of each sample: how probable its label is, and which other class is most probable."""

    own: Floats  # (n,)
    best: Floats  # (n,) of the others; -1 where there are none
    instead: Rows  # (n,)
    labels: Rows

    @property
    def taken_for(self) -> Rows:
        """The most probable class; the first of those that are alike."""
        other = (self.best > self.own) | ((self.best == self.own) & (self.instead < self.labels))
        return np.where(other, self.instead, self.labels)

    def misfits(self, confident: float) -> NDArray[np.bool_]:
        """Which samples are confidently taken for another class."""
        return np.asarray((self.taken_for != self.labels) & (self.best >= confident))


def answers(residual: np.ndarray, labels: Rows) -> Answers:
    """From softmax - onehot, a few rows at a time: in double precision all of it is large where classes are many."""
    own, best, instead = np.empty(len(labels)), np.empty(len(labels)), np.empty(len(labels), dtype=np.int64)
    for start in range(0, len(labels), BLOCK):
        here = slice(start, start + BLOCK)
        others = residual[here].astype(np.float64)
        rows, of_label = np.arange(len(others)), labels[here]
        own[here] = others[rows, of_label] + 1
        others[rows, of_label] = -1
        instead[here] = others.argmax(axis=1)
        best[here] = others.max(axis=1)
    return Answers(own, best, instead, labels)


def answered(evidence: Evidence) -> Answers:
    """The answers that are known of samples."""
    return answers(evidence.spaces["residual"], evidence.labels)


def contradictions(said: Answers, classes: int, confident: float) -> Floats:
    """How many samples of each label are confidently taken for each other class, (C, C)."""
    wrong = said.misfits(confident)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (said.labels[wrong], said.taken_for[wrong]), 1)
    return counts


def one_way(counts: Floats, sizes: Floats) -> Floats:
    """For each class, (there - back) in standard errors: the median over all comparable classes, in its own, (C,).

    Some pairs of classes lean for reasons of their own: dogs pass for cats more often than cats for dogs. Who plants
    takes from all of them, so the middle witness is believed, however loud the others are.

    >>> counts = np.zeros((5, 5))
    >>> counts[0, 1:], counts[1, 2] = 9, 99
    >>> one_way(counts, np.full(5, 500.0)).round(1)
    array([4.5, 0. , 0. , 0. , 0. ])
    """
    leans = (counts - counts.T) / np.sqrt(counts + counts.T + 1)
    evidence = np.zeros(len(sizes))
    for label, size in enumerate(sizes):
        ratio = sizes / max(size, 1)
        witnesses = (ratio <= COMPARABLE) & (ratio >= 1 / COMPARABLE)
        witnesses[label] = False
        if witnesses.sum() >= LEAST_WITNESSES:
            heard = leans[label, witnesses]
            evidence[label] = max(0.0, float(np.median(heard)) * np.sqrt(len(heard) * EFFICIENCY))
    return evidence


def one_way_evidence(evidence: Evidence, *, confident: float = 0.8) -> Floats:
    """The evidence of ``one_way`` against each class that occurs."""
    classes = evidence.spaces["residual"].shape[1]
    sizes = np.bincount(evidence.labels, minlength=classes).astype(float)
    counts = contradictions(evidence.derived(answered), classes, confident)
    return np.asarray(one_way(counts, sizes)[evidence.classes])


class OneWayConfusion(Detector):
    """Planted samples whose trigger was not learned, and labels flipped towards one class.

    Settings:
        confident: only predictions at least this confident bear witness against a class.
    """

    needs = ("residual",)
    sees = ("mislabelled",)
    origin_free = False
    says = "It looks like another class, as too many samples of its label do that no confusion explains."
    innocent = 2.8

    def __init__(self, *, confident: float = 0.8) -> None:
        self.confident = confident

    def _score(self, evidence: Evidence) -> Floats:
        return np.asarray(-np.log(np.maximum(evidence.derived(answered).own, LEAST_PROBABILITY)))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return one_way_evidence(evidence, confident=self.confident)
