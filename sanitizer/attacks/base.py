"""The base of all attacks: what each says of itself, which settings they share, how one is carried out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from sanitizer.attacks.poisoned import Plan, PoisonedSet, readable, write_set
from sanitizer.errors import UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Source
from sanitizer.sources.census import Census
from sanitizer.writing import refuse_inside, whole_folder

_CLASSES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A way to poison a source. Leaves say what they are on the class and decide in ``plan`` whom they touch.

    Args:
        rate: Share of the whole set that is poisoned.
        target: Class that the poison leads to, by name or by index; the first class if None.
        seed: Every choice follows from it and from the samples' content; their order changes nothing.
        quality: JPEG quality of every image of the copy if the source holds any JPEG, so that how an image is
            stored gives nothing away. A source without JPEG becomes PNG.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    threat: ClassVar[str]
    label_kind: ClassVar[Literal["dirty", "clean"]]
    cost: ClassVar[str]
    says: ClassVar[str]

    rate: float
    target: str | int | None = None
    seed: int = 0
    quality: int = 95

    def __post_init__(self) -> None:
        self.expect("rate", is_number(self.rate) and 0 < self.rate < 1, "a share between 0 and 1, both excluded")
        self.expect("seed", is_whole(self.seed) and self.seed >= 0, "a whole number, at least 0")
        self.expect("quality", is_whole(self.quality) and 1 <= self.quality <= 100, "a whole number from 1 to 100")

    @final
    def poison(self, source: Source, destination: str | Path, progress: Progress = SILENT) -> PoisonedSet:
        """Write a poisoned copy of ``source`` with its truth and recipe; complete, or not at all."""
        destination = Path(destination)
        if source.holds != "images":
            raise UsageError(f"{self.name} paints images, {source.uri!r} holds {source.holds}: name a set of images")
        target = self.aim(source.class_names)
        refuse_inside(destination, source.root)
        try:
            with whole_folder(destination) as folder:
                census = readable(source, progress)
                plan = self.plan(census, target, progress)
                aimed = source.class_names[target] if self.targeted else None
                write_set(folder, source, census, plan, self.facts() | {"target": aimed}, self.quality, progress)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise UsageError(f"cannot write {str(destination)!r} ({why}): choose a place with room") from None
        return PoisonedSet.open(destination)

    def facts(self) -> dict[str, Any]:
        """What the recipe says of the attack itself."""
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        return {"attack": self.name, "paper": self.paper, "label_kind": self.label_kind, "settings": settings}

    @abstractmethod
    def plan(self, census: Census, target: int, progress: Progress) -> Plan:
        """Whom to touch and how; the samples come in canonical order, so that choices by position are stable."""

    @property
    def targeted(self) -> bool:
        """Whether the poison leads to one class; if not, the target is no part of the recipe."""
        return True

    def aim(self, class_names: Sequence[str]) -> int:
        """The index of the target class: a name wins over an index that is spelled alike."""
        if not class_names:
            raise UsageError(
                f"{self.name} needs labels, this source has none: use a folder per class or name the label column"
            )
        if len(class_names) == 1:
            raise UsageError(
                f"{self.name} needs two classes or more, this source has only {class_names[0]!r}: add another"
            )
        wanted = 0 if self.target is None else self.target
        if isinstance(wanted, str):
            if wanted in class_names:
                return list(class_names).index(wanted)
            wanted = int(wanted) if re.fullmatch(r"[0-9]{1,9}", wanted) else -1
        if is_whole(wanted) and 0 <= wanted < len(class_names):
            return int(wanted)
        shown = ", ".join(repr(name) for name in class_names[:_CLASSES_SHOWN])
        rest = ", ..." if len(class_names) > _CLASSES_SHOWN else ""
        raise UsageError(
            f"target: expected one of the {len(class_names)} classes ({shown}{rest}) or its index, got {self.target!r}"
        )

    def how_many(self, size: int) -> int:
        """The number of samples to poison in a set of this size."""
        return max(1, round(self.rate * size))

    def expect(self, setting: str, holds: bool, expected: str) -> None:
        """Refuse the value of a setting unless what it must be holds."""
        if not holds:
            raise UsageError(f"{setting}: expected {expected}, got {getattr(self, setting)!r}")


def is_number(value: object) -> bool:
    """Whether a setting is a number; ``True`` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number; ``True`` is none."""
    return isinstance(value, int) and not isinstance(value, bool)
