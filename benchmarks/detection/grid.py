"""Which cells the matrix of sets and attacks has: every one with every seed, the cheapest set first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.places import Places
from sanitizer.attacks.base import Attack
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
    "narcissus": (0.005,),
}
#: The same patch on every class, each led to the next one; a class has a tenth of the poison, or a twelfth.
EVERYWHERE: dict[str, Any] = {"attack": "badnets", "settings": {"mode": "all_to_all"}, "rate": 0.01}
#: Poison without a trigger, made against a frozen network: of this set alone, of so many of its images (what the public
#: benchmark of transfer learning gives a victim), at these rates.
CRAFTED_SET = "cifar10"
CRAFTED: dict[str, float] = {
    "bullseye": 0.01, "feature_collision": 0.01, "convex_polytope": 0.01, "witches_brew": 0.01,
    "sleeper_agent": 0.05, "hidden_trigger": 0.05,
}  # fmt: skip
_CRAFTING: dict[str, Any] = {"samples": 2_500, "steps": 100}
_ALONE: dict[str, dict[str, Any]] = {"witches_brew": {"restarts": 1}, "sleeper_agent": {"retrain": False}}
_NETWORK = {"surrogate": "frozen:WEIGHTS/cifar10_resnet20.safetensors"}
#: Whom each seed aims at: a setup of that benchmark by its number, or classes.
_SETUPS = {"test": "DATA/cifar10/test.parquet", "setups": "DATA/poisons/setups/cifar10_transfer_learning.json"}
_PAIRS = ((1, 0), (5, 3), (9, 2))


@dataclass(frozen=True)
class Entry:
    """A cell, and the set that it is of."""

    data: str
    cell: Cell
    unsaid: Mapping[str, Any] = field(default_factory=dict)  # settings that its name leaves out: files, and the aim

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.data}: {self.cell.name}"

    @property
    def file(self) -> str:
        """Where the set lies among the data."""
        return f"{self.data}/train.parquet"

    def poisoner(self, places: Places) -> Attack:
        """The attack as it is carried out on this machine."""
        unsaid = {name: places.located(value) for name, value in self.unsaid.items()}
        return replace(self.cell, settings={**self.cell.settings, **unsaid}).poisoner()


def entries(sets: tuple[str, ...] = SETS, seeds: tuple[int, ...] = SEEDS) -> list[Entry]:
    """The whole matrix, or that of some sets and seeds.

    >>> entries(("cifar10",), (2,))[1].key
    'cifar10: badnets at 0.01, seed 2'
    """
    ordered = sorted(dict.fromkeys(sets), key=SETS.index)
    return [entry for data in ordered for seed in dict.fromkeys(seeds) for entry in _entries(data, seed)]


def _entries(data: str, seed: int) -> Iterator[Entry]:
    yield from (Entry(data, cell) for cell in _cells(seed))
    if data != CRAFTED_SET:
        return
    yield Entry(data, Cell(attack=CONTROL, settings={"samples": _CRAFTING["samples"]}, rate=0.0, seed=seed))
    for attack, rate in CRAFTED.items():
        settings = {**_CRAFTING, **_ALONE.get(attack, {})}
        aims = attack in ("sleeper_agent", "hidden_trigger")
        source, target = _PAIRS[seed % len(_PAIRS)]
        aim = {"source": source, "target": target} if aims else {**_SETUPS, "setup": seed}
        yield Entry(data, Cell(attack=attack, settings=settings, rate=rate, seed=seed), {**_NETWORK, **aim})


def _cells(seed: int) -> Iterator[Cell]:
    for attack, rates in ATTACKS.items():
        for rate in rates:
            cover = {"cover": COVERS[attack] * rate} if attack in COVERS else {}
            yield Cell(attack=attack, settings=SETTINGS.get(attack, {}) | cover, rate=rate, seed=seed)
    yield Cell(**EVERYWHERE, seed=seed)
