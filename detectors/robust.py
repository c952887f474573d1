"""Robust units: how far a value lies from the middle of its class, in units of the class's own spread.

Medians, because means and standard deviations follow the planted samples that they are to expose.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Evidence, Floats, by_class

#: The standard deviation of a normal distribution in units of its median absolute deviation.
NORMAL = 1.4826


def class_units(evidence: Evidence, values: Floats) -> Floats:
    """Values (n,) or (n, k), each column as its deviation from the class's median.

    >>> evidence = Evidence(np.zeros(5, int), ["a"], np.arange(5, dtype=np.uint64))
    >>> class_units(evidence, np.array([1.0, 2, 3, 4, 100])).round(1)
    array([-1.3, -0.7,  0. ,  0.7, 65.4])
    """
    units = np.zeros_like(values)
    for _, members in by_class(evidence):
        centred = values[members] - np.median(values[members], axis=0)
        units[members] = centred / (NORMAL * np.median(np.abs(centred), axis=0) + _negligible(values))
    return units


def _negligible(values: Floats) -> Floats:
    """What rounding alone could make of values that are all the same: a class that does not vary has units too."""
    return np.asarray(1e-6 * np.abs(values).max(axis=0, initial=0) + np.finfo(float).tiny)
