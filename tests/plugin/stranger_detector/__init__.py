"""How far a sample lies from the middle of its class, the middle being the median of each feature."""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class


class MedianDistance(Detector):
    """Distance to the class median, in units of what is usual in the class."""

    needs = ("feature",)
    sees = ("dispersed",)
    says = "It lies far from the middle of its class."

    def _score(self, evidence: Evidence) -> Floats:
        features, scores = evidence.space("feature"), np.zeros(len(evidence))
        for _, members in by_class(evidence):
            rows = features[members]
            distances = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
            scores[members] = distances / max(np.median(distances), np.finfo(float).tiny)
        return scores
