"""The ``metadata.csv`` or ``metadata.jsonl`` that lists the images of a flat folder and their labels."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanitizer.errors import SourceError
from sanitizer.sources.walk import printable, read_regular

NAMES = ("metadata.csv", "metadata.jsonl")
LABEL_COLUMNS = ("label", "labels", "class", "category")
FILE_COLUMN = "file_name"


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata file as it was read: rows are kept whole, so that they can be written again."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def label_column(self, wanted: str | None) -> str | None:
        """The column with the labels: the wanted one, or the first with a name that means it."""
        if wanted is not None:
            if wanted not in self.columns:
                found = ", ".join(self.columns)
                raise SourceError(f"expected a column {wanted!r} in {self.name}, found {found}: choose one of these")
            return wanted
        return next((column for column in LABEL_COLUMNS if column in self.columns), None)

    def file_of(self, row: int) -> str | None:
        """The file a row speaks of, relative to the root; None if it does not lie inside of it."""
        name = self.rows[row].get(FILE_COLUMN)
        if not isinstance(name, str) or not name or "\0" in name or name.startswith("/"):
            return None
        normal = posixpath.normpath(name)
        return None if normal in (".", "..") or normal.startswith("../") else normal

    def write(self, rows: Iterable[dict[str, Any]]) -> bytes:
        """The same file with other rows."""
        text = io.StringIO(newline="")
        if self.name.endswith(".csv"):
            writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            text.writelines(json.dumps(row) + "\n" for row in rows)
        return text.getvalue().encode("utf-8", "surrogateescape")


def read_metadata(root: Path, max_bytes: int) -> Metadata | None:
    """The metadata file in ``root``, None where there is none that names files."""
    listing = {entry.name for entry in os.scandir(root) if not entry.is_dir(follow_symlinks=False)}
    present = [name for name in NAMES if name in listing]
    if not present:
        return None
    if len(present) > 1:
        raise SourceError(f"expected one metadata file in {str(root)!r}, found {' and '.join(present)}: keep one")
    name = present[0]
    content, _, reason = read_regular(str(root / name), max_bytes)
    if content is None:
        raise SourceError(f"{name} in {str(root)!r} cannot be used ({reason}): replace it by a regular file")
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        metadata = _from_csv(name, text) if name.endswith(".csv") else _from_jsonl(name, text)
    except (ValueError, csv.Error, RecursionError):
        raise SourceError(f"{name} in {str(root)!r} is no {name.split('.')[1].upper()}: repair or remove it") from None
    return metadata if FILE_COLUMN in metadata.columns else None


def name_of_label(value: object) -> str | None:
    """The class a label stands for: 3, 3.0 and "3" are one; None where there is no label.

    >>> name_of_label(3), name_of_label("cat"), name_of_label("")
    ('3', 'cat', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        return None
    return printable(str(value)).strip() or None


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted, as numbers where all of them are.

    >>> in_order({"10", "9"}), in_order({"b", "a"})
    (('9', '10'), ('a', 'b'))
    """
    unique = set(names)
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in unique):
        return tuple(sorted(unique, key=lambda name: (int(name), name)))
    return tuple(sorted(unique))


def _from_csv(name: str, text: str) -> Metadata:
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    rows = tuple(reader)
    return Metadata(name, _unique(reader.fieldnames or ()), rows)


def _from_jsonl(name: str, text: str) -> Metadata:
    rows = tuple(json.loads(line) for line in text.split("\n") if line.strip())
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line that is no object")
    return Metadata(name, tuple(dict.fromkeys(column for row in rows for column in row)), rows)


def _unique(columns: Sequence[str]) -> tuple[str, ...]:
    if len(set(columns)) != len(columns):
        raise ValueError("a column twice")
    return tuple(columns)
