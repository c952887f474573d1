"""Toy datasets of the ``datasets`` library, and what sources and the library make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np

from sanitizer.sources.base import Change, Found, Source, Status
from sanitizer.sources.encode import encode

datasets.disable_progress_bars()
FILE = "data-00000-of-00001.arrow"


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 4, 3), value, np.uint8), "PNG")


def dataset(labels: list[Any], *, first: int = 0, **columns: Any) -> datasets.Dataset:
    """Images with the labels of two classes."""
    images = [{"bytes": png(first + row), "path": f"{row}.png"} for row in range(len(labels))]
    kinds = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["zebra", "ant"]),
            **{name: datasets.Value("string") for name in columns},
        }
    )
    return datasets.Dataset.from_dict({"image": images, "label": labels, **columns}, features=kinds)


def saved(folder: Path, data: datasets.Dataset | datasets.DatasetDict, **options: Any) -> Path:
    """The dataset as the library saves it."""
    data.save_to_disk(str(folder), **options)
    return folder


def two_splits() -> datasets.DatasetDict:
    """Five rows in one split, two in the other."""
    return datasets.DatasetDict(train=dataset([0, 1, 0, 1, 0]), test=dataset([1, 0], first=100))


def scanned(source: Source) -> dict[str, tuple[bytes | None, int | None]]:
    """Bytes and label of each item that is scanned."""
    return {found.id: (found.content, found.label) for found in source.stream() if found.status is Status.SCANNED}


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


def loaded(folder: Path) -> Any:
    """What the library makes of a folder, its images left encoded."""
    found = datasets.load_from_disk(str(folder), keep_in_memory=True)
    return found.cast_column("image", datasets.Image(decode=False))


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
