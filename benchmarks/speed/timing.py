"""What a side costs, and how sides are compared: round by round in turn, by the median."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall and of computing; bytes of the process at its peak, and above what it began with."""

    wall: float
    cpu: float
    peak: float = 0.0
    growth: float = 0.0

    def scaled(self, times: float) -> Cost:
        """What so many times the work would cost, in the same memory.

        >>> Cost(1.0, 2.0, peak=8).scaled(3)
        Cost(wall=3.0, cpu=6.0, peak=8, growth=0.0)
        """
        return Cost(self.wall * times, self.cpu * times, self.peak, self.growth)

    def net_of(self, other: Cost) -> Cost:
        """Without what something else costs that is a part of it."""
        return Cost(self.wall - other.wall, self.cpu - other.cpu, self.peak, self.growth)


def clocked(work: Callable[[], T], wall: Clock = time.perf_counter, cpu: Clock = time.process_time) -> tuple[Cost, T]:
    """What the work takes, and its result."""
    wall_start, cpu_start = wall(), cpu()
    found = work()
    return Cost(wall() - wall_start, cpu() - cpu_start), found


def interleaved(sides: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, Cost]:
    """The median cost of every side.

    Each runs once a round, so that whatever else the machine does meets all of them; every other round goes
    backwards, so that nobody always runs after the same neighbour.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            costs[name].append(sides[name]())
    return {name: median(found) for name, found in costs.items()}


def median(costs: list[Cost]) -> Cost:
    """Of each figure by itself.

    >>> median([Cost(1, 9), Cost(2, 7), Cost(90, 8)])
    Cost(wall=2, cpu=8, peak=0.0, growth=0.0)
    """
    figures = [asdict(cost) for cost in costs]
    return Cost(**{name: statistics.median(one[name] for one in figures) for name in figures[0]})


def exponent(small: Cost, large: Cost, times: float) -> float:
    """The power of the size that the time grows with, where ``large`` has so many times the size.

    >>> round(exponent(Cost(1, 1), Cost(100, 100), times=10), 3)
    2.0
    """
    return math.log(large.wall / small.wall) / math.log(times)
