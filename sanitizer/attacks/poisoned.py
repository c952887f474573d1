"""Poison with its ground truth: from a plan to files on disk and back."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import Progress
from sanitizer.sources.base import Change, Found, Pixels, Source, digest_of
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import LIMITS, decode
from sanitizer.sources.encode import Format, encode, format_of

DATA = "data"
TRUTH = "truth.parquet"
RECIPE = "recipe.json"
LEARNED = "learned.safetensors"

#: What an attack had to learn from the data: its generator, its target images, ...
Learned = Mapping[str, NDArray[Any]]

Kind = Literal["clean", "poison", "cover"]
Paint = Callable[[Pixels], Pixels]

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

    def learned(self) -> Learned:
        """What the attack learned from the data; empty where it needed nothing."""
        try:
            path = self.root / LEARNED
            return safetensors.numpy.load(path.read_bytes()) if path.exists() else {}
        except (OSError, SafetensorError) as error:
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
    paint: Paint
    shows: int | None = None  # the class that the painted image truly shows, where that is another one


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attack makes of a set: the samples it touches, by id, and what the recipe should say about it."""

    planted: Mapping[str, Planted]
    notes: Mapping[str, Any] = field(default_factory=dict)


def readable(source: Source, progress: Progress) -> Census:
    """What there is to poison."""
    census = take_census(source, limits=LIMITS, progress=progress, keep_bytes=0)
    if not census.samples:
        raise UsageError(f"expected readable images in {source.uri!r}, found none: nothing can be poisoned")
    return census


def write_set(
    folder: Path,
    source: Source,
    census: Census,
    plan: Plan,
    facts: Mapping[str, Any],
    quality: int,
    learned: Learned,
    progress: Progress,
) -> None:
    """Data, truth and recipe, in an empty folder; ``facts`` are what the recipe says of the attack."""
    fmt = _common_format(source, census)
    renamed = _write(source, folder / DATA, census, plan, partial(encode, fmt=fmt, quality=quality), progress)
    truth = _truth(census, plan, renamed)
    pq.write_table(truth, folder / TRUTH)
    if learned:
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(rows) for name, rows in learned.items()}, folder / LEARNED
        )
    recipe = {
        **facts,
        "class_names": list(source.class_names),
        "encoding": {"format": fmt} | ({"quality": quality} if fmt == "JPEG" else {}),
        "counts": _counts(truth) | {"left_out": len(census.others)},
        "notes": dict(plan.notes),
        "source": source.uri,
        "versions": _versions(),
        "left_out": [{"id": item.id, "status": item.status.value, "reason": item.reason} for item in census.others],
    }
    (folder / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


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
        if planted is not None and planted.shows is not None:
            original = planted.shows
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
