"""Greedy facility location: always pick whoever adds most to the sum of similarities; ties go to the first.

What a candidate adds only shrinks as others are picked. So what it once would have added is an upper bound, and few
candidates have to be looked at for a pick (Minoux 1978).
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from detectors.base import Floats, Rows
from detectors.gains import Gains

#: Who adds less than this to the sum of similarities is a copy of a medoid.
LEAST_GAIN = 1e-9
#: Times the root of the candidates: so many are on a short list. More cost a pick more, fewer make more lists.
_SHORT = 8


def greedy(gains: Gains, count: int) -> Rows:
    """At most ``count`` candidates in the order picked, by gains that are kept up to date.

    Picks come from a short list of those with the largest gains, until none of them has as much as whoever is not on
    it could have.
    """
    short, bar = _short_list(gains.left)
    picked: list[int] = []
    while len(picked) < count and len(short):
        left = gains.left[short]
        first = left.argmax()
        if left[first] < bar:
            short, bar = _short_list(gains.left)
            continue
        picked.append(int(short[first]))
        gains.take(picked[-1])
    return np.array(picked, dtype=np.int64)


def _short_list(left: Floats) -> tuple[Rows, float]:
    """Those with the largest gains, in order of position, and the bar that all others are below."""
    length = min(_SHORT * math.isqrt(len(left)), len(left))
    bar = np.partition(left, -length)[-length] if length else LEAST_GAIN
    bar = max(float(bar), LEAST_GAIN)
    return np.flatnonzero(left >= bar), bar


def lazy_greedy(values: Floats, count: int) -> Rows:
    """The same by a matrix of all similarities, (m, m): a bound is renewed when it is the largest."""
    best = np.zeros(len(values))

    def gain(position: int) -> float:
        return float(np.maximum(values[position] - best, 0).sum())

    queue = [(-gain(position), position) for position in range(len(values))]
    heapq.heapify(queue)
    picked: list[int] = []
    while queue and len(picked) < count:
        _, position = heapq.heappop(queue)
        renewed = (-gain(position), position)
        if queue and renewed > queue[0]:
            heapq.heappush(queue, renewed)
            continue
        if -renewed[0] < LEAST_GAIN:
            break
        picked.append(position)
        np.maximum(best, values[position], out=best)
    return np.array(picked, dtype=np.int64)
