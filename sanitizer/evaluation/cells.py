"""The cells of a matrix: which attack, how set, at which rate, from which seed; and the control, which is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer import registry
from sanitizer.attacks.base import Attack
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Plan
from sanitizer.attacks.settings import parse_settings
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels, Source
from sanitizer.sources.census import Census

#: The name of the control: the same copy, drawn and encoded alike, with nothing planted in it.
CONTROL = "none"
#: Settings that have an option of their own.
_TAKEN = ("rate", "target", "seed")


@dataclass(frozen=True, kw_only=True)
class Unpoisoned(Attack):
    """No attack, carried out like one: what is flagged in its copy is a false alarm.

    A scan of the source itself would differ from the other cells in the draw and in the encoding of its images too.
    """

    name: ClassVar[str] = CONTROL
    paper: ClassVar[str] = ""
    threat: ClassVar[str] = ""
    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Nothing is planted."

    @property
    def targeted(self) -> bool:
        """It leads nowhere."""
        return False

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:  # noqa: ARG002
        """Touch nobody."""
        return Plan({})

    def exam(self, images: Sequence[Pixels], labels: NDArray[np.int64], class_names: Sequence[str]) -> Exam:  # noqa: ARG002
        """There is nothing to succeed in."""
        return Exam([], np.empty(0, np.int64))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One poisoning and one scan; the seed is that of both."""

    attack: str
    settings: Mapping[str, Any]  # besides rate and seed; what is not named is the attack's default
    rate: float  # 0 for the control
    seed: int

    @property
    def name(self) -> str:
        """Everything that it is, in words.

        >>> Cell(attack="badnets", settings={"size": 4}, rate=0.01, seed=2).name
        'badnets size=4 at 0.01, seed 2'
        """
        return f"{self.row}, seed {self.seed}"

    @property
    def row(self) -> str:
        """The same without the seed: seeds are averaged over."""
        said = " ".join([self.attack, *(f"{key}={value}" for key, value in self.settings.items())])
        return said if self.attack == CONTROL else f"{said} at {self.rate:g}"

    def poisoner(self) -> Attack:
        """The attack as it is carried out."""
        rate: dict[str, Any] = {} if self.attack == CONTROL else {"rate": self.rate}
        return _kind(self.attack)(seed=self.seed, **rate, **self.settings)


def attack_and_rate(row: str) -> tuple[str, float | None]:
    """The parts of ``Cell.row``; a control, or what some other row says, has no rate.

    >>> attack_and_rate("badnets size=4 at 0.01"), attack_and_rate("none")
    (('badnets size=4', 0.01), ('none', None))
    """
    attack, _, rate = row.rpartition(" at ")
    try:
        return (attack, float(rate)) if attack and 0 < float(rate) <= 1 else (row, None)
    except ValueError:
        return row, None


def plan_cells(
    source: Source,
    attacks: Sequence[str],
    *,
    rates: Sequence[float] = (),
    seeds: int = 1,
    target: str | None = None,
    pairs: Sequence[str] = (),
    clean: bool = True,
) -> list[Cell]:
    """Every combination, refused before anything is computed if one of them cannot be meant.

    Args:
        source: What is to be poisoned.
        attacks: Names.
        rates: Shares of the set; each attack's own default if there are none.
        seeds: How many, from 0.
        target: Class that the poison leads to, for the attacks that lead to one.
        pairs: ``ATTACK.key=value`` for one attack, ``key=value`` for all of them and the control.
        clean: Add the control.
    """
    if seeds < 1:
        raise UsageError(f"--seeds: expected at least 1, got {seeds}: give at least one")
    names = list(dict.fromkeys([*attacks, *([CONTROL] if clean else [])]))
    if not names:
        raise UsageError("--attacks: expected at least one name, got none: see `sanitizer attacks`")
    given = _by_attack(pairs, names)
    cells = []
    for name in names:
        settings = parse_settings(_kind(name), given[name], taken=_TAKEN)
        for rate in rates if rates and name != CONTROL else (None,):
            made = _checked(name, rate, settings, target, source)
            aimed = {} if made.target is None else {"target": made.target}
            share = 0.0 if name == CONTROL else float(made.rate)
            cells += [
                Cell(attack=name, settings=settings | aimed, rate=share, seed=seed) for seed in range(seeds)
            ]  # fmt: skip
    return cells


def _checked(name: str, rate: float | None, settings: Mapping[str, Any], target: str | None, source: Source) -> Attack:
    """The attack, if it can be carried out on this source as far as one can tell beforehand."""
    shared: dict[str, Any] = {} if rate is None else {"rate": rate}
    made = _kind(name)(**settings, **shared)
    if target is not None and made.targeted:
        made = replace(made, target=target)
    if source.holds != "images":
        raise UsageError(f"{name} paints images, {source.uri!r} holds {source.holds}: name a set of images")
    made.require()
    made.aim(source.class_names)
    return made


def _kind(name: str) -> type[Attack]:
    return Unpoisoned if name == CONTROL else registry.attack(name)


def _by_attack(pairs: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """The settings of each attack.

    >>> _by_attack(["samples=500", "badnets.size=4"], ["badnets", "none"])
    {'badnets': ['samples=500', 'size=4'], 'none': ['samples=500']}
    """
    given: dict[str, list[str]] = {name: [] for name in names}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name, dot, setting = key.strip().rpartition(".")
        if dot and name not in given:
            raise UsageError(
                f"--set: expected the name of an attack that is asked for, got {name!r}: add it, or mend it"
            )
        for one in (name,) if dot else given:
            given[one].append(f"{setting}{equals}{value}")
    return given
