"""What the page reads of a gallery, whichever version of this package wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.actions.gallery import SCHEMA
from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY, SUMMARY

#: What every gallery has had; what later ones have beside it reads as nulls where it is absent.
ALWAYS = ("id", "role", "thumbnail")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Exhibits:
    """The rows of a gallery, by what they are for."""

    entries: tuple[Entry, ...]

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Entry]:
        """Each row by its id and role."""
        return {(entry["id"], entry["role"]): entry for entry in self.entries}

    @cached_property
    def illustrated(self) -> bool:
        """Whether there is any picture: vectors have none."""
        return any(entry["thumbnail"] for entry in self.entries)

    def of(self, role: str) -> list[Entry]:
        """The rows of one role, in the gallery's order."""
        return [entry for entry in self.entries if entry["role"] == role]


def read_exhibits(folder: Path) -> Exhibits:
    """The gallery in a verdict folder; ``VerdictError`` if there is none."""
    try:
        table = pq.read_table(folder / GALLERY, partitioning=None)
        table.validate(full=True)
        table.select(ALWAYS)
        columns = [_column(table, field) for field in SCHEMA]
        return Exhibits(tuple(pa.table(columns, schema=SCHEMA).to_pylist()))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        line = str(error).splitlines()[0]
        raise VerdictError(f"expected {GALLERY} in {folder} beside {SUMMARY}; got: {line}; scan again") from None


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    return table[field.name].cast(field.type)
