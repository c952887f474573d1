"""Parquet with a column of vectors: every kind of list, and what it cannot mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vector_toys import LABELS, ROWS, keep, lists, seen, write

from sanitizer.errors import SourceError
from sanitizer.sources.base import Change, Found, Status
from sanitizer.sources.census import take_census
from sanitizer.sources.vectors import ParquetVectorSource


def test_parquet_with_vectors_and_no_images_is_claimed(tmp_path: Path) -> None:
    """Embeddings beside images are the images' own business."""
    file = write(tmp_path / "v" / "a.parquet", lists(ROWS))
    assert ParquetVectorSource.claims(file)
    assert ParquetVectorSource.claims(str(tmp_path / "v"))
    assert ParquetVectorSource.claims(str(tmp_path / "v" / "*.parquet"))
    images = pa.array([{"bytes": b"x", "path": None}] * 7, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    assert not ParquetVectorSource.claims(write(tmp_path / "i.parquet", lists(ROWS), image=images))
    assert not ParquetVectorSource.claims(write(tmp_path / "n.parquet", pa.array(LABELS)))
    assert not ParquetVectorSource.claims(str(tmp_path / "none.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    assert not ParquetVectorSource.claims(str(tmp_path / "bad.parquet"))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 3),
        pa.list_(pa.float16()),
        pa.list_(pa.float64(), 3),
    ],
)
def test_every_kind_of_list_is_read_and_written_back(tmp_path: Path, kind: pa.DataType) -> None:
    """With the schema and the precision that were."""
    rows = [[0.5, 1.0, row + (1e-12 if kind.value_type == pa.float64() else 0)] for row in range(7)]
    vectors = lists(np.array(rows, np.float16 if kind.value_type == pa.float16() else np.float64), kind)
    file = write(tmp_path / "d" / "a.parquet", vectors, list("abababa"), n=pa.array(range(7)))
    source = ParquetVectorSource(file)
    assert [item.content for item in source.stream()] == [np.array(row, "<f4").tobytes() for row in rows]

    def change(found: Found) -> Change:
        row = int(found.id.rpartition("#")[2])
        return (np.array([8, 9, row], "<f4").tobytes(), 0) if row == 4 else keep(found) if row != 1 else None

    source.rewrite(tmp_path / "copy", change)
    before, after = (pq.ParquetFile(tmp_path / name / "a.parquet").read() for name in ("d", "copy"))
    assert after.schema.equals(before.schema, check_metadata=True)
    rows[4] = [8, 9, 4]
    assert after.to_pylist() == [
        {"vector": rows[row], "label": "ababaaa"[row] if row != 5 else "b", "n": row} for row in (0, 2, 3, 4, 5, 6)
    ]


def test_a_folder_of_files_is_one_set(tmp_path: Path) -> None:
    """Other files are counted, names of classes may be declared, rows without a known class are unreadable."""
    features = {"label": {"_type": "ClassLabel", "names": ["zebra", "ant"]}}
    table = pa.table({"vector": lists(ROWS[:3]), "label": [1, -1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("b.parquet", "sub/a.parquet"):
        pq.write_table(table, tmp_path / "d" / name)
    (tmp_path / "d" / "README.md").write_text("hello")
    source = ParquetVectorSource(str(tmp_path / "d"))
    assert seen(source) == [
        *(
            (f"{name}#{row}", label)
            for name in ("b.parquet", "sub/a.parquet")
            for row, label in enumerate(["ant", None, "zebra"])
        ),
        ("README.md", None),
    ]
    counts = take_census(source).counts
    assert [counts[status] for status in Status] == [4, 2, 0, 1]
    assert source.rewrite(tmp_path / "copy", keep)["sub/a.parquet#2"] == "sub/a.parquet#1"
    pq.write_table(pa.table({"vector": lists([[1, 2]]), "label": [0]}), tmp_path / "d" / "c.parquet")
    with pytest.raises(SourceError, match=r"'c\.parquet#0'"):
        list(ParquetVectorSource(str(tmp_path / "d")).stream())


@pytest.mark.parametrize(
    ("columns", "settings", "why"),
    [
        (
            {"vector": lists(ROWS, pa.list_(pa.float64()))[0:0].cast(pa.list_(pa.int64()))},
            {},
            r"lists of floats.* int64",
        ),
        ({"x": pa.array(ROWS[:, 0])}, {}, r"one column of vectors .* found x \(float\)"),
        ({"x": lists(ROWS), "z": lists(ROWS)}, {}, r"found x .*, z .*: name or make one"),
        ({"x": lists(ROWS)}, {"vector_column": "z"}, "expected a column 'z'"),
        ({"x": lists(ROWS), "n": LABELS}, {"vector_column": "n"}, r"found n \(int64\): convert"),
        ({"x": lists(ROWS)}, {"label_column": "z"}, "expected a column 'z'"),
        ({"x": lists(ROWS), "label": LABELS / 2}, {}, "whole numbers or text"),
        ({"x": lists([None, *ROWS])}, {}, r"got null in 'v\.parquet#0'"),
        ({"x": lists([*ROWS, None])}, {}, r"got null in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, None], pa.list_(pa.float32(), 3))}, {}, r"got null in 'v\.parquet#7'"),
        ({"x": lists([[], *ROWS])}, {}, r"at least one number, got 0 numbers in 'v\.parquet#0'"),
        ({"x": lists([*ROWS, [1, 2]])}, {}, r"3 numbers, as in the first row, got 2 numbers in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, [1, None, 2]])}, {}, r"finite float32 numbers, got nan in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, [1, None, 2]], pa.list_(pa.float64(), 3))}, {}, r"got nan in 'v\.parquet#7'"),
    ],
)
def test_what_parquet_cannot_mean_is_one_line(tmp_path: Path, columns: Any, settings: Any, why: str) -> None:
    """What was expected, what came, in which row, and what to do."""
    pq.write_table(pa.table(columns), tmp_path / "v.parquet", row_group_size=3)
    with pytest.raises(SourceError, match=why) as caught:
        list(ParquetVectorSource(str(tmp_path / "v.parquet"), **settings).stream())
    assert "\n" not in str(caught.value)


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    """As when every row is dropped."""
    source = ParquetVectorSource(write(tmp_path / "d" / "v.parquet", lists(ROWS), LABELS))
    assert source.rewrite(tmp_path / "copy", lambda found: None) == {}
    assert list(ParquetVectorSource(str(tmp_path / "copy" / "v.parquet")).stream()) == []
