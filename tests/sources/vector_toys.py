"""Small sets of vectors in both layouts, and how to look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.sources.base import Change, Found, Source
from sanitizer.sources.census import take_census
from sanitizer.sources.npz import NpzSource
from sanitizer.sources.vectors import ParquetVectorSource

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 10])


def save(path: Path, **arrays: Any) -> str:
    """An ``.npz`` with these arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return str(path)


def load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an ``.npz``."""
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def lists(rows: Any, kind: pa.DataType | None = None) -> pa.Array:
    """Rows as Arrow keeps them."""
    kind = kind or pa.list_(pa.float32())
    return pa.array([None if row is None else list(row) for row in rows], kind)


def write(path: Path, vectors: pa.Array, labels: Any = None, **columns: Any) -> str:
    """A Parquet file with these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"vector": vectors} | ({} if labels is None else {"label": pa.array(labels)}) | columns
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return str(path)


def source_of(kind: str, folder: Path, rows: Any = ROWS, labels: Any = LABELS) -> Source:
    """The same set in either layout."""
    named = {} if labels is None else {"labels": labels}
    if kind == "npz":
        return NpzSource(save(folder / "v.npz", vectors=rows, **named))
    kept = pa.list_(pa.float64() if rows.dtype == np.float64 else pa.float32())
    return ParquetVectorSource(write(folder / "v.parquet", lists(rows, kept), labels))


def seen(source: Source) -> list[tuple[str, str | None]]:
    """Id and class of each item."""
    return [(item.id, None if item.label is None else source.class_names[item.label]) for item in source.stream()]


def told(source: Source) -> list[tuple[str, str | None, tuple[int, int]]]:
    """What the samples are, ids aside."""
    census = take_census(source)
    assert not census.others
    return [
        (sample.digest, None if sample.label is None else census.class_names[sample.label], sample.size)
        for sample in census.samples
    ]


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


def alter(found: Found) -> Change:
    """Drop row 1, change row 2, keep the others."""
    assert found.content is not None
    row = int(found.id.rpartition("#")[2])
    if row == 1:
        return None
    return (ROWS[0].tobytes(), 3) if row == 2 else (found.content, found.label)
