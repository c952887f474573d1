"""Toys as a dataset of the ``datasets`` library, a sanitizer fitted to them once, and what it says of each row."""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image
from toy_scans import SEED, hurried
from toys import CLASSES, toy_images

from sanitizer import Sanitizer
from sanitizer.embed import probe

datasets.disable_progress_bars()

#: Images of a class that a quick look is taken at: with fewer than ten, none could be judged.
EACH = 12

Said = list[tuple[bool, float, str]]
BROKEN = b"\x89PNG\r\n\x1a\nnothing follows"


def cells(contents: list[bytes]) -> list[dict[str, Any]]:
    """Stored images, as the library keeps them."""
    return [{"bytes": content, "path": None} for content in contents]


def made(contents: list[bytes], labels: list[Any], kind: Any = None) -> datasets.Dataset:
    """A dataset of stored images and their labels."""
    kinds = {"image": datasets.Image(), "label": kind or datasets.ClassLabel(names=list(CLASSES))}
    return datasets.Dataset.from_dict({"image": cells(contents), "label": labels}, features=datasets.Features(kinds))


def toys(*, each: int = 60, planted: int = 10, seed: int = SEED) -> tuple[list[bytes], list[str]]:
    """Images and their labels."""
    rows = toy_images(each=each, planted=planted, seed=seed)
    return [content for _, content, _ in rows], [name for name, _, _ in rows]


def few(*, seed: int = SEED) -> datasets.Dataset:
    """Enough to be scanned in a moment."""
    return made(*toys(each=EACH, planted=0, seed=seed))


def as_bitmap(content: bytes) -> bytes:
    """The same pixels, stored in another way."""
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).save(file, "BMP")
    return file.getvalue()


@functools.cache
def poisoned() -> datasets.Dataset:
    """The toys; then a copy of the first, one under another label, one stored otherwise, and one that is broken."""
    contents, labels = toys()
    assert labels[0] == "bar"
    more = [(contents[0], "bar"), (contents[0], "dot"), (as_bitmap(contents[0]), "bar"), (BROKEN, "bar")]
    return made([*contents, *(content for content, _ in more)], [*labels, *(label for _, label in more)])


def readable() -> datasets.Dataset:
    """The rows that the library can decode."""
    return poisoned().select(range(len(poisoned()) - 1))


@functools.cache
def fitted() -> Sanitizer:
    """Fitted to ``poisoned``, once for all tests; ``cache`` hands out the same frozen object."""
    with hurried():
        return Sanitizer(budget="fast", device="cpu").fit(poisoned())


def fit_few(data: Any = None, **settings: Any) -> Sanitizer:
    """Fitted with a quick look: any verdict will do."""
    chosen = {"budget": "fast", "device": "cpu", "detectors": ["lof"], **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(probe.BUDGETS, "fast", (32, 5, 5))
        return Sanitizer(**chosen).fit(few() if data is None else data)


@functools.cache
def fitted_few() -> Sanitizer:
    """Fitted to ``few``, once for all tests."""
    return fit_few()


@functools.cache
def expected() -> Said:
    """What the verdict says of each row of ``poisoned``; of rows with the same pixels and label, the worst."""
    rows = {row["id"]: row for row in fitted().verdict.table.to_pylist()}
    worst: dict[Any, tuple[bool, float, str]] = {}
    for row in rows.values():
        told = (False, math.nan, "unreadable")
        if row["status"] == "scanned":
            told = (row["suspicious"], float(np.float32(row["score"])), row["kind"])
        worst[_content(row)] = max(told, worst.get(_content(row), told))
    return [worst[_content(rows[f"#{place}"])] for place in range(len(poisoned()))]


def _content(row: dict[str, Any]) -> tuple[str | None, int]:
    return row["view_digest"], row["label"]


def said(rows: Any) -> Said:
    """What a mapped dataset, or one batch of it, says of each row."""
    columns = [rows[name] for name in ("suspicious", "poison_score", "kind")]
    return list(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def same(found: Said, wanted: Said) -> bool:
    """Whether the same is said; no score is the same as no score."""
    return repr(found) == repr(wanted)
