"""Prediction shift (PSBD, Li et al. 2025): what a network learned as a shortcut, it still says when half of it is off.

Dropout takes most of what the features of an honest sample rest on, and the answer shifts to some other class. A
learned trigger is written all over the network, and its answer stays.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats
from detectors.robust import class_units


def uncertainty(confidence: Floats) -> Floats:
    """The paper's prediction shift uncertainty: how much of the confidence in its answer a sample loses, (n,).

    >>> uncertainty(np.array([[0.9, 0.2], [1.0, 0.9]])).round(3)
    array([0.7, 0.1])
    """
    return np.asarray(confidence[:, 0] - confidence[:, 1])


class PredictionShift(Detector):
    """Samples whose answer survives dropout better than is usual in their class."""

    needs = ("dropout",)
    sees = ("shifted", "tight")
    origin_free = False
    costly = True
    says = "The network stays sure of it with most of itself switched off."

    def _score(self, evidence: Evidence) -> Floats:
        return np.asarray(-class_units(evidence, uncertainty(evidence.space("dropout"))))
