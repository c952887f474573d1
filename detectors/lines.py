"""Cutting a line in two: the smaller group far out, and everybody else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Floats

#: How far apart the two halves of one bell-shaped or flat cloud may lie: such a gap says nothing.
ONE_CLOUD = 4.0
#: A group has at least so many members.
LEAST_GROUP = 4


@dataclass(frozen=True)
class LineCut:
    """Two groups of a line; ``above`` is the smaller one, empty where nothing can be cut."""

    above: np.ndarray  # (m,) bool
    gap: float  # distance of the two means, in units of the spread within the groups

    @property
    def evidence(self) -> float:
        """How much of the line's spread is due to there being two groups, beyond what one cloud cut in two shows.

        A group of a few strays may lie far out, one half of a cloud has many members: this asks for both.
        """
        share = float(self.above.mean()) if len(self.above) else 0.0
        return max(0.0, self.gap**2 - ONE_CLOUD**2) * share * (1 - share)


def cut_line(values: Floats) -> LineCut:
    """The cut that leaves the widest gap, the smaller group on the upper side."""
    n = len(values)
    inner = np.arange(max(LEAST_GROUP, (n + 1) // 2), n - LEAST_GROUP + 1)  # how many stay below
    nothing = LineCut(np.zeros(n, bool), 0.0)
    if not len(inner):
        return nothing
    ordered = np.sort(values) - values.mean()
    sums, squares = ordered.cumsum(), np.square(ordered).cumsum()
    low = sums[inner - 1] / inner
    high = (sums[-1] - sums[inner - 1]) / (n - inner)
    within = np.maximum(squares[-1] - inner * low**2 - (n - inner) * high**2, 0) / n
    spread = np.sqrt(within + 1e-12 * squares[-1] / n)
    if not spread.max() > 0:
        return nothing
    best = int(np.argmax((high - low) / np.where(spread > 0, spread, np.inf)))
    gap = float((high[best] - low[best]) / spread[best])
    return LineCut(values >= np.sort(values)[inner[best]], gap)
