"""Deep k-NN (Peri 2019): what the neighbours of a sample are called, in the eyes of a network trained elsewhere.

A network trained on the suspect labels bends its features to them; a frozen one does not.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Detector, Evidence, Family, Floats, MissingEvidence, Rows


def votes(indices: Rows, labels: Rows, classes: int) -> Floats:
    """How many neighbours of each sample carry each label, (n, C); padding votes for nobody.

    >>> votes(np.array([[1, 2], [0, -1], [0, 1]]), np.array([0, 1, 1]), 2)
    array([[0., 2.],
           [1., 0.],
           [1., 1.]])
    """
    counts = np.zeros((len(indices), classes))
    for column in indices.T:
        real = np.flatnonzero(column >= 0)
        counts[real, labels[column[real]]] += 1
    return counts


def log_odds(counts: Floats, labels: Rows) -> Floats:
    """How much more the neighbours speak for the best other label than for the sample's own (Laplace's rule)."""
    rows = np.arange(len(labels))
    own = counts[rows, labels]
    others = counts.copy()
    others[rows, labels] = 0
    return np.asarray(np.log((others.max(axis=1, initial=0) + 1) / (own + 1)))


class DeepKNN(Detector):
    """Samples whose neighbours in a reference space agree on another label.

    The scores are log odds, so that a label can be called wrong at odds that somebody else decides on.

    Settings:
        k: neighbours that vote; more than twice the copies that an attacker puts side by side outvote them.
    """

    neighbors: ClassVar[tuple[str, ...]] = ("reference",)
    sees: ClassVar[tuple[Family, ...]] = ("mislabelled",)
    label_odds = True
    says = "Its neighbours, in the eyes of a network that was not trained on these labels, carry another label."

    def __init__(self, *, k: int = 32) -> None:
        self.k = k

    def _score(self, evidence: Evidence) -> Floats:
        indices = evidence.neighbors["reference"].indices
        if indices.shape[1] < self.k:
            raise MissingEvidence(f"{self!r} needs {self.k} neighbours; 'reference' has {indices.shape[1]}")
        classes = int(evidence.labels.max(initial=0)) + 1
        return log_odds(votes(indices[:, : self.k], evidence.labels, classes), evidence.labels)
