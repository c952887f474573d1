"""The table that all formats share: rows to items and back, whatever they were read from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Found, Status
from sanitizer.sources.decode import Limits
from sanitizer.sources.shards import Batch, in_slices, schema_of
from sanitizer.sources.table import ImageTable, beside, common_schema, rows_by_part, same_classes, with_ids
from sanitizer.sources.walk import Entry

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
NO_BYTES = "no bytes in this row (paths are not followed)"


def rows(images: list[Any], labels: list[Any], **columns: Any) -> pa.RecordBatch:
    """One batch."""
    return pa.record_batch({"image": pa.array(images, IMAGE), "label": pa.array(labels), **columns})


def table(batch: pa.RecordBatch, **settings: Any) -> ImageTable:
    """What its columns mean; the classes are its values."""
    return ImageTable(batch.schema, "'here'", lambda name: [batch.column(name)], **settings)


def image(content: bytes | None, path: str | None = None) -> dict[str, Any]:
    """An image as the datasets library stores it."""
    return {"bytes": content, "path": path}


def named(schema: pa.Schema, names: list[str]) -> pa.Schema:
    """The schema with class names."""
    features = {"label": {"_type": "ClassLabel", "names": names}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_rows_become_items_with_the_number_they_have_in_the_file() -> None:
    """Not in the batch."""
    batch = rows([image(b"a"), image(None, "x"), image(b"c" * 9)], ["u", "v", "u"])
    found = list(table(batch, limits=Limits(max_bytes=8)).stream("f", [Batch(7, batch)]))
    assert found == [
        Found("f#7", 0, b"a", Status.SCANNED),
        Found("f#8", 1, None, Status.UNREADABLE, NO_BYTES),
        Found("f#9", 0, None, Status.REFUSED, "larger than 8 bytes"),
    ]


def test_paths_are_followed_only_by_those_who_say_how() -> None:
    """And what comes back is bounded like any other content."""
    batch = rows([image(None, "near"), image(None, "far"), image(b"a", "near"), image(None), None], [0] * 5)
    asked: list[str | None] = []

    def follow(path: str | None) -> tuple[bytes | None, Status, str]:
        asked.append(path)
        return (b"near", Status.SCANNED, "") if path == "near" else (None, Status.UNREADABLE, "too far")

    found = list(table(batch, follow=follow, limits=Limits(max_bytes=4)).stream("", [Batch(0, batch)]))
    assert [item.content for item in found] == [b"near", None, b"a", None, None]
    assert [item.reason for item in found] == ["", "too far", "", "too far", "too far"]
    assert asked == ["near", "far", None, None]
    (small, *_) = table(batch, follow=follow, limits=Limits(max_bytes=3)).stream("", [Batch(0, batch)])
    assert (small.status, small.content) == (Status.REFUSED, None)


def test_of_what_is_not_wanted_nothing_is_made() -> None:
    """Not even its path is looked at."""
    batch = rows([image(None, str(row)) for row in range(5)], [0] * 5)
    asked: list[str | None] = []

    def follow(path: str | None) -> tuple[bytes | None, Status, str]:
        asked.append(path)
        return b"a", Status.SCANNED, ""

    wanted = frozenset({"f#11", "f#14", "f#012", "g#13"})
    found = list(table(batch, follow=follow).stream("f", [Batch(10, batch)], wanted))
    assert ([item.id for item in found], asked) == (["f#11", "f#14"], ["1", "4"])


def test_a_copy_numbers_what_is_kept_over_all_batches() -> None:
    """Under the name that the part has there."""
    batch = rows([image(b"a", "p"), image(b"b", "q"), image(None)], ["u", "v", "u"], more=[1, 2, 3])
    written: list[dict[str, Any]] = []
    new_ids = table(batch).copy(
        "f",
        [Batch(0, batch), Batch(3, batch)],
        lambda found: None if found.id == "f#0" else (b"new", 1),
        lambda columns: written.extend(pa.RecordBatch.from_arrays(columns, schema=batch.schema).to_pylist()),
        "g",
    )
    assert new_ids == {"f#1": "g#0", "f#3": "g#1", "f#4": "g#2"}
    assert written == [
        {"image": image(b"new", path), "label": "v", "more": more} for path, more in (("q", 2), ("p", 1), ("q", 2))
    ]
    with pytest.raises(UsageError, match="label below 2, got -1"):
        table(batch).copy("f", [Batch(0, batch)], lambda found: (b"", -1), written.append)


def test_values_are_asked_for_only_where_no_names_are_declared() -> None:
    """A pass over the data costs."""
    batch = rows([image(b"a")] * 2, [3, 1])

    def never(name: str) -> Iterator[pa.Array]:
        raise AssertionError(name)

    declared = ImageTable(named(batch.schema, ["u", "v", "w", "x"]), "'here'", never)
    assert declared.class_names == ("u", "v", "w", "x")
    assert table(batch).class_names == ("1", "3")
    assert (table(batch).columns, table(batch.select(["image"])).columns) == (["image", "label"], ["image"])


def test_parts_must_have_the_same_columns_and_classes() -> None:
    """The message names the part that differs."""
    schema = rows([], []).schema
    assert common_schema({"a": schema, "b": named(schema, ["u"])}, "'here'") is schema
    with pytest.raises(SourceError, match="'a' and 'c' differ"):
        common_schema({"a": schema, "b": schema, "c": schema.remove(1)}, "'here'")
    with pytest.raises(SourceError, match="a name twice"):
        common_schema({"a": pa.schema([schema.field(0)] * 2)}, "'here'")
    same_classes({"a": named(schema, ["u", "v"]), "b": named(schema, ["u", "v"])}, "'here'")
    with pytest.raises(SourceError, match="'a' and 'b' differ"):
        same_classes({"a": named(schema, ["u", "v"]), "b": named(schema, ["v", "u"])}, "'here'")


def test_ids_are_sorted_by_the_part_they_lie_in() -> None:
    """What is no row of anything is passed over."""
    assert rows_by_part(None) is None
    assert rows_by_part(frozenset({"a#1", "b/c#d#2", "#3", "x.png", "a#x"})) == {"a": [1], "b/c#d": [2], "": [3]}


def test_files_beside_the_rows_are_items_of_their_own() -> None:
    """A file may be called like a row, or like another once both are printable."""
    kinds = [("s", "s"), ("s\udce9", "s\\udce9"), ("s\\udce9", "s\\udce9~"), ("s#0", "s#0~"), ("t#0", "t#0")]
    entries = [Entry(name, name, Status.SCANNED) for name, _ in kinds]
    link = Entry("link", "link", Status.REFUSED, "a link out of the root")
    shards, others = with_ids(entries[:1], [*entries[1:], link])
    assert [*shards, *others] == [*(chosen for _, chosen in kinds), "link"]
    found = list(beside(others, frozenset({"t#0", "link", "s"}), lambda entry: f"{entry.name} is no data"))
    assert found == [
        Found("t#0", None, None, Status.IGNORED, "t#0 is no data"),
        Found("link", None, None, Status.REFUSED, "a link out of the root"),
    ]


def test_a_large_batch_comes_in_slices_that_lose_nothing() -> None:
    """Each of bounded size; those with nothing wanted are passed over."""
    batch = rows([image(bytes(2**20))] * 200, list(range(200)))
    slices = list(in_slices(5, batch))
    assert len(slices) > 2
    assert max(part.rows.nbytes for part in slices) <= 2**26
    assert [value for part in slices for value in part.rows.column("label").to_pylist()] == list(range(200))
    assert [part.first_row for part in slices] == [5 + part.rows.column("label")[0].as_py() for part in slices]
    (only,) = in_slices(5, batch, [3, 204, 205])
    assert only.rows.column("label")[-1].as_py() == 199
    assert list(in_slices(5, batch, [4, 205])) == []


def test_a_column_whose_name_is_no_text_is_a_broken_file(tmp_path: Path) -> None:
    """Arrow hands the name over as it is; whoever asks for it later could not say which file it came from."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": [1]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"label", b"lab\xffl"))
    with pytest.raises(SourceError, match=r"cannot read 'a\.parquet'"):
        schema_of(Entry("a.parquet", str(path), Status.SCANNED))
