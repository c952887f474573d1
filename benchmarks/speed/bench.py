"""What trials measure with: generated inputs, made once, and sides compared on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.sides import Ran, Side, run
from benchmarks.speed.timing import Cost, interleaved
from benchmarks.speed.worker import Answer


@dataclass(frozen=True)
class Measured:
    """A ratio, the two costs that it is made of, and what else the runs showed."""

    ratio: float
    ours: Cost
    peer: Cost
    checks: Mapping[str, float | str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """What every side cost and found."""

    cost: Mapping[str, Cost]
    answer: Mapping[str, Answer]
    versions: Mapping[str, str]

    def faster(self, ours: str, peer: str, **checks: float | str) -> Measured:
        """How many times as long the peer takes."""
        mine, theirs = self.cost[ours], self.cost[peer]
        return Measured(theirs.wall / mine.wall, mine, theirs, checks, self.versions)

    def share(self, ours: str, peer: str, **checks: float | str) -> Measured:
        """How long ours takes, in units of what the peer takes."""
        mine, theirs = self.cost[ours], self.cost[peer]
        return Measured(mine.wall / theirs.wall, mine, theirs, checks, self.versions)


@dataclass(frozen=True)
class Bench:
    """How often, how large, where, and with whose interpreter."""

    folder: Path
    rounds: int = 5
    scale: float = 1.0
    peers: str = sys.executable

    def size(self, full: int, least: int = 200) -> int:
        """So many samples, or fewer for a smoke test.

        >>> Bench(Path(), scale=0.02).size(50_000)
        1000
        """
        return min(full, max(least, round(full * self.scale)))

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder of inputs that trials share; a maker that breaks leaves none that looks finished."""
        folder, whole = self.folder / name, self.folder / f"{name}.whole"
        if not whole.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            whole.touch()
        return folder

    def compare(self, sides: Mapping[str, tuple[Path, Side]]) -> Compared:
        """Run the sides in turn, each on its inputs."""
        last: dict[str, Ran] = {}

        def once(name: str) -> Cost:
            folder, side = sides[name]
            last[name] = run(side, folder)
            return last[name].cost

        costs = interleaved({name: partial(once, name) for name in sides}, self.rounds)
        versions = {package: number for ran in last.values() for package, number in ran.versions.items()}
        return Compared(costs, {name: ran.answer for name, ran in last.items()}, versions)

    def peer(self, workload: str, *, times: float = 1, **settings: Any) -> Side:
        """Somebody else's way to do it, under the interpreter that has it."""
        return Side(f"benchmarks.speed.peers:{workload}", settings, self.peers, times)


def ours(workload: str, *, times: float = 1, **settings: Any) -> Side:
    """Our way to do it, or a peer's that our own requirements bring along."""
    module, _, name = workload.partition(":")
    return Side(f"benchmarks.speed.{module}:{name}", settings, times=times)
