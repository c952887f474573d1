"""How well scores and flags tell poison from clean samples: pure functions of arrays and the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

#: Of an interval over seeds.
LEVEL = 0.95


@dataclass(frozen=True)
class Confusion:
    """What was flagged, by what it truly is: a cover sample is neither poison nor clean, so it is counted apart."""

    poison: int
    clean: int
    cover: int
    poison_flagged: int
    clean_flagged: int
    cover_flagged: int

    @property
    def recall(self) -> float | None:
        """The share of the poison that was flagged; None where there is no poison."""
        return self.poison_flagged / self.poison if self.poison else None

    @property
    def false_positive_rate(self) -> float | None:
        """The share of the clean samples that were flagged; None where there are none."""
        return self.clean_flagged / self.clean if self.clean else None


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and where the true one lies at ``LEVEL``; one seed says nothing of that."""

    mean: float
    low: float | None
    high: float | None
    runs: int


def auroc(scores: ArrayLike, is_poison: ArrayLike) -> float | None:
    """The chance that a poisoned sample scores higher than a clean one, ties counted half; None without either.

    >>> auroc([1, 2, 3, 4], [False, False, True, True]), auroc([1, 1], [False, True])
    (1.0, 0.5)
    """
    poison, clean = _apart(scores, is_poison)
    if not len(poison) or not len(clean):
        return None
    below = np.searchsorted(clean, poison, side="left") + np.searchsorted(clean, poison, side="right")
    return float(below.mean() / (2 * len(clean)))


def recall_at(scores: ArrayLike, is_poison: ArrayLike, false_positive_rate: float) -> float | None:
    """The share of poison above the lowest threshold that lets at most this share of the clean samples pass.

    The threshold is an oracle's: it is set on the clean samples, which nobody knows. Poison that ties with a
    clean sample which may not pass does not pass either, so that a constant score finds nothing.

    >>> recall_at([0, 0, 1, 1, 2], [False, False, False, True, True], 0.0)
    0.5
    """
    poison, clean = _apart(scores, is_poison)
    if not len(poison) or not len(clean):
        return None
    passing = math.floor(false_positive_rate * len(clean) + 1e-9)
    threshold = clean[-1 - passing] if passing < len(clean) else -np.inf
    return float((poison > threshold).mean())


def confusion(flagged: ArrayLike, kinds: ArrayLike) -> Confusion:
    """Flags against the truth, whose kinds are clean, poison and cover.

    >>> found = confusion([True, True, False], ["poison", "cover", "clean"])
    >>> found.recall, found.false_positive_rate, found.cover_flagged
    (1.0, 0.0, 1)
    """
    flags, truth = np.asarray(flagged, bool), np.asarray(kinds)
    counts = {kind: truth == kind for kind in ("poison", "clean", "cover")}
    return Confusion(
        **{kind: int(rows.sum()) for kind, rows in counts.items()},
        **{f"{kind}_flagged": int(flags[rows].sum()) for kind, rows in counts.items()},
    )


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean and Student-t interval; values that are paired by seed are subtracted before.

    >>> over_seeds([0.5])
    Interval(mean=0.5, low=None, high=None, runs=1)
    """
    if not values:
        raise ValueError("expected at least one value, got none")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean, None, None, 1)
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half, len(values))


def _apart(scores: ArrayLike, is_poison: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores of poison and those of clean samples, ascending."""
    values, truth = np.asarray(scores, np.float64), np.asarray(is_poison, bool)
    return np.sort(values[truth]), np.sort(values[~truth])
