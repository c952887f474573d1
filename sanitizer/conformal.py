"""Conformal calibration: p-values by comparison with trusted samples, and what they can promise.

If trusted and clean suspect samples were drawn alike and treated alike, the rank of a clean suspect among the
trusted is uniform: its p-value is valid in finite samples, whatever the score (Bates et al. 2023, 2104.08279;
a score fitted on both together, unmarked, keeps that: Marandon et al. 2024, 2208.06685). The p-values depend on
each other positively, so that Benjamini-Hochberg controls the false discovery rate; on clean data that is the
chance of any flag at all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def conformal_p(scores: Floats, trusted: Floats) -> Floats:
    """The share of the trusted that score at least as high, the sample itself counted among them.

    >>> conformal_p(np.array([9.0, 2.0, 0.0]), np.array([1.0, 2.0, 3.0]))
    array([0.25, 0.75, 1.  ])
    """
    above = len(trusted) - np.searchsorted(np.sort(trusted), scores, side="left")
    return np.asarray((1 + above) / (1 + len(trusted)))


def benjamini_hochberg(p: Floats, level: float) -> Bools:
    """Which hypotheses fall at a false discovery rate.

    >>> benjamini_hochberg(np.array([0.001, 0.5, 0.02, 0.9]), 0.05)
    array([ True, False,  True, False])
    """
    ascending = np.sort(p)
    passed = np.flatnonzero(ascending <= level * np.arange(1, len(p) + 1) / max(1, len(p)))
    return np.asarray(p <= ascending[passed[-1]]) if len(passed) else np.zeros(len(p), bool)


def smallest_visible(trusted: int, suspects: int, level: float) -> int:
    """How many planted samples it takes before any can be flagged: no p-value is below 1 / (trusted + 1).

    More than there are suspects, where so few trusted samples can reveal nothing.

    >>> smallest_visible(999, 10_000, 0.1)
    100
    """
    smallest_p, suspects = 1 / (1 + trusted), max(1, suspects)
    about = math.ceil(suspects * smallest_p / level)
    near = np.arange(max(1, about - 1), about + 2)  # rounding decides here as it does in Benjamini-Hochberg
    return int(near[smallest_p <= level * near / suspects][0])
