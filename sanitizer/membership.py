"""Who of a class stands out, and how surprising that is: by rank, by the normal law, and by the other classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sanitizer.conformal import benjamini_hochberg

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Below this a p-value is no number any more.
TINY = 1e-300


def rank_p(scores: Floats) -> Floats:
    """The share of a class that scores at least as high.

    >>> rank_p(np.array([3.0, 1.0, 2.0, 2.0]))
    array([0.25, 1.  , 0.75, 0.75])
    """
    ascending = np.sort(scores)
    return np.asarray((len(scores) - np.searchsorted(ascending, scores, side="left")) / len(scores))


def deviations(scores: Floats) -> Floats:
    """Scores of a class in standard deviations, if its lower half is clean and normal (median, lower-half spread)."""
    centre = np.median(scores)
    below = centre - scores[scores <= centre]
    spread = 1.4826 * np.median(below)
    if not spread > 1e-9 * np.abs(scores).max():
        return np.asarray(stats.norm.isf(rank_p(scores)))
    return np.asarray((scores - centre) / spread)


def tail_share(scores: Floats, innocent: Floats) -> Floats:
    """The share of the samples of all unsuspected classes that score at least as high.

    A second null that can only object: where they never score so high, the class's own null decides.

    >>> tail_share(np.array([0.5, 2.5, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    array([1. , 0.5, 0. ])
    """
    above = len(innocent) - np.searchsorted(np.sort(innocent), scores, side="left")
    return np.asarray(above / max(1, len(innocent)))


def group_members(
    scores: Floats, innocent: Floats, *, level: float, reach: float, centre: float | None = None
) -> tuple[Bools, Floats, Floats]:
    """Who of a suspect class belongs to its planted group; log p-values; and distances from the class.

    Members are significant, for the class and against all others, and lie with the group rather than on the way to
    it: natural scores have longer tails than the normal law. ``centre`` is the score of the middle of the group,
    where that is known.
    """
    z = deviations(scores)
    log_p = np.maximum(stats.norm.logsf(z), np.log(np.maximum(tail_share(scores, innocent), TINY)))
    significant = benjamini_hochberg(np.exp(log_p), level)
    if centre is not None:
        significant &= scores >= reach * centre
    elif significant.any():
        significant &= z >= reach * np.median(z[significant])
    return significant, log_p, z


def scattered_members(scores: Floats, innocent: Floats, *, level: float) -> tuple[Bools, Floats, Floats]:
    """The same for planted samples that have in common only that they contradict their label.

    Honest samples do so too, as often as in the classes that hide nothing.
    """
    share = np.maximum(tail_share(scores, innocent), 1 / (1 + len(innocent)))
    return benjamini_hochberg(share, level), np.log(share), scores - np.median(scores)
