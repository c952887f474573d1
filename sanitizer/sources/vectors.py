"""Ready-made vectors in a column of Parquet: each row is a sample, and its float32 bytes are its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources import shards
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.columns import (
    LabelColumn,
    expect_column,
    find_label_column,
    label_column,
    may_hold_images,
    one_line,
    plain,
)
from sanitizer.sources.shards import Batch, batches, entries_of, is_shard, schema_of
from sanitizer.sources.table import beside, common_schema, parent_made, rows_by_part, with_ids
from sanitizer.sources.walk import Entry
from sanitizer.writing import whole_folder

Vectors = NDArray[np.float32]  # (n, d)


class ParquetVectorSource:
    """One Parquet file, a glob of them, or a folder of them, with a list of floats in each row."""

    holds: Holds = "vectors"

    def __init__(self, uri: str, *, vector_column: str | None = None, label_column: str | None = None) -> None:
        self.uri = uri
        self.root, entries = entries_of(uri)
        self._shards, self._others = with_ids(
            (entry for entry in entries if _is_readable(entry)),
            (entry for entry in entries if not _is_readable(entry)),
        )
        if not self._shards:
            raise SourceError(f"expected Parquet files in {uri!r}, found none that may be read: check the path")
        schemas = {name: schema_of(entry) for name, entry in self._shards.items()}
        self._schema = common_schema(schemas, repr(uri))
        self._vector = _find_vector_column(self._schema, vector_column, repr(uri))
        self._length = self._first_length()
        self._label = self._find_labels(label_column)
        self.class_names = self._label.class_names if self._label else ()

    @staticmethod
    def claims(uri: str) -> bool:
        """Whether ``uri`` means Parquet with vectors and nothing that could be images."""
        try:
            entries = entries_of(uri)[1] if shards.claims(uri) else []
            schema = next((schema_of(entry) for entry in entries if _is_readable(entry)), None)
        except SourceError:  # somebody else will say what is wrong with it
            return False
        return schema is not None and bool(_vector_columns(schema)) and not may_hold_images(schema)

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted), file by file, then whatever else was found."""
        rows = rows_by_part(wanted)
        columns = [self._vector] + ([self._label.name] if self._label else [])
        for name, entry in self._shards.items():
            for batch in batches(entry, columns, None if rows is None else rows.get(name, ())):
                for found in self._found(name, batch):
                    if wanted is None or found.id in wanted:
                        yield found
        yield from beside(self._others, wanted, lambda entry: "not Parquet")

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the files under their own names, with all columns; vectors that stay keep their precision."""
        new_ids: dict[str, str] = {}
        with whole_folder(destination) as copy:
            for name, entry in self._shards.items():
                schema, written = schema_of(entry), 0
                with ExitStack() as stack:
                    file = stack.enter_context(parent_made(copy / entry.name).open("xb"))
                    writer = stack.enter_context(pq.ParquetWriter(file, schema))
                    for batch in batches(entry, None):
                        kept, rows = self._changed(name, batch, change)
                        new_ids |= {old: f"{name}#{written + index}" for index, old in enumerate(kept)}
                        written += len(kept)
                        writer.write_table(pa.Table.from_arrays(rows, schema=schema))
        return new_ids

    def _first_length(self) -> int:
        """How long the vectors are: as long as the first."""
        for name, entry in self._shards.items():
            for batch in batches(entry, [self._vector], [0]):
                first = batch.rows.column(0)[0]
                if not first.is_valid or not len(first):
                    raise _wrong_length(len(first) if first.is_valid else -1, 0, repr(f"{name}#0"))
                return len(first)
        return 0

    def _find_labels(self, wanted: str | None) -> LabelColumn | None:
        name = find_label_column(self._schema, wanted, repr(self.uri))
        if name is None:
            return None
        column = label_column(self._schema, name, ())
        if column.class_names:
            return column
        values: set[object] = set()
        for entry in self._shards.values():
            for batch in batches(entry, [name]):
                values.update(plain(batch.rows.column(0).unique()))
        column = label_column(self._schema, name, values)
        return column if column.class_names else None

    def _found(self, name: str, batch: Batch) -> Iterator[Found]:
        vectors = self._vectors(name, batch)
        labels = self._label.labels_of(batch.rows) if self._label else [None] * len(vectors)
        for row, (vector, label) in enumerate(zip(vectors, labels, strict=True), batch.first_row):
            if self._label and label is None:
                yield Found(f"{name}#{row}", None, None, Status.UNREADABLE, "no label of a known class")
            else:
                yield Found(f"{name}#{row}", label, content_of(vector), Status.SCANNED)

    def _vectors(self, name: str, batch: Batch) -> Vectors:
        column = batch.rows.column(batch.rows.schema.get_field_index(self._vector))

        def row_at(index: int) -> str:
            return repr(f"{name}#{batch.first_row + index}")

        lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
        for index in np.flatnonzero(lengths != self._length)[:1]:
            raise _wrong_length(int(lengths[index]), self._length, row_at(index))
        return finite(_matrix(column, self._length), row_at)

    def _changed(self, name: str, batch: Batch, change: Callable[[Found], Change]) -> tuple[list[str], list[pa.Array]]:
        """The ids of the rows that stay, and the columns of what becomes of them."""
        kept: dict[int, tuple[str, bytes | None, int | None]] = {}
        for index, found in enumerate(self._found(name, batch)):
            changed = None if found.content is None else change(found)
            if changed is not None:
                content, label = changed
                kept[index] = (found.id, None if content == found.content else content, label)
        rows = batch.rows.take(pa.array(list(kept), pa.int64()))
        columns = {field.name: column for field, column in zip(rows.schema, rows.columns, strict=True)}
        contents = [content for _, content, _ in kept.values()]
        columns[self._vector] = _replaced(columns[self._vector], contents, self._length)
        labels = [checked_label(label, self.class_names) for _, _, label in kept.values()]
        if self._label:
            columns[self._label.name] = self._label.stored(labels, self._schema.field(self._label.name).type)
        return [old for old, _, _ in kept.values()], list(columns.values())


def content_of(vector: NDArray[Any]) -> bytes:
    """The bytes that a vector is known by.

    >>> content_of(np.array([1.0, 2.0])).hex()
    '0000803f00000040'
    """
    return np.ascontiguousarray(vector, "<f4").tobytes()


def finite(rows: NDArray[Any], row_at: Callable[[int], str]) -> Vectors:
    """The rows as float32, all of them finite; ``row_at`` says where a row came from."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = rows.astype(np.float32)
    fine = np.isfinite(narrow)
    if not fine.all():
        index = int((~fine).any(axis=1).argmax())
        value = rows[index][~fine[index]][0]
        raise SourceError(f"expected finite float32 numbers, got {value} in {row_at(index)}: repair or remove this row")
    return narrow


def put_into(rows: NDArray[Any], contents: list[bytes | None]) -> None:
    """New vectors in place of the old ones, in whatever precision these are kept."""
    for index, content in enumerate(contents):
        if content is None:
            continue
        if len(content) != 4 * rows.shape[1]:
            raise UsageError(
                f"expected vectors of {rows.shape[1]} float32 numbers, got {len(content)} bytes: keep the length"
            )
        with np.errstate(over="ignore"):
            rows[index] = np.frombuffer(content, "<f4")
        if not np.isfinite(rows[index]).all():
            raise UsageError(f"expected numbers that fit into {rows.dtype}, got larger ones: change vectors by less")


def checked_label(label: int | None, class_names: tuple[str, ...]) -> int | None:
    """The label, if there is such a class."""
    if label is not None and not 0 <= label < len(class_names):
        raise UsageError(f"expected a label below {len(class_names)}, got {label}: use an index of class_names")
    return label


def _is_readable(entry: Entry) -> bool:
    return is_shard(entry) and entry.status is Status.SCANNED


def _wrong_length(length: int, expected: int, row: str) -> SourceError:
    what = f"a vector of {expected} numbers, as in the first row" if expected else "a vector of at least one number"
    came = "null" if length < 0 else f"{length} numbers"
    return SourceError(f"expected {what}, got {came} in {row}: repair or remove this row")


def _vector_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_list(field.type) and pa.types.is_floating(field.type.value_type)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _find_vector_column(schema: pa.Schema, wanted: str | None, where: str) -> str:
    expect_column(schema, wanted, where)
    names = [name for name in _vector_columns(schema) if wanted in (None, name)]
    if len(names) != 1:
        found = one_line(", ".join(f"{field.name} ({field.type})" for field in schema if wanted in (None, field.name)))
        advice = "convert it, or name another with --image-column" if wanted else "name or make one (--image-column)"
        raise SourceError(f"expected one column of vectors (lists of floats) in {where}, found {found}: {advice}")
    return names[0]


def _matrix(column: pa.Array, length: int) -> NDArray[Any]:
    """Lists of one length as rows, in their own precision; a null among the numbers becomes NaN."""
    flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, length)


def _replaced(column: pa.Array, contents: list[bytes | None], length: int) -> pa.Array:
    """The column with other vectors where there are any."""
    if all(content is None for content in contents):
        return column
    rows = _matrix(column, length).copy()
    put_into(rows, contents)
    kind = column.type
    numbers = pa.array(rows.ravel(), kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(numbers, type=kind)
    offsets = np.arange(0, len(numbers) + 1, length)
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), numbers, type=kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbers, type=kind)
