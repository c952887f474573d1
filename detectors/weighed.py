"""Detectors that place the samples of each class on a line, and weigh how much the line says against the class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from detectors.base import Detector, Evidence, Floats, Rows
from detectors.looks import Look, candidate_looks


class WeighingDetector(Detector):
    """Scores are positions times weights, class scores the weights: both come out of one look at each class."""

    centred = True

    @abstractmethod
    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        """For each class its rows, their positions (0: the rest, 1: the centre of the group), and the weight."""

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores, weights = np.zeros(len(evidence)), []
        for rows, position, weight in self._weighed(evidence):
            scores[rows] = position * weight
            weights.append(weight)
        return scores, np.array(weights)

    def _score(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[0]

    def _class_scores(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[1]


class CuttingDetector(WeighingDetector):
    """Those that look for a cut through the whitened features of a class.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
        axes: how many leading axes of a class are searched; at most one for every ``rows_per_axis`` rows,
            because in many dimensions any small class can be cut in two with a wide gap.
        tail: the share of a class that starts as the minority.
    """

    def __init__(self, *, ridge: float = 0.01, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        self.ridge = ridge
        self.axes = axes
        self.rows_per_axis = rows_per_axis
        self.tail = tail

    def _candidates(self, features: Floats) -> Iterator[tuple[Look, np.ndarray]]:
        """Ways to cut these samples in two."""
        return candidate_looks(features, axes=self.axes, rows_per_axis=self.rows_per_axis, tail=self.tail)
