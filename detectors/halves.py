"""Learning in one half of the samples and asking in the other: what fits by chance does not fit twice."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats


def evenly_halved(keys: np.ndarray) -> np.ndarray:
    """One of two halves for every sample, drawn by content, (n,) bool."""
    return np.asarray(evenly_parted(keys, 2) == 1)


def evenly_parted(keys: np.ndarray, parts: int) -> np.ndarray:
    """The number of one of so many parts for every sample, drawn by content, (n,)."""
    return np.asarray(np.argsort(np.argsort(keys, kind="stable"), kind="stable") % parts)


def beyond_chance(difference: Floats, error: float) -> Floats:
    """Differences drawn towards zero by their standard error."""
    return np.asarray(np.sign(difference) * np.maximum(np.abs(difference) - error, 0))
