"""Parquet with encoded images in a column, as Hugging Face keeps them; read and written back row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.errors import SourceError
from sanitizer.sources import shards
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.shards import batches, entries_of, is_shard, schema_of
from sanitizer.sources.table import ImageTable, beside, common_schema, parent_made, rows_by_part, same_classes, with_ids
from sanitizer.sources.walk import Entry
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
        self._shards, self._others = with_ids(
            (entry for entry in entries if _is_readable(entry)),
            (entry for entry in entries if not _is_readable(entry)),
        )
        if not self._shards:
            raise SourceError(f"expected Parquet files in {uri!r}, found none that may be read: check the path")
        schemas = {name: schema_of(entry) for name, entry in self._shards.items()}
        same_classes(schemas, repr(uri))
        self._table = ImageTable(
            common_schema(schemas, repr(uri)),
            repr(uri),
            self._values,
            image_column=image_column,
            label_column=label_column,
            limits=limits,
        )
        self.class_names = self._table.class_names

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted), file by file, then whatever else was found."""
        rows = rows_by_part(wanted)
        columns = [self._table.image.selector, *self._table.columns[1:]]
        for name, entry in self._shards.items():
            found = batches(entry, columns, None if rows is None else rows.get(name, ()))
            yield from self._table.stream(name, found, wanted)
        yield from beside(self._others, wanted, lambda entry: "not Parquet")

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the files under their own names, with all columns; see ``Source.rewrite``."""
        new_ids: dict[str, str] = {}
        with whole_folder(destination) as copy:
            for name, entry in self._shards.items():
                with _writing(parent_made(copy / entry.name), schema_of(entry)) as write:
                    new_ids |= self._table.copy(name, batches(entry, None), change, write)
        return new_ids

    def _values(self, column: str) -> Iterator[pa.Array]:
        for entry in self._shards.values():
            for batch in batches(entry, [column]):
                yield batch.rows.column(0)


@contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[Callable[[list[pa.Array]], None]]:
    """A new file that takes rows."""
    with path.open("xb") as file, pq.ParquetWriter(file, schema) as writer:
        yield lambda columns: writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _is_readable(entry: Entry) -> bool:
    return is_shard(entry) and entry.status is Status.SCANNED
