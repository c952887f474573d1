"""Which cells the matrix of sets and attacks has: every one with every seed, the cheapest set first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sanitizer.evaluation.cells import CONTROL, Cell

#: The sets, by what a scan of one takes.
SETS = ("gtsrb12", "clothing10_128px", "tinyimagenet20a", "cifar10")
SEEDS = (0, 1, 2)
#: Rates of a backdoor under wrong labels: the usual one, and one that is hard to see.
RATES = (0.01, 0.003)
#: What is not as the attack's default has it: covers in proportion to so little poison as in the papers, and waves
#: that a small network learns at all (the paper's magnitude of 30 it does not).
COVERS = {"wanet": 2, "dynamic": 1, "bpp": 1, "tact": 1}
SETTINGS: dict[str, dict[str, Any]] = {"frequency": {"magnitude": 100}, "label_consistent": {"eps": 16}}
#: Attack and its rates; the cheap ones to carry out first, and the control before all.
ATTACKS: dict[str, tuple[float, ...]] = {
    CONTROL: (0.0,),
    **dict.fromkeys(("badnets", "blended", "trojan", "wanet", "bpp", "frequency", "tact"), RATES),
    **dict.fromkeys(("adaptive_blend", "adaptive_patch", "adaptive_kway"), (0.003,)),
    "sig": (0.02,),
    "flip": (0.05,),
    "dynamic": RATES,
    "label_consistent": (0.02,),
}


@dataclass(frozen=True)
class Entry:
    """A cell, and the set that it is of."""

    data: str
    cell: Cell

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.data}: {self.cell.name}"

    @property
    def file(self) -> str:
        """Where the set lies among the data."""
        return f"{self.data}/train.parquet"


def entries(sets: tuple[str, ...] = SETS, seeds: tuple[int, ...] = SEEDS) -> list[Entry]:
    """The whole matrix, or that of some sets and seeds.

    >>> entries(("cifar10",), (2,))[1].key
    'cifar10: badnets at 0.01, seed 2'
    """
    ordered = sorted(dict.fromkeys(sets), key=SETS.index)
    return [Entry(data, cell) for data in ordered for seed in dict.fromkeys(seeds) for cell in _cells(seed)]


def _cells(seed: int) -> Iterator[Cell]:
    for attack, rates in ATTACKS.items():
        for rate in rates:
            cover = {"cover": COVERS[attack] * rate} if attack in COVERS else {}
            yield Cell(attack=attack, settings=SETTINGS.get(attack, {}) | cover, rate=rate, seed=seed)
