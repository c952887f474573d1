"""A dataset of the ``datasets`` library that the user holds in memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sanitizer.errors import SourceError
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.sources.saved import is_plain
from sanitizer.sources.saved_layout import SPLITS, describe, table_of, write_json, writing
from sanitizer.sources.shards import Batch, batch_rows, in_slices, is_wanted
from sanitizer.sources.table import parent_made, rows_by_part
from sanitizer.sources.walk import read_regular
from sanitizer.writing import whole_folder

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_MEMORY_ROWS = 100  # where the bytes lie behind paths, the table does not say how many they are


class MemoryDatasetSource:
    """A ``datasets.Dataset`` or ``DatasetDict`` that the user holds; local paths in it are the user's, and followed."""

    holds: Holds = "images"
    root: Path | None = None

    def __init__(
        self,
        dataset: Dataset | DatasetDict,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._splits = _splits_of(dataset)
        self._is_dict = isinstance(dataset, dict)
        self.uri = f"<{type(dataset).__name__}>"
        self._limits = limits
        self._table = table_of(
            {name: split.data.schema for name, split in self._splits.items()},
            self.uri,
            self._values,
            image_column=image_column,
            label_column=label_column,
            limits=limits,
            follow=self._read,
        )
        self.class_names = self._table.class_names

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted), split by split, in the order that the dataset has now."""
        rows = rows_by_part(wanted)
        for name, split in self._splits.items():
            found = self._batches(split, self._table.columns, None if rows is None else rows.get(name, ()))
            yield from self._table.stream(name, found, wanted)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Write what ``save_to_disk`` would, with one Arrow file for each split; see ``Source.rewrite``.

        The new ids are those of ``SavedDatasetSource(destination)``. All bytes lie in the copy; no format is kept.
        """
        new_ids: dict[str, str] = {}
        file = "data-00000-of-00001.arrow"
        with whole_folder(destination) as copy:
            for name, split in self._splits.items():
                home = copy / name if self._is_dict else copy
                with writing(parent_made(home / file), split.data.schema) as write:
                    new_name = f"{name}/{file}" if self._is_dict else file
                    new_ids |= self._table.copy(name, self._batches(split, None), change, write, new_name)
                state = {"_split": None if split.split is None else str(split.split)}
                describe(home, [file], state, _info_of(split))
            if self._is_dict:
                write_json(copy / SPLITS, {"splits": list(self._splits)})
        return new_ids

    def _batches(
        self, split: Dataset, columns: list[str] | None, wanted: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """The rows as Arrow has them: nothing is decoded, and selections and shuffles count."""
        rows = split.with_format("arrow")
        rows = rows if columns is None else rows.select_columns(columns)
        wanted = None if wanted is None else sorted(wanted)
        size = min(_MEMORY_ROWS, batch_rows(split.data.num_rows, split.data.nbytes))
        for start in range(0, len(rows), size):
            if is_wanted(wanted, start, min(size, len(rows) - start)):
                yield from self._pieces(start, rows[start : start + size], wanted)

    def _pieces(self, start: int, rows: pa.Table, wanted: Sequence[int] | None) -> Iterator[Batch]:
        try:
            for piece in rows.combine_chunks().to_batches():
                yield from in_slices(start, piece, wanted)
                start += piece.num_rows
        except pa.ArrowInvalid:  # loaded from a file that nobody checked
            raise SourceError(f"cannot read {self.uri} (no intact Arrow data): make the dataset again") from None

    def _values(self, column: str) -> Iterator[pa.Array]:
        for split in self._splits.values():
            for batch in self._batches(split, [column]):
                yield batch.rows.column(0)

    def _read(self, path: str | None) -> tuple[bytes | None, Status, str]:
        if path is None:
            return None, Status.UNREADABLE, "neither bytes nor a path in this row"
        if "://" in path:
            return None, Status.UNREADABLE, "not a local file (nothing is fetched)"
        if "\0" in path:
            return None, Status.UNREADABLE, "no path of a file"
        return read_regular(os.path.realpath(path), self._limits.max_bytes)


def is_dataset(value: object) -> bool:
    """Whether ``value`` is a Dataset or DatasetDict; the library is not imported to find out.

    >>> is_dataset("a/folder")
    False
    """
    library = sys.modules.get("datasets")  # what nobody has imported, nobody has made objects of
    kinds = tuple(kind for name in ("Dataset", "DatasetDict") if isinstance(kind := getattr(library, name, None), type))
    return isinstance(value, kinds)


def _splits_of(dataset: object) -> dict[str, Dataset]:
    """The datasets in it by name; "" for one alone."""
    kind = type(dataset).__name__
    if not is_dataset(dataset):
        raise SourceError(
            f"expected a datasets.Dataset or DatasetDict, got {kind}: load it without streaming, or save it to disk "
            "and name the folder"
        )
    splits: dict[Any, Any] = dict(dataset) if isinstance(dataset, dict) else {"": dataset}
    if not splits or not all(is_dataset(split) and not isinstance(split, dict) for split in splits.values()):
        raise SourceError(f"expected at least one split in the {kind}, each a datasets.Dataset: fill it first")
    if isinstance(dataset, dict) and not all(map(is_plain, splits)):
        raise SourceError(f"expected names of folders as the splits of the {kind}: rename those with a slash")
    return {str(name): split for name, split in splits.items()}


def _info_of(split: Dataset) -> dict[str, Any]:
    info = split.info
    return {
        "citation": info.citation,
        "description": info.description,
        "features": split.features.to_dict(),
        "homepage": info.homepage,
        "license": info.license,
    }
