"""Small sources on disk, and the verdict folders that a scan of them could have written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.actions.gallery import build_gallery
from sanitizer.actions.manifest import write_manifest
from sanitizer.record import GALLERY, REPORT, Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.encode import encode
from tests.actions.made_up import make_verdict, row, unread

CLASSES = ("cat", "dog")
EACH = 10


def pictures() -> dict[str, bytes]:
    """Name -> PNG of every image: ``cat/0.png``, ..."""
    rng = np.random.default_rng(0)
    names = [f"{name}/{number}.png" for name in CLASSES for number in range(EACH)]
    return {name: encode(rng.integers(0, 256, (8, 8, 3), np.uint8), "PNG") for name in names}


def write_folder(root: Path, images: Mapping[str, bytes] | None = None) -> Path:
    """A folder with a folder for each class."""
    for name, content in (pictures() if images is None else images).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_parquet(path: Path, images: Mapping[str, bytes] | None = None) -> Path:
    """One Parquet file: images as structs, labels by name."""
    chosen = pictures() if images is None else images
    table = pa.table(
        {
            "image": [{"bytes": content, "path": name} for name, content in chosen.items()],
            "label": [name.partition("/")[0] for name in chosen],
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def write_verdict(source: Path, folder: Path, flagged: Mapping[str, str] | None = None, **summary: Any) -> Verdict:
    """A verdict folder over everything in ``source``; ``flagged`` says what is flagged as what."""
    census = take_census(open_source(str(source)))
    kinds = flagged or {}
    rows = [
        row(
            sample.id, None if sample.label is None else census.class_names[sample.label], digest=sample.digest,
            suspicious=sample.id in kinds, kind=kinds.get(sample.id, ""), reasons=["It stands apart."],
        )
        for sample in census.samples
    ]  # fmt: skip
    verdict = make_verdict([*rows, *(unread(other.id, str(other.status)) for other in census.others)], **summary)
    folder.mkdir(parents=True, exist_ok=True)
    verdict.write(folder)
    pq.write_table(build_gallery(verdict=verdict, census=census, losses=None), folder / GALLERY)
    write_manifest(verdict, folder)
    (folder / REPORT).write_text("<!doctype html>")
    return verdict
