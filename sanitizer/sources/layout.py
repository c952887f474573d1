"""Which item of a folder carries which label: said by the folder it lies in, or by a metadata file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sanitizer.sources.base import Status
from sanitizer.sources.metadata import NAMES, Metadata, in_order, name_of_label
from sanitizer.sources.walk import Entry, Ids

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})


@dataclass(frozen=True, slots=True)
class Item:
    """One item as it will be streamed; its content follows when it is asked for."""

    id: str
    entry: Entry
    label: int | None = None
    row: int | None = None  # where the metadata speak of it


@dataclass(frozen=True, slots=True)
class Layout:
    """The labels of a folder, with what a copy needs to say them again."""

    class_names: tuple[str, ...]
    raw: tuple[Any, ...]  # each class as the folder has it: a folder's name, or a value of the label column
    items: tuple[Item, ...]
    depth: int | None = None  # which part of the path names the class


def by_folder(entries: Sequence[Entry]) -> Layout:
    """Labels from ``<class>/**`` or ``<split>/<class>/**``; none where all images lie in the root."""
    images = [entry.name.split("/") for entry in entries if entry.is_image]
    tops = {parts[0] for parts in images if len(parts) > 1}
    split = bool(tops) and all(top in SPLITS and _has_folders(top, images) for top in tops)
    depth = 1 if split else 0
    folders = sorted({parts[depth] for parts in images if len(parts) > depth + 1})
    ids, class_ids = Ids(), Ids()
    label_of = {folder: label for label, folder in enumerate(folders)}
    items = []
    for entry in entries:
        parts = entry.name.split("/")
        label = label_of.get(parts[depth]) if len(parts) > depth + 1 else None
        entry = _ignore_what_is_no_image(entry)
        if folders and label is None and entry.status is Status.SCANNED:
            entry = replace(entry, status=Status.IGNORED, reason="outside any class folder")
        items.append(Item(ids.take(entry.name), entry, label))
    names = tuple(class_ids.take(folder) for folder in folders)
    return Layout(names, tuple(folders), tuple(items), depth if folders else None)


def by_metadata(entries: Sequence[Entry], metadata: Metadata, column: str) -> Layout:
    """Labels from a metadata file; what it does not list is ignored, what it lists in vain is counted."""
    named = [name_of_label(row.get(column)) for row in metadata.rows]
    class_names = in_order(name for name in named if name is not None)
    index = {name: label for label, name in enumerate(class_names)}
    raw = {name: row[column] for name, row in zip(reversed(named), reversed(metadata.rows), strict=True) if name}
    labels = [None if name is None else index[name] for name in named]
    ids = Ids()
    files = [metadata.file_of(row) for row in range(len(metadata.rows))]
    rows = {file: row for row, file in reversed(list(enumerate(files))) if file is not None}  # the first one counts
    items = []
    for entry in entries:
        row = rows.get(entry.name)
        label = None if row is None else labels[row]
        items.append(Item(ids.take(entry.name), _judge(entry, row, label, metadata.name), label, row))
    present = {entry.name for entry in entries}
    for row, file in enumerate(files):
        name = f"{metadata.name}#{row}"
        if file is None:
            entry = Entry(name, "", Status.REFUSED, "points outside the root")
        elif rows[file] != row:
            entry = Entry(name, "", Status.UNREADABLE, "listed twice")
        elif file not in present:
            entry = Entry(file, "", Status.UNREADABLE, f"listed in {metadata.name}, absent from the folder")
        else:
            continue
        items.append(Item(ids.take(entry.name), entry, labels[row], row))
    return Layout(class_names, tuple(raw[name] for name in class_names), tuple(items))


def _judge(entry: Entry, row: int | None, label: int | None, metadata_name: str) -> Entry:
    if entry.status is not Status.SCANNED:
        return entry
    if row is None:
        ignored = _ignore_what_is_no_image(entry)
        reason = ignored.reason or f"not listed in {metadata_name}"
        return replace(entry, status=Status.IGNORED, reason=reason)
    if label is None:
        return replace(entry, status=Status.UNREADABLE, reason="no label")
    return entry


def _ignore_what_is_no_image(entry: Entry) -> Entry:
    if entry.status is not Status.SCANNED or entry.is_image:
        return entry
    reason = "metadata" if posixpath.basename(entry.name) in NAMES else "not an image"
    return replace(entry, status=Status.IGNORED, reason=reason)


def _has_folders(top: str, images: Iterable[Sequence[str]]) -> bool:
    return any(parts[0] == top and len(parts) > 2 for parts in images)
