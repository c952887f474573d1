"""Parquet with encoded images in a column, as Hugging Face keeps them; read and written back row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources import shards
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.columns import LabelColumn, find_image_column, find_label_column, label_column, plain
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.shards import Batch, batches, entries_of, is_shard, schema_of
from sanitizer.sources.walk import Entry, Ids
from sanitizer.writing import whole_folder


class ParquetSource:
    """One Parquet file, a glob of them, or a folder of them, all with the same columns."""

    holds: Holds = "images"
    claims = staticmethod(shards.claims)

    def __init__(
        self,
        uri: str,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.uri = uri
        self.root, entries = entries_of(uri)
        self._limits = limits
        ids = Ids()
        self._shards = {ids.take(entry.name): entry for entry in entries if _is_readable(entry)}
        self._others = {
            ids.take(_no_row(entry.name, self._shards)): entry for entry in entries if not _is_readable(entry)
        }
        if not self._shards:
            raise SourceError(f"expected Parquet files in {uri!r}, found none that may be read: check the path")
        self._schema = _common_schema(self._shards, uri)
        self._image = find_image_column(self._schema, image_column, repr(uri))
        self._label = self._find_labels(label_column)
        self.class_names = self._label.class_names if self._label else ()

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted), file by file, then whatever else was found."""
        rows = None if wanted is None else _rows_by_shard(wanted)
        columns = [self._image.selector] + ([self._label.name] if self._label else [])
        for name, entry in self._shards.items():
            for batch in batches(entry, columns, None if rows is None else rows.get(name, ())):
                for found in self._found(name, batch):
                    if wanted is None or found.id in wanted:
                        yield found
        for name, entry in self._others.items():
            if wanted is None or name in wanted:
                yield _other(name, entry)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the files under their own names, with all columns; see ``Source.rewrite``."""
        new_ids: dict[str, str] = {}
        with whole_folder(destination) as copy:
            for name, entry in self._shards.items():
                schema = schema_of(entry)
                (copy / entry.name).parent.mkdir(parents=True, exist_ok=True)
                with ExitStack() as stack:
                    file = stack.enter_context((copy / entry.name).open("xb"))
                    writer = stack.enter_context(pq.ParquetWriter(file, schema))
                    written = 0
                    for batch in batches(entry, None):
                        kept, rows = self._changed(name, batch, change)
                        new_ids |= {old: f"{name}#{written + index}" for index, old in enumerate(kept)}
                        written += len(kept)
                        writer.write_table(pa.Table.from_arrays(rows, schema=schema))
        return new_ids

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
        return label_column(self._schema, name, values)

    def _found(self, name: str, batch: Batch) -> Iterator[Found]:
        contents = self._image.bytes_of(batch.rows).to_pylist()
        labels = self._label.labels_of(batch.rows) if self._label else [None] * len(contents)
        for row, (content, label) in enumerate(zip(contents, labels, strict=True), batch.first_row):
            found = Found(f"{name}#{row}", label, content, Status.SCANNED)
            if content is None:
                reason = "no bytes in this row (paths are not followed)"
                found = replace(found, status=Status.UNREADABLE, reason=reason)
            elif self._label and label is None:
                found = replace(found, content=None, status=Status.UNREADABLE, reason="no label of a known class")
            elif len(content) > self._limits.max_bytes:
                reason = f"larger than {self._limits.max_bytes} bytes"
                found = replace(found, content=None, status=Status.REFUSED, reason=reason)
            yield found

    def _changed(self, name: str, batch: Batch, change: Callable[[Found], Change]) -> tuple[list[str], list[pa.Array]]:
        """The ids of the rows that stay, and the columns of what becomes of them."""
        kept: dict[int, tuple[str, bytes, int | None]] = {}
        for index, found in enumerate(self._found(name, batch)):
            changed = None if found.content is None else change(found)
            if changed is not None:
                kept[index] = (found.id, *changed)
        rows = batch.rows.take(pa.array(list(kept), pa.int64()))
        columns = {field.name: column for field, column in zip(rows.schema, rows.columns, strict=True)}
        columns[self._image.name] = self._image.replaced(
            columns[self._image.name], [content for _, content, _ in kept.values()]
        )
        if self._label:
            labels = [self._checked(label) for _, _, label in kept.values()]
            columns[self._label.name] = self._label.stored(labels, self._schema.field(self._label.name).type)
        return [old for old, _, _ in kept.values()], list(columns.values())

    def _checked(self, label: int | None) -> int | None:
        if label is not None and not 0 <= label < len(self.class_names):
            raise UsageError(
                f"expected a label below {len(self.class_names)}, got {label}: use an index of class_names"
            )
        return label


def _is_readable(entry: Entry) -> bool:
    return is_shard(entry) and entry.status is Status.SCANNED


def _common_schema(entries: dict[str, Entry], uri: str) -> pa.Schema:
    schemas = {name: schema_of(entry) for name, entry in entries.items()}
    first, schema = next(iter(schemas.items()))
    if len(set(schema.names)) != len(schema.names):
        raise SourceError(f"expected columns with different names in {first!r}, found a name twice: rename one")
    for name, other in schemas.items():
        if not other.equals(schema):
            raise SourceError(f"expected the same columns in all files of {uri!r}, {first!r} and {name!r} differ")
    return schema


def _rows_by_shard(wanted: frozenset[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for name, _, row in (wanted_id.rpartition("#") for wanted_id in wanted):
        if row.isdecimal():
            rows.setdefault(name, []).append(int(row))
    return rows


def _no_row(name: str, shard_names: dict[str, Entry]) -> str:
    """A file may be called like a row of another; ids must differ."""
    return name + "~" if name.rpartition("#")[0] in shard_names else name


def _other(name: str, entry: Entry) -> Found:
    if entry.status is Status.SCANNED:
        return Found(name, None, None, Status.IGNORED, "not Parquet")
    return Found(name, None, None, entry.status, entry.reason)
