"""One-way confusion: samples of one label that look like every other class, and hardly any the other way round.

Honest confusion goes both ways: as many cats pass for dogs as dogs for cats. A trigger that the network has
not learned, or labels flipped towards one class, send samples of *all* classes to one label and none back.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats

#: Natural confusion leans towards the larger class, so only classes within this factor in size are compared...
COMPARABLE = 2.0
#: ... and a lean counts only if at least so many of them bear witness.
LEAST_WITNESSES = 3
#: No sample surprises by more than a probability as small as this.
LEAST_PROBABILITY = 1e-9


def probabilities(evidence: Evidence) -> Floats:
    """What the network says, (n, C)."""
    return _probabilities(evidence.space("residual"), evidence.labels)


def contradictions(residual: Floats, labels: np.ndarray, confident: float) -> Floats:
    """How many samples of each label are confidently taken for each other class, (C, C)."""
    classes = residual.shape[1]
    probability = _probabilities(residual, labels)
    taken_for = probability.argmax(axis=1)
    wrong = (taken_for != labels) & (probability.max(axis=1) >= confident)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[wrong], taken_for[wrong]), 1)
    return counts


def one_way(counts: Floats, sizes: Floats) -> Floats:
    """For each class, (there - back) in standard errors, summed over all comparable classes but the loudest, (C,).

    One pair of classes may lean for reasons of its own, so the strongest witness is not heard.
    """
    leans = (counts - counts.T) / np.sqrt(counts + counts.T + 1)
    evidence = np.zeros(len(sizes))
    for label, size in enumerate(sizes):
        ratio = sizes / max(size, 1)
        witnesses = (ratio <= COMPARABLE) & (ratio >= 1 / COMPARABLE)
        witnesses[label] = False
        if witnesses.sum() >= LEAST_WITNESSES:
            heard = np.sort(leans[label, witnesses])[:-1]
            evidence[label] = max(0.0, heard.sum() / np.sqrt(len(heard)))
    return evidence


def one_way_evidence(evidence: Evidence, *, confident: float = 0.8) -> Floats:
    """The evidence of ``one_way`` against each class that occurs."""
    residual = evidence.space("residual")
    sizes = np.bincount(evidence.labels, minlength=residual.shape[1]).astype(float)
    return np.asarray(one_way(contradictions(residual, evidence.labels, confident), sizes)[evidence.classes])


def _probabilities(residual: Floats, labels: np.ndarray) -> Floats:
    probability = residual.copy()
    probability[np.arange(len(labels)), labels] += 1
    return probability


class OneWayConfusion(Detector):
    """Planted samples whose trigger was not learned, and labels flipped towards one class.

    Settings:
        confident: only predictions at least this confident bear witness against a class.
    """

    needs = ("residual",)
    sees = ("mislabelled",)
    origin_free = False
    says = "It looks like another class, as too many samples of its label do that no confusion explains."
    innocent = 2.4

    def __init__(self, *, confident: float = 0.8) -> None:
        self.confident = confident

    def _score(self, evidence: Evidence) -> Floats:
        residual = evidence.space("residual")
        own = residual[np.arange(len(evidence)), evidence.labels] + 1
        return np.asarray(-np.log(np.maximum(own, LEAST_PROBABILITY)))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return one_way_evidence(evidence, confident=self.confident)
