"""A folder of images, read and written back in its own layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.encode import EXTENSIONS, format_of
from sanitizer.sources.layout import Item, by_folder, by_metadata
from sanitizer.sources.metadata import FILE_COLUMN, read_metadata
from sanitizer.sources.walk import printable, read_regular, walk
from sanitizer.writing import whole_folder


class FolderSource:
    """Images in ``root/<class>/**``, ``root/<split>/<class>/**``, or flat, with or without a metadata file."""

    holds: Holds = "images"

    def __init__(self, uri: str, *, label_column: str | None = None, limits: Limits = LIMITS) -> None:
        self.uri = uri
        self.root = _existing_folder(uri)
        self._limits = limits
        entries = list(walk(str(self.root)))
        if not any(entry.is_image for entry in entries):
            raise SourceError(f"expected images in {uri!r}, found none: name a folder of images or Parquet files")
        metadata = read_metadata(self.root, limits.max_bytes)
        column = metadata.label_column(label_column) if metadata else None
        self._metadata = metadata if column else None
        self._column = column or ""
        self._layout = by_metadata(entries, metadata, column) if metadata and column else by_folder(entries)
        self.class_names = self._layout.class_names

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every item found (or only those whose id is wanted), in the order of their paths."""
        for item in self._layout.items:
            if wanted is None or item.id in wanted:
                yield self._found(item)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the folder in its own layout; see ``Source.rewrite``."""
        taken = _all_paths(item.entry.name for item in self._layout.items)
        new_ids: dict[str, str] = {}
        rows: dict[int, dict[str, Any]] = {}
        with whole_folder(destination) as copy:
            for item in self._layout.items:
                found = self._found(item)
                changed = None if found.content is None else change(found)
                if found.content is None or changed is None:
                    continue
                content, label = changed
                name = _free(self._place(item, found.content, content, label), item.entry.name, taken)
                _write(copy / name, content)
                new_ids[item.id] = printable(name)
                if self._metadata and item.row is not None:
                    said = {FILE_COLUMN: name, self._column: self._said(label)}
                    rows[item.row] = self._metadata.rows[item.row] | said
            if self._metadata:
                _write(copy / self._metadata.name, self._metadata.write(rows[row] for row in sorted(rows)))
        return new_ids

    def _found(self, item: Item) -> Found:
        entry = item.entry
        if entry.status is not Status.SCANNED:
            return Found(item.id, item.label, None, entry.status, entry.reason)
        content, status, reason = read_regular(entry.path, self._limits.max_bytes)
        return Found(item.id, item.label, content, status, reason)

    def _place(self, item: Item, old: bytes, new: bytes, label: int | None) -> str:
        """Where an item belongs in the copy: in the folder of its label, with the extension of its format."""
        path = PurePosixPath(item.entry.name)
        fmt = format_of(new)
        if fmt and fmt != format_of(old) and path.suffix.lower() not in EXTENSIONS[fmt]:
            path = path.with_suffix(EXTENSIONS[fmt][0])
        if self._layout.depth is None:
            return str(path)
        parts = list(path.parts)
        parts[self._layout.depth] = self._said(label)
        return str(PurePosixPath(*parts))

    def _said(self, label: int | None) -> Any:
        """A label as this folder says it: the name of a class folder, or a value of the label column."""
        if label is None and self._metadata:
            return None
        if label is None or not 0 <= label < len(self.class_names):
            raise UsageError(
                f"expected a label below {len(self.class_names)}, got {label}: use an index of class_names"
            )
        return self._layout.raw[label]


def _existing_folder(uri: str) -> Path:
    if not Path(uri).exists():
        raise SourceError(f"expected a folder of images or Parquet files, {uri!r} does not exist: check the path")
    if not Path(uri).is_dir():
        raise SourceError(f"expected a folder of images or Parquet files, {uri!r} is a file: name its folder")
    return Path(os.path.realpath(uri))


def _all_paths(names: Iterator[str]) -> set[str]:
    """Every path that exists in the source, folders too: the names that a moved file must avoid."""
    taken: set[str] = set()
    for name in names:
        taken.add(name)
        while "/" in name and (name := name.rpartition("/")[0]) not in taken:
            taken.add(name)
    return taken


def _free(name: str, own: str, taken: set[str]) -> str:
    """The name itself or, if somebody else has it, the first of ``stem_1``, ``stem_2``, ... that is free."""
    path, number, free = PurePosixPath(name), 0, name
    while free != own and free in taken:
        number += 1
        free = str(path.with_name(f"{path.stem}_{number}{path.suffix}"))
    taken.add(free)
    return free


def _write(path: Path, content: bytes) -> None:
    """Plainly: the folder it lies in becomes visible as a whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"cannot write {path.name!r} into the copy ({error.strerror}): check space and names"
        ) from None
