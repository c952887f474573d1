"""Isolation forest (Liu et al. 2008): how few random cuts it takes to set a sample apart from its class."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import IsolationForest as Forest

from detectors.base import Detector, Evidence, Floats, by_class

#: The score of a sample that nothing sets apart.
USUAL = 0.5


def isolation(rows: Floats, *, trees: int, seed: int) -> Floats:
    """The paper's score of each row, in (0, 1): 1 is set apart at once, and half is usual.

    scikit-learn returns it with its sign turned, low for anomalies; a public detector passes that on as it is.
    """
    if len(rows) < 3 or (np.ptp(rows, axis=0) == 0).all():
        return np.full(len(rows), USUAL)
    centred = rows - rows.mean(axis=0)
    in_units = centred / np.sqrt((centred**2).mean())  # trees compare in float32, and cut nothing finer than 1e-7
    forest = Forest(n_estimators=trees, random_state=seed).fit(in_units)
    return np.asarray(-forest.score_samples(in_units))


class IsolationForest(Detector):
    """The forest of one class at a time; which samples a tree is grown from follows from their content.

    Settings:
        trees: of each class's forest.
        seed: of the forest.
    """

    needs = ("feature",)
    uses_labels = False
    sees = ("dispersed", "mislabelled")
    says = "Few random cuts of the feature space set it apart from its class."

    def __init__(self, *, trees: int = 100, seed: int = 0) -> None:
        self.trees = trees
        self.seed = seed

    def _score(self, evidence: Evidence) -> Floats:
        features = evidence.space("feature")
        scores = np.zeros(len(evidence))
        for _, members in by_class(evidence):
            sorted_members = members[np.argsort(evidence.keys[members], kind="stable")]
            scores[sorted_members] = isolation(features[sorted_members], trees=self.trees, seed=self.seed)
        return scores
