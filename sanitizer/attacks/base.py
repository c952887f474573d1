"""Poison that travels with its ground truth: ``Attack``, the family of stamped triggers, ``PoisonedSet``."""

from __future__ import annotations

import json
import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Change, Found, Pixels, Source, digest_of, view_digest_of
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode
from sanitizer.sources.encode import Format, encode, format_of
from sanitizer.writing import refuse_inside, whole_folder

DATA = "data"
TRUTH = "truth.parquet"
RECIPE = "recipe.json"

Image = NDArray[np.float32]  # (h, w, 3) RGB in [0, 1]
Labels = NDArray[np.int64]  # (n,), -1 where a sample has none
Kind = Literal["clean", "poison", "cover"]

_TRUTH_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("is_poison", pa.bool_()),  # a cover sample is no poison: its label is right
        ("kind", pa.string()),
        ("original_label", pa.string()),
        ("label", pa.string()),
        ("source_id", pa.string()),
    ]
)
_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class PoisonedSet:
    """A poisoned copy of a source, the truth about every sample in it, and how it was made."""

    root: Path
    recipe: Mapping[str, Any] = field(repr=False)

    @property
    def data(self) -> Path:
        """What gets scanned or trained on."""
        return self.root / DATA

    def truth(self) -> pa.Table:
        """One row per sample: id, is_poison, kind, original_label, label (class names), source_id."""
        try:
            table = pq.read_table(self.root / TRUTH, partitioning=None)
            table.validate(full=True)
            return table.cast(_TRUTH_SCHEMA)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _no_set(self.root, error) from None

    @classmethod
    def open(cls, root: str | Path) -> PoisonedSet:
        """A poisoned set as it lies on disk; ``SourceError`` if there is none."""
        root = Path(root)
        try:
            recipe = json.loads((root / RECIPE).read_bytes())
            for part in (DATA, TRUTH):
                (root / part).stat()
        except (OSError, ValueError) as error:
            raise _no_set(root, error) from None
        return cls(root, recipe)


@dataclass(frozen=True, slots=True)
class Planted:
    """What an attack makes of one sample."""

    kind: Kind
    label: int
    paint: Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attack makes of a set: the samples it touches, by id, and what the recipe should say about it."""

    planted: Mapping[str, Planted]
    notes: Mapping[str, Any] = field(default_factory=dict)


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
        target = self.aim(source.class_names)
        refuse_inside(destination, source.root)
        try:
            with whole_folder(destination) as folder:
                self._fill(folder, source, target, progress)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise UsageError(f"cannot write {str(destination)!r} ({why}): choose a place with room") from None
        return PoisonedSet.open(destination)

    def _fill(self, folder: Path, source: Source, target: int, progress: Progress) -> None:
        """Data, truth and recipe, in an empty folder."""
        census = take_census(source, limits=LIMITS, progress=progress, keep_bytes=0)
        if not census.samples:
            raise UsageError(f"expected readable images in {source.uri!r}, found none: nothing can be poisoned")
        plan = self.plan(census, target, progress)
        fmt = _common_format(source, census)
        renamed = _write(source, folder / DATA, census, plan, partial(encode, fmt=fmt, quality=self.quality), progress)
        truth = _truth(census, plan, renamed)
        pq.write_table(truth, folder / TRUTH)
        recipe = {
            "attack": self.name,
            "paper": self.paper,
            "label_kind": self.label_kind,
            "settings": {setting.name: getattr(self, setting.name) for setting in fields(self)},
            "target": source.class_names[target] if self.targeted else None,
            "class_names": list(source.class_names),
            "encoding": {"format": fmt} | ({"quality": self.quality} if fmt == "JPEG" else {}),
            "counts": _counts(truth) | {"left_out": len(census.others)},
            "notes": dict(plan.notes),
            "source": source.uri,
            "versions": _versions(),
            "left_out": [{"id": item.id, "status": item.status.value, "reason": item.reason} for item in census.others],
        }
        (folder / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")

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


class TriggerAttack(Attack):
    """Choose, stamp, relabel, record: a leaf says only how an image is stamped."""

    @abstractmethod
    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """The image with the trigger; ``rng`` is the image's own, so that the same image gets the same trigger."""

    def relabel(self, labels: Labels, target: int, classes: int) -> Labels:  # noqa: ARG002
        """What a victim of this trigger is made to say for samples of these labels."""
        return np.full_like(labels, target)

    def choose(self, labels: Labels, becomes: Labels, rng: np.random.Generator) -> NDArray[np.intp]:
        """Positions to poison, at random: of those that ``becomes`` changes if dirty label, of the others if clean."""
        fits = (labels == becomes) if self.label_kind == "clean" else (labels != becomes)
        candidates = np.flatnonzero(fits & (labels >= 0))
        count = self.how_many(len(labels))
        if count > len(candidates):
            raise UsageError(
                f"rate: {self.rate} of {len(labels)} samples is {count}, expected at most {len(candidates)}, as "
                f"many as this {self.label_kind}-label attack may touch: choose a lower rate or another target"
            )
        return np.sort(rng.choice(candidates, count, replace=False))

    def notes(self) -> dict[str, Any]:
        """What the recipe should say about the trigger beyond the settings."""
        return {}

    def plan(self, census: Census, target: int, progress: Progress) -> Plan:  # noqa: ARG002
        """Stamp a random share of the samples."""
        labels = census.labels()
        becomes = self.relabel(labels, target, len(census.class_names))
        chosen = self.choose(labels, becomes, np.random.default_rng(self.seed))
        planted = {census.samples[i].id: Planted("poison", int(becomes[i]), self._stamped) for i in chosen}
        return Plan(planted, self.notes())

    def trigger(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the attacker shows to the victim: every image of an (n, h, w, 3) batch, stamped."""
        return np.stack([self._stamped(image) for image in images]) if len(images) else images.copy()

    def _stamped(self, pixels: Pixels) -> Pixels:
        rng = np.random.default_rng([self.seed, int(view_digest_of(pixels)[:16], 16)])
        image = self.stamp(_unit(pixels), rng)
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def is_number(value: object) -> bool:
    """Whether a setting is a number; ``True`` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a setting is a whole number; ``True`` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def scaled(image: Image, height: int, width: int) -> Image:
    """The image in another size: pixels repeated when it grows, averaged when it shrinks.

    >>> scaled(np.float32([[[0], [1]]]), 1, 4)[0, :, 0]
    array([0., 0., 1., 1.], dtype=float32)
    """
    taps_h, taps_w = -(-image.shape[0] // height), -(-image.shape[1] // width)
    rows = np.arange(height * taps_h) * image.shape[0] // (height * taps_h)
    columns = np.arange(width * taps_w) * image.shape[1] // (width * taps_w)
    taps = image[rows[:, None], columns].reshape(height, taps_h, width, taps_w, -1)
    return np.asarray(taps.mean(axis=(1, 3)), dtype=np.float32)


def picture(setting: str, path: str) -> Image:
    """The trigger image that a setting names."""
    try:
        return _unit(decode(Path(path).read_bytes(), LIMITS))
    except (OSError, ValueError, Unreadable, Refused) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{setting}: expected an image file, got {path!r} ({why}): name one that can be read"
        ) from None


def _unit(pixels: Pixels) -> Image:
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)


def _common_format(source: Source, census: Census) -> Format:
    """The format of the copy: a single JPEG makes it JPEG, or untouched files would look different."""
    readable = {sample.id for sample in census.samples}
    formats = (format_of(found.content) for found in source.stream() if found.content and found.id in readable)
    return "JPEG" if "JPEG" in formats else "PNG"


def _write(
    source: Source, destination: Path, census: Census, plan: Plan, store: Callable[[Pixels], bytes], progress: Progress
) -> dict[str, str]:
    """The poisoned copy: every image, touched or not, goes through the same encoder."""
    digests = {sample.id: sample.digest for sample in census.samples}
    with progress.stage("writing", len(digests)) as advance:

        def change(found: Found) -> Change:
            if found.content is None or found.id not in digests:
                return None
            if digest_of(found.content) != digests[found.id]:
                raise _changed(source)
            advance(1)
            pixels, label = decode(found.content, LIMITS), found.label
            planted = plan.planted.get(found.id)
            if planted is not None:
                pixels, label = planted.paint(pixels), planted.label
            return store(pixels), label

        renamed = source.rewrite(destination, change)
    if renamed.keys() != digests.keys():
        raise _changed(source)
    return renamed


def _truth(census: Census, plan: Plan, renamed: Mapping[str, str]) -> pa.Table:
    """The books, in the order in which the samples lie in the copy."""
    labels = {sample.id: sample.label for sample in census.samples}
    rows = []
    for source_id, new_id in renamed.items():
        original, planted = labels[source_id], plan.planted.get(source_id)
        kind, label = ("clean", original) if planted is None else (planted.kind, planted.label)
        before, after = (None if index is None else census.class_names[index] for index in (original, label))
        rows.append((new_id, kind == "poison", kind, before, after, source_id))
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=_TRUTH_SCHEMA)


def _counts(truth: pa.Table) -> dict[str, int]:
    kinds = truth["kind"].to_pylist()
    return {"samples": len(kinds)} | {kind: kinds.count(kind) for kind in ("clean", "poison", "cover")}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("dataset-sanitizer", "numpy", "pillow", "pyarrow"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a checkout
            versions[package] = "unknown"
    return versions


def _changed(source: Source) -> SourceError:
    return SourceError(f"{source.uri!r} changed while it was being poisoned: try again once nothing writes to it")


def _no_set(root: Path, error: Exception) -> SourceError:
    line = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
    return SourceError(f"expected a poisoned set at {str(root)!r}; got: {line}; run `sanitizer poison` first")
