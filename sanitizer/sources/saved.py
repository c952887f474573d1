"""A folder that ``save_to_disk`` of the ``datasets`` library wrote, read without that library and without trust."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa

from sanitizer.errors import SourceError
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.saved_layout import INFO, SPLITS, STATE, describe, table_of, write_json, writing
from sanitizer.sources.shards import arrow_batches, arrow_schema_of, is_shard
from sanitizer.sources.table import beside, parent_made, rows_by_part, with_ids
from sanitizer.sources.walk import Entry, printable, read_regular, walk
from sanitizer.writing import whole_folder

_MAX_JSON = 16 * 2**20


@dataclass(frozen=True, slots=True)
class _Saved:
    """One dataset on disk: the folder itself, or a split in it."""

    prefix: str  # "" or "train/"
    state: dict[str, Any]
    info: dict[str, Any]
    files: tuple[Entry, ...]  # those that state.json lists, in its order

    def schema_of(self, entry: Entry) -> pa.Schema:
        """The columns of a file with the features that the library goes by: those of dataset_info.json."""
        schema = arrow_schema_of(entry)
        if not self.info.get("features"):
            return schema
        info = {"info": {"features": self.info["features"]}}
        return schema.with_metadata({**(schema.metadata or {}), b"huggingface": json.dumps(info).encode()})


class SavedDatasetSource:
    """A folder that ``save_to_disk`` wrote, of a Dataset or of a DatasetDict, whose splits are one set together."""

    holds: Holds = "images"

    def __init__(
        self,
        uri: str,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.uri = uri
        self.root = Path(os.path.realpath(uri))
        entries = {entry.name: entry for entry in walk(uri)}
        self._is_dict = _is_dict(entries, uri)
        prefixes = [f"{split}/" for split in _split_names(entries, uri)] if self._is_dict else [""]
        self._parts = [_read_saved(prefix, entries, uri) for prefix in prefixes]
        self._saved = {entry.name: part for part in self._parts for entry in part.files}
        readable = [entries[name] for name in self._saved if entries[name].status is Status.SCANNED]
        taken = {entry.name for entry in readable}
        self._shards, self._others = with_ids(
            readable, (entry for entry in entries.values() if entry.name not in taken)
        )
        self._table = table_of(
            {name: self._saved[entry.name].schema_of(entry) for name, entry in self._shards.items()},
            repr(uri),
            self._values,
            image_column=image_column,
            label_column=label_column,
            limits=limits,
        )
        self.class_names = self._table.class_names

    @staticmethod
    def claims(uri: str) -> bool:
        """Whether ``uri`` is a folder of Arrow files and descriptions, in which no images or Parquet lie beside."""
        marked = False
        for entry in walk(uri) if Path(uri).is_dir() else ():
            if entry.is_image or is_shard(entry):
                return False
            marked |= entry.name in (STATE, INFO, SPLITS) or ("/" not in entry.name and _is_arrow(entry))
        return marked

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted), file by file, then whatever else was found."""
        rows = rows_by_part(wanted)
        for name, entry in self._shards.items():
            found = arrow_batches(entry, self._table.columns, None if rows is None else rows.get(name, ()))
            yield from self._table.stream(name, found, wanted)
        yield from beside(self._others, wanted, _why_no_rows)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the files under their own names, with all columns; see ``Source.rewrite``."""
        new_ids: dict[str, str] = {}
        names = {entry.name: name for name, entry in self._shards.items()}
        with whole_folder(destination) as copy:
            for part in self._parts:
                kept = [entry for entry in part.files if entry.name in names]
                for entry in kept:
                    with writing(parent_made(copy / entry.name), part.schema_of(entry)) as write:
                        name = names[entry.name]
                        new_ids |= self._table.copy(name, arrow_batches(entry, None), change, write)
                files = [entry.name.removeprefix(part.prefix) for entry in kept]
                describe(copy / part.prefix, files, part.state, part.info)
            if self._is_dict:
                write_json(copy / SPLITS, {"splits": [part.prefix.removesuffix("/") for part in self._parts]})
        return new_ids

    def _values(self, column: str) -> Iterator[pa.Array]:
        for entry in self._shards.values():
            for batch in arrow_batches(entry, [column]):
                yield batch.rows.column(0)


def _is_dict(entries: Mapping[str, Entry], uri: str) -> bool:
    if SPLITS in entries and STATE in entries:
        raise SourceError(f"expected {STATE} or {SPLITS} in {uri!r}, found both: keep the one that is meant")
    if SPLITS not in entries and STATE not in entries:
        raise SourceError(
            f"expected {STATE} or {SPLITS} in {uri!r}, found neither: write the dataset with save_to_disk"
        )
    return SPLITS in entries


def _split_names(entries: Mapping[str, Entry], uri: str) -> list[str]:
    names = _plain_names(_read_json(entries, SPLITS, uri).get("splits"))
    if not names:
        raise SourceError(f"expected names of folders as the splits in {SPLITS} of {uri!r}: repair it")
    return names


def _read_saved(prefix: str, entries: Mapping[str, Entry], uri: str) -> _Saved:
    """What the descriptions of one dataset say, as far as it is harmless."""
    state = _read_json(entries, prefix + STATE, uri)
    info = _read_json(entries, prefix + INFO, uri)
    where = f"{printable(prefix + STATE)!r} of {uri!r}"
    listed = state.get("_data_files")
    files = listed if isinstance(listed, list) else []
    names = _plain_names([file.get("filename") if isinstance(file, dict) else None for file in files])
    if not names:
        raise SourceError(f"expected names of files in the same folder as _data_files in {where}: repair it")
    missing = next((name for name in names if prefix + name not in entries), None)
    if missing is not None:
        raise SourceError(f"{where} lists {printable(missing)!r}, which is not there: put it back or save again")
    found = tuple(entries[prefix + name] for name in names)
    if not any(entry.status is Status.SCANNED for entry in found):
        raise SourceError(f"expected Arrow files that may be read in {where}, found {found[0].reason}: check the path")
    return _Saved(prefix, state, info, found)


def _read_json(entries: Mapping[str, Entry], name: str, uri: str) -> dict[str, Any]:
    """A JSON object that nobody vouches for."""
    entry = entries.get(name)
    content, reason = None, "it is not there"
    if entry is not None:
        content, reason = None, entry.reason
        if entry.status is Status.SCANNED:
            content, _, reason = read_regular(entry.path, _MAX_JSON)
    if content is None:
        raise SourceError(f"cannot read {printable(name)!r} of {uri!r} ({reason}): write it again with save_to_disk")
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SourceError(f"expected a JSON object in {printable(name)!r} of {uri!r}: repair it or save again")
    return found


def _plain_names(names: object) -> list[str]:
    """The names, if all of them stay in their folder and no two are the same; otherwise none."""
    plain = [name for name in names if is_plain(name)] if isinstance(names, list) else []
    return plain if isinstance(names, list) and len(set(plain)) == len(names) else []


def is_plain(name: object) -> TypeGuard[str]:
    """Whether a name stays in its folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _is_arrow(entry: Entry) -> bool:
    return entry.name.lower().endswith(".arrow")


def _why_no_rows(entry: Entry) -> str:
    if entry.name.rpartition("/")[2] in (STATE, INFO, SPLITS):
        return "describes the dataset"
    return f"not listed in {STATE}" if _is_arrow(entry) else "not Arrow"
