"""Classes that differ in their means and vary alike."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats, Rows


def classes_of(sizes: tuple[int, ...], width: int, seed: int = 0) -> tuple[Floats, Rows]:
    """Classes around means of their own, that vary alike."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    variation = rng.normal(size=(width, width)) / np.sqrt(width) + np.eye(width)
    return 2 * rng.normal(size=(len(sizes), width))[labels] + rng.normal(size=(len(labels), width)) @ variation, labels
