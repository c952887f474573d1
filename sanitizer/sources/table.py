"""Tables with an encoded image in each row: batches of rows become items, and changed items become rows again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Status
from sanitizer.sources.columns import (
    LabelColumn,
    class_labels,
    find_image_column,
    find_label_column,
    label_column,
    plain,
)
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.shards import Batch
from sanitizer.sources.walk import Entry, Ids

#: What a row without bytes comes to: content and SCANNED, or None, the status and the reason.
Follow = Callable[[str | None], tuple[bytes | None, Status, str]]


def not_followed(_path: str | None) -> tuple[bytes | None, Status, str]:
    """Paths in files that nobody vouches for lead nowhere."""
    return None, Status.UNREADABLE, "no bytes in this row (paths are not followed)"


class ImageTable:
    """What the columns of a table mean, whatever its rows are read from.

    ``column_values`` gives a column piece by piece; it is asked for when only the values tell which classes there are.
    """

    def __init__(
        self,
        schema: pa.Schema,
        where: str,
        column_values: Callable[[str], Iterable[pa.Array]],
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        limits: Limits = LIMITS,
        follow: Follow = not_followed,
    ) -> None:
        self.schema = schema
        self.image = find_image_column(schema, image_column, where)
        self.label = _find_labels(schema, find_label_column(schema, label_column, where), column_values)
        self.class_names = self.label.class_names if self.label else ()
        self._limits = limits
        self._follow = follow

    @property
    def columns(self) -> list[str]:
        """The columns that a scan needs."""
        return [self.image.name] + ([self.label.name] if self.label else [])

    def stream(self, name: str, batches: Iterable[Batch], wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """The rows of one part of the table (or only those whose id is wanted)."""
        for batch in batches:
            for rows in (batch,) if wanted is None else _only(name, batch, wanted):
                yield from self._found(name, rows)

    def copy(
        self,
        name: str,
        batches: Iterable[Batch],
        change: Callable[[Found], Change],
        write: Callable[[list[pa.Array]], object],
        new_name: str | None = None,
    ) -> dict[str, str]:
        """Write what becomes of the rows of one part, all columns of it; returns old id -> new id of those kept."""
        new_ids: dict[str, str] = {}
        for batch in batches:
            kept, columns = self._changed(name, batch, change)
            for old in kept:
                new_ids[old] = f"{name if new_name is None else new_name}#{len(new_ids)}"
            write(columns)
        return new_ids

    def _found(self, name: str, batch: Batch) -> Iterator[Found]:
        contents = self.image.bytes_of(batch.rows).to_pylist()
        paths = _paths_of(self.image.name, batch.rows)
        labels = self.label.labels_of(batch.rows) if self.label else [None] * len(contents)
        for row, (content, path, label) in enumerate(zip(contents, paths, labels, strict=True), batch.first_row):
            status, reason = Status.SCANNED, ""
            if content is None:
                content, status, reason = self._follow(path)
            if content is not None and self.label and label is None:
                content, status, reason = None, Status.UNREADABLE, "no label of a known class"
            if content is not None and len(content) > self._limits.max_bytes:
                content, status, reason = None, Status.REFUSED, f"larger than {self._limits.max_bytes} bytes"
            yield Found(f"{name}#{row}", label, content, status, reason)

    def _changed(self, name: str, batch: Batch, change: Callable[[Found], Change]) -> tuple[list[str], list[pa.Array]]:
        """The ids of the rows that stay, and the columns of what becomes of them."""
        kept: dict[int, tuple[str, bytes, int | None]] = {}
        for index, found in enumerate(self._found(name, batch)):
            changed = None if found.content is None else change(found)
            if changed is not None:
                kept[index] = (found.id, *changed)
        rows = batch.rows.take(pa.array(list(kept), pa.int64()))
        columns = {field.name: column for field, column in zip(rows.schema, rows.columns, strict=True)}
        columns[self.image.name] = self.image.replaced(
            columns[self.image.name], [content for _, content, _ in kept.values()]
        )
        if self.label:
            labels = [self._checked(label) for _, _, label in kept.values()]
            columns[self.label.name] = self.label.stored(labels, self.schema.field(self.label.name).type)
        return [old for old, _, _ in kept.values()], list(columns.values())

    def _checked(self, label: int | None) -> int | None:
        if label is not None and not 0 <= label < len(self.class_names):
            raise UsageError(
                f"expected a label below {len(self.class_names)}, got {label}: use an index of class_names"
            )
        return label


def common_schema(schemas: Mapping[str, pa.Schema], where: str) -> pa.Schema:
    """The columns that all parts of a table share."""
    first, schema = next(iter(schemas.items()))
    if len(set(schema.names)) != len(schema.names):
        raise SourceError(f"expected columns with different names in {first!r}, found a name twice: rename one")
    for name, other in schemas.items():
        if not other.equals(schema):
            raise SourceError(f"expected the same columns in all files of {where}, {first!r} and {name!r} differ")
    return schema


def same_classes(schemas: Mapping[str, pa.Schema], where: str) -> None:
    """Label 0 must not mean a cat here and a dog there."""
    first, schema = next(iter(schemas.items()))
    declared = class_labels(schema)
    for name, other in schemas.items():
        if class_labels(other) != declared:
            raise SourceError(
                f"expected the same class names in all of {where}, {first!r} and {name!r} differ: scan them one by one"
            )


def rows_by_part(wanted: frozenset[str] | None) -> dict[str, list[int]] | None:
    """Which rows of which part the wanted ids may mean; None where everything is wanted."""
    if wanted is None:
        return None
    rows: dict[str, list[int]] = {}
    for name, _, row in (wanted_id.rpartition("#") for wanted_id in wanted):
        if row.isdecimal():
            rows.setdefault(name, []).append(int(row))
    return rows


def with_ids(shards: Iterable[Entry], others: Iterable[Entry]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Files by id: those whose rows are items, and those that are one item each. No two ids are the same."""
    ids = Ids()
    rows_in = {ids.take(entry.name): entry for entry in shards}
    return rows_in, {ids.take(_no_row(entry.name, rows_in)): entry for entry in others}


def beside(others: Mapping[str, Entry], wanted: frozenset[str] | None, why: Callable[[Entry], str]) -> Iterator[Found]:
    """The files that hold no rows, as items; ``why`` says for what reason an intact one is no data."""
    for name, entry in others.items():
        if wanted is None or name in wanted:
            intact = entry.status is Status.SCANNED
            status, reason = (Status.IGNORED, why(entry)) if intact else (entry.status, entry.reason)
            yield Found(name, None, None, status, reason)


def parent_made(path: Path) -> Path:
    """The path, its folder existing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _find_labels(
    schema: pa.Schema, name: str | None, column_values: Callable[[str], Iterable[pa.Array]]
) -> LabelColumn | None:
    if name is None:
        return None
    column = label_column(schema, name, ())
    if column.class_names:
        return column
    values: set[object] = set()
    for piece in column_values(name):
        values.update(plain(piece.unique()))
    return label_column(schema, name, values)


def _only(name: str, batch: Batch, wanted: frozenset[str]) -> Iterator[Batch]:
    """The wanted rows one by one, so that nothing is made of the others."""
    for index in range(batch.rows.num_rows):
        if f"{name}#{batch.first_row + index}" in wanted:
            yield Batch(batch.first_row + index, batch.rows.slice(index, 1))


def _paths_of(name: str, rows: pa.RecordBatch) -> list[str | None]:
    """The paths beside the bytes, None where there are none."""
    column = rows.column(rows.schema.get_field_index(name))
    place = column.type.get_field_index("path") if pa.types.is_struct(column.type) else -1
    if place < 0 or not pa.types.is_string(column.type.field(place).type):
        return [None] * rows.num_rows
    return list(column.flatten()[place].to_pylist())


def _no_row(name: str, shards: Mapping[str, Entry]) -> str:
    """A file may be called like a row of another; ids must differ."""
    return name + "~" if name.rpartition("#")[0] in shards else name
