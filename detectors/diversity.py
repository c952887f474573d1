"""How diverse a group is: copies of one image, or frames of one film, form tight groups that nobody planted."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats

#: A group that varies by this part of what its class varies by is as diverse as it needs to be.
ENOUGH = 0.5


def diversity(layout: Floats, group: np.ndarray) -> float:
    """How much a group varies in what its images show, compared with the rest: 0 for copies, at most 1."""
    if group.sum() < 2:
        return 0.0
    inside, outside = layout[group].var(axis=0), layout[~group].var(axis=0)
    varied = outside > 0
    return float(min(1.0, np.median(inside[varied] / outside[varied]) / ENOUGH)) if varied.any() else 1.0
