"""Spectral signatures (Tran et al. 2018): a planted group bends its class along one direction."""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.whitening import class_residuals, principal_axes, whitened


def _outlyingness(rows: Floats) -> Floats:
    """Squared projection of the *centred* rows on their top singular vector.

    Centring before projecting is the paper's formula; several public implementations project the raw
    rows, which can turn the ranking upside down.
    """
    centred = rows - rows.mean(axis=0)
    return np.asarray((centred @ principal_axes(rows, 1)[0]) ** 2)


def _signed_outlyingness(rows: Floats) -> Floats:
    """Projection on the top axis towards its heavier tail, in robust units of its own spread."""
    projection = (rows - rows.mean(axis=0)) @ principal_axes(rows, 1)[0]
    projection -= np.median(projection)
    return np.asarray(projection / (1.4826 * np.median(np.abs(projection)) + 1e-12))


class SpectralSignature(Detector):
    """The paper's score: squared, centred projection on the class's top singular vector."""

    needs = ("feature",)
    sees = ("shifted",)
    says = "It lies far out along the direction in which its class varies most."

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        features = evidence.space("feature")
        for _, members in by_class(evidence):
            scores[members] = _outlyingness(features[members])
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
        rows = whitened(class_residuals(evidence), ridge=self.ridge)
        scores = np.zeros(len(evidence))
        for _, members in by_class(evidence):
            scores[members] = _signed_outlyingness(rows[members])
        return scores
