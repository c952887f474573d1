"""Spectral signatures (Tran et al. 2018): a planted group bends its class along one direction."""

from __future__ import annotations

import numpy as np

from detectors.axes import along_leading_axes
from detectors.base import Detector, Evidence, Floats, by_class
from detectors.whitening import along_whitened_axes


def _in_robust_units(along: Floats) -> Floats:
    """Positions on a line from their median, in units of their own spread."""
    along = along - np.median(along)
    return np.asarray(along / (1.4826 * np.median(np.abs(along)) + 1e-12))


class SpectralSignature(Detector):
    """The paper's score: squared, *centred* projection on the class's top singular vector.

    Several public implementations project the raw rows, which can turn the ranking upside down.
    """

    needs = ("feature",)
    sees = ("shifted",)
    says = "It lies far out along the direction in which its class varies most."

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for label, members in by_class(evidence):
            scores[members] = along_leading_axes(evidence, "feature", label, 1)[:, 0] ** 2
        return scores


class WhitenedSpectral(Detector):
    """The same idea in units of the covariance pooled within classes, signed towards the heavier tail.

    Settings:
        ridge: share of the mean eigenvalue that is added before whitening.
    """

    needs = ("feature",)
    sees = ("shifted", "tight")
    says = "It lies far out along the direction that sets its class apart from how other classes vary."

    def __init__(self, *, ridge: float = 0.01) -> None:
        self.ridge = ridge

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for label, members in by_class(evidence):
            along = along_whitened_axes(evidence, label, 1, ridge=self.ridge)[:, 0]
            scores[members] = _in_robust_units(along)
        return scores
