"""What a score would find at every threshold, kept at so few of them that results stay small.

A point of a curve is two counts: how many clean and how many poisoned samples score at least that high. Counts are
exact, and false positive rate, recall and precision all follow from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Shares of the clean samples at which the recall can be read exactly: four in each power of ten.
RATES = tuple(10 ** (step / 4) for step in range(-16, 1))
#: Recalls at which the precision can be read exactly.
RECALLS = tuple(step / 16 for step in range(1, 17))
_ROUNDING = 1e-9

Curve = Mapping[str, list[int]]


def thinned(scores: ArrayLike, is_poison: ArrayLike) -> dict[str, list[int]] | None:
    """The thresholds that ``RATES`` and ``RECALLS`` are read at, and both ends; None without poison or clean samples.

    >>> thinned([3, 2, 1], [True, False, True])
    {'clean': [0, 0, 1], 'poison': [0, 1, 2]}
    """
    clean, poison = _counts(np.asarray(scores, np.float64), np.asarray(is_poison, bool))
    if not clean[-1] or not poison[-1]:
        return None
    kept = {0, len(clean) - 1}
    kept |= {_last_within(clean, rate) for rate in RATES}
    kept |= {_first_with(poison, recall) for recall in RECALLS}
    points = sorted(kept)
    return {"clean": clean[points].tolist(), "poison": poison[points].tolist()}


def recall_at(curve: Curve, rate: float) -> float:
    """The recall of the lowest kept threshold that lets at most this share of the clean samples pass.

    >>> recall_at({"clean": [0, 0, 1], "poison": [0, 1, 2]}, 0.01)
    0.5
    """
    return curve["poison"][_last_within(np.array(curve["clean"]), rate)] / curve["poison"][-1]


def precision_at(curve: Curve, recall: float) -> float:
    """The share of poison in what passes the highest kept threshold that finds this much of it.

    >>> precision_at({"clean": [0, 0, 1], "poison": [0, 1, 2]}, 1.0)
    0.6666666666666666
    """
    point = _first_with(np.array(curve["poison"]), recall)
    return curve["poison"][point] / (curve["poison"][point] + curve["clean"][point])


def _counts(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every threshold, from one that nobody passes to one that all do; samples that tie pass together."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    poison = np.append(0, np.cumsum(truth[order])[last_of_ties])
    return np.append(0, last_of_ties + 1) - poison, poison


def _last_within(clean: NDArray[np.int64], rate: float) -> int:
    return int(np.searchsorted(clean, math.floor(rate * int(clean[-1]) + _ROUNDING), side="right")) - 1


def _first_with(poison: NDArray[np.int64], recall: float) -> int:
    return int(np.searchsorted(poison, math.ceil(recall * int(poison[-1]) - _ROUNDING), side="left"))
