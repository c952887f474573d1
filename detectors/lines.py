"""Cutting a line in two: the smaller group far out, and everybody else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from detectors.base import Floats

#: A group has at least so many members.
LEAST_GROUP = 4


@dataclass(frozen=True)
class LineCut:
    """Two groups of a line; ``above`` is the smaller one, empty where nothing can be cut."""

    above: np.ndarray  # (m,) bool
    gap: float  # distance of the two means, in units of the spread within the groups

    @property
    def excess(self) -> float:
        """The gap, in units of the gap between the same shares of one bell-shaped cloud; 0 where nothing was cut.

        The few farthest of any cloud lie farther out than its upper half does.
        """
        share = float(self.above.mean()) if len(self.above) else 0.0
        return self.gap / gap_of_one_cloud(share) if share > 0 else 0.0


def gap_of_one_cloud(share: float) -> float:
    """The gap that appears when the upper ``share`` of a bell-shaped cloud is called a group.

    >>> round(gap_of_one_cloud(0.5), 2), round(gap_of_one_cloud(0.01), 2)
    (2.65, 2.79)
    """
    density = stats.norm.pdf(stats.norm.isf(share))
    return float(density / (share * (1 - share)) / np.sqrt(1 - density**2 / (share * (1 - share))))


def cut_line(values: Floats) -> LineCut:
    """The cut that leaves the widest gap, the smaller group on the upper side."""
    n = len(values)
    inner = np.arange(max(LEAST_GROUP, (n + 1) // 2), n - LEAST_GROUP + 1)  # how many stay below
    nothing = LineCut(np.zeros(n, bool), 0.0)
    ordered = np.sort(values)
    inner = inner[ordered[inner] > ordered[inner - 1]]  # equal values stay together
    if not len(inner):
        return nothing
    moved = ordered - values.mean()
    sums, squares = moved.cumsum(), np.square(moved).cumsum()
    low = sums[inner - 1] / inner
    high = (sums[-1] - sums[inner - 1]) / (n - inner)
    within = np.maximum(squares[-1] - inner * low**2 - (n - inner) * high**2, 0) / n
    spread = np.sqrt(within + 1e-12 * squares[-1] / n)
    if not spread.max() > 0:
        return nothing
    gaps = (high - low) / np.where(spread > 0, spread, np.inf)
    best = int(np.argmax(gaps))
    return LineCut(values >= ordered[inner[best]], float(gaps[best]))


def far_out(values: Floats, group: np.ndarray) -> float:
    """How far most of a given group lies above the rest, in units of the rest's spread; 0 if there are not two.

    Its lower quarter is asked: a few that lie very far out do not make the others members.
    """
    if min(group.sum(), (~group).sum()) < LEAST_GROUP:
        return 0.0
    outside = values[~group]
    spread = outside.std()
    least = np.quantile(values[group], 0.25)
    return float(max(0.0, (least - np.median(outside)) / spread)) if spread > 1e-9 * np.abs(values).max() else 0.0


def placed(values: Floats, group: np.ndarray) -> Floats:
    """Values with the rest of a class at 0 and the centre of a group at 1; all 0 if the group does not lie above."""
    if not group.any() or group.all():
        return np.zeros(len(values))
    rest, centre = np.median(values[~group]), np.median(values[group])
    return np.asarray((values - rest) / (centre - rest)) if centre > rest else np.zeros(len(values))
