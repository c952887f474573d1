"""The base of all attacks: what each says of itself, which settings they share, how one is carried out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Learned, Plan, PoisonedSet, readable, write_set
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import content_noise
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Pixels, Source
from sanitizer.sources.census import Census
from sanitizer.store import Store
from sanitizer.writing import refuse_inside, whole_folder

_CLASSES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A way to poison a source. Leaves say what they are on the class and decide in ``plan`` whom they touch.

    Args:
        rate: Share of the whole set that is poisoned.
        target: Class that the poison leads to, by name or by index; the first class if None.
        seed: Every choice follows from it and from the samples' content; their order changes nothing.
        samples: The copy holds this many samples of the source, drawn at random; all of them if None.
        quality: JPEG quality of every image of the copy if the source holds any JPEG, so that how an image is
            stored gives nothing away. A source without JPEG becomes PNG.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    threat: ClassVar[str]
    label_kind: ClassVar[Literal["dirty", "clean"]]
    needs: ClassVar[tuple[str, ...]] = ()  # besides labelled images
    cost: ClassVar[str]
    says: ClassVar[str]

    rate: float = 0.01
    target: str | int | None = None
    seed: int = 0
    samples: int | None = None
    quality: int = 95

    #: What ``prepare`` learned: no setting, so it is no field.
    learned: ClassVar[Learned] = {}

    def __post_init__(self) -> None:
        self.expect("rate", is_number(self.rate) and 0 < self.rate < 1, "a share between 0 and 1, both excluded")
        self.expect("seed", is_whole(self.seed) and self.seed >= 0, "a whole number, at least 0")
        self.expect(
            "samples", self.samples is None or (is_whole(self.samples) and self.samples >= 1), "at least 1, or None"
        )
        self.expect("quality", is_whole(self.quality) and 1 <= self.quality <= 100, "a whole number from 1 to 100")

    @final
    def poison(
        self,
        source: Source,
        destination: str | Path,
        progress: Progress = SILENT,
        *,
        device: str = "auto",
        store: Store | None = None,
    ) -> PoisonedSet:
        """Write a poisoned copy of ``source`` with its truth and recipe; complete, or not at all.

        Args:
            source: What to poison; it is only read.
            destination: A folder that is made, outside the source.
            progress: Who is told how far it is.
            device: ``auto``, ``cpu`` or ``cuda:N``, for attacks that compute gradients.
            store: Keeps the state of long work, so that the same call goes on after an interruption.
        """
        destination = Path(destination)
        if source.holds != "images":
            raise UsageError(f"{self.name} paints images, {source.uri!r} holds {source.holds}: name a set of images")
        self.require()
        target = self.aim(source.class_names)
        refuse_inside(destination, source.root)
        workshop = Workshop(device=device, progress=progress, store=store)
        try:
            with whole_folder(destination) as folder:
                found = readable(source, progress)
                census = self._sampled(found)
                ready = self.prepare(census, target, workshop)
                plan = ready.plan(census, target, workshop)
                aimed = source.class_names[target] if self.targeted else None
                facts = self.facts() | {"target": aimed, "not_drawn": len(found.samples) - len(census.samples)}
                write_set(folder, source, census, plan, facts, self.quality, ready.learned, progress)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise UsageError(f"cannot write {str(destination)!r} ({why}): choose a place with room") from None
        return PoisonedSet.open(destination)

    def facts(self) -> dict[str, Any]:
        """What the recipe says of the attack itself."""
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        return {"attack": self.name, "paper": self.paper, "label_kind": self.label_kind, "settings": settings}

    def require(self) -> None:  # noqa: B027 - most attacks can do without
        """Refuse to start without settings that have no default: before anything is read."""

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:  # noqa: ARG002
        """This attack, ``knowing`` all that it has to learn from the data first; itself if that is nothing."""
        return self

    @abstractmethod
    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:
        """Whom to touch and how; the samples come in canonical order, so that choices by position are stable."""

    @abstractmethod
    def exam(self, images: Sequence[Pixels], labels: NDArray[np.int64], class_names: Sequence[str]) -> Exam:
        """What a victim is shown after training, made of labelled test images that nobody trained on."""

    @final
    def knowing(self, learned: Learned) -> Self:
        """This attack with what it learned; that is stored with the set, for ``exam`` needs it."""
        other = replace(self)
        object.__setattr__(other, "learned", dict(learned))  # frozen for everybody else
        return other

    @property
    def targeted(self) -> bool:
        """Whether the poison leads to one class; if not, the target is no part of the recipe."""
        return True

    def keeps(self, census: Census) -> frozenset[str]:  # noqa: ARG002
        """Samples, by id, that the copy must hold when only some are drawn."""
        return frozenset()

    def _sampled(self, census: Census) -> Census:
        """The samples that the copy holds."""
        if self.samples is None or self.samples >= len(census.samples):
            return census
        kept = self.keeps(census)
        order = np.argsort(content_noise(census.keys(), self.seed, 0), kind="stable")
        first = sorted(order, key=lambda row: census.samples[row].id not in kept)[: self.samples]
        return census.only(sorted(first))

    def aim(self, class_names: Sequence[str]) -> int:
        """The index of the target class."""
        if not class_names:
            raise UsageError(
                f"{self.name} needs labels, this source has none: use a folder per class or name the label column"
            )
        if len(class_names) == 1:
            raise UsageError(
                f"{self.name} needs two classes or more, this source has only {class_names[0]!r}: add another"
            )
        return self.class_index("target", 0 if self.target is None else self.target, class_names)

    def class_index(self, setting: str, wanted: str | int, class_names: Sequence[str]) -> int:
        """The index of a class that a setting names: a name wins over an index that is spelled alike."""
        number = wanted
        if isinstance(wanted, str):
            if wanted in class_names:
                return list(class_names).index(wanted)
            number = int(wanted) if re.fullmatch(r"[0-9]{1,9}", wanted) else -1
        if is_whole(number) and 0 <= int(number) < len(class_names):
            return int(number)
        shown = ", ".join(repr(name) for name in class_names[:_CLASSES_SHOWN])
        rest = ", ..." if len(class_names) > _CLASSES_SHOWN else ""
        raise UsageError(
            f"{setting}: expected one of the {len(class_names)} classes ({shown}{rest}) or its index, got {wanted!r}"
        )

    def other_class(self, setting: str, wanted: str | int | None, target: int, class_names: Sequence[str]) -> int:
        """The index of a class that a setting names, which may not be the target; the one after that if None."""
        if wanted is None:
            return (target + 1) % len(class_names)
        found = self.class_index(setting, wanted, class_names)
        if found == target:
            raise UsageError(f"{setting}: expected another class than the target, got {wanted!r}: choose one")
        return found

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
