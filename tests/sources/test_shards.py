"""Parquet in batches: the rows as they were written, however they are stored, and never many large ones at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanitizer.sources.base import Status
from sanitizer.sources.shards import batches
from sanitizer.sources.walk import Entry

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = pa.table(
    {
        "image": pa.array(
            [{"bytes": b"a", "path": "x"}, None, {"bytes": None, "path": "y"}, {"bytes": b"a"}] * 3, IMAGE
        ),
        "plain": pa.array([b"b", None, b"", b"b"] * 3, pa.large_binary()),
        "label": pa.array(["cat", "dog", None, "cat"] * 3),
        "coded": pa.array(["cat", "dog", None, "cat"] * 3).dictionary_encode(),
        "number": pa.array([1, 2, None, 4] * 3),
        "words": pa.array([["a", "b"], None, [], ["a"]] * 3),
        "image.bytes": pa.array([b"c"] * 12),
    }
)


def written(folder: Path, rows: pa.Table, **options: Any) -> Entry:
    """The rows as a file."""
    pq.write_table(rows, folder / "x.parquet", **options)
    return Entry("x.parquet", str(folder / "x.parquet"), Status.SCANNED)


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False}, {"row_group_size": 5}, {"store_schema": False}], ids=str
)
def test_rows_are_what_was_written_however_they_are_stored(tmp_path: Path, options: dict[str, Any]) -> None:
    """Values once for many rows or once for each, nulls in structs, and the types that the file says it has."""
    entry = written(tmp_path, ROWS, **options)
    found = list(batches(entry, None))
    schema = pq.read_schema(entry.path)
    assert found[0].first_row == 0
    assert pa.Table.from_batches([batch.rows for batch in found]).to_pylist() == ROWS.to_pylist()
    assert all(batch.rows.schema.types == schema.types for batch in found)


def test_a_value_that_many_rows_share_is_not_copied_for_all_of_them(tmp_path: Path) -> None:
    """The file takes kilobytes; unpacked at once, its rows would take two gigabytes."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array([b"x" * 2**22]))
    entry = written(tmp_path, pa.table({"image": shared}), compression="zstd", store_schema=False)
    sizes, rows = [], 0
    for batch in batches(entry, ["image"]):
        assert batch.first_row == rows
        assert batch.rows.schema.types == [pa.binary()]
        sizes.append(batch.rows.nbytes)
        rows += batch.rows.num_rows
    assert rows == 500
    assert max(sizes) < 2**26 + 2**22
