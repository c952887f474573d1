"""Superposition (STRIP, Gao et al. 2019): a trigger speaks through whatever image is laid over it.

Half of one image and half of another leave a network in doubt, unless one of them carries what decides alone.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats
from detectors.robust import class_units


class Superposition(Detector):
    """Samples whose blends with others leave the network less in doubt than is usual in their class."""

    needs = ("superposition",)
    sees = ("shifted", "tight")
    origin_free = False
    costly = True
    says = "The network stays sure of it with other images laid over it."

    def _score(self, evidence: Evidence) -> Floats:
        return np.asarray(-class_units(evidence, evidence.space("superposition")[:, 0]))
