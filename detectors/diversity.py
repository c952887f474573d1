"""How diverse a group is: copies of one image, or frames of one film, form tight groups that nobody planted."""

from __future__ import annotations

import numpy as np

from detectors.base import Floats

#: A group that varies by this part of what its class varies by is as diverse as it needs to be.
ENOUGH = 0.5


def diversity(made_of: Floats, group: np.ndarray) -> float:
    """How much a group varies in what its images are made of, compared with the rest: 0 for copies, at most 1.

    Copies agree in everything, so those details count in which the group varies most.
    """
    if group.sum() < 2:
        return 0.0
    inside, outside = made_of[group].var(axis=0), made_of[~group].var(axis=0)
    varied = outside > 0
    return float(min(1.0, np.quantile(inside[varied] / outside[varied], 0.9) / ENOUGH)) if varied.any() else 1.0
