"""Parquet and Arrow files that nobody vouches for: found, opened, and read in batches of bounded size."""

from __future__ import annotations

import glob
import os
import stat
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sanitizer.errors import SourceError
from sanitizer.sources.base import Status
from sanitizer.sources.walk import Entry, look_at, printable, walk

PARQUET = (".parquet",)

_BATCH_ROWS = 1000
_BATCH_BYTES = 64 * 2**20


class _Unfit(ValueError):
    """A file that is intact and not read all the same; the message says why."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one file."""

    first_row: int
    rows: pa.RecordBatch


def claims(uri: str, suffixes: tuple[str, ...] = PARQUET) -> bool:
    """Whether ``uri`` means Parquet: a file, a glob that finds some, or a folder whose images all lie in Parquet.

    Other kinds of files that hold many samples are told by their ``suffixes``.
    """
    if Path(uri).is_dir():
        shards = False
        for entry in walk(uri):
            if entry.is_image:
                return False
            shards = shards or is_shard(entry, suffixes)
        return shards
    if _is_glob(uri):
        return any(is_shard(entry, suffixes) for entry in entries_of(uri)[1])
    return uri.lower().endswith(suffixes)


def entries_of(uri: str, expected: str = "a Parquet file") -> tuple[Path, list[Entry]]:
    """The root that a file, a glob or a folder means, and everything that was found in it."""
    if Path(uri).is_dir():
        return Path(os.path.realpath(uri)), list(walk(uri))
    if _is_glob(uri):
        fixed, pattern = _split_glob(uri)
        root = os.path.realpath(fixed)
        found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207  (names relative to the root)
        names = sorted(set(found), key=os.fsencode)
        return Path(root), [look_at(name, root) for name in names if not Path(root, name).is_dir()]
    if not Path(uri).is_file():
        raise SourceError(f"expected {expected}, {uri!r} does not exist or is no regular file: check the path")
    path = Path(uri).absolute()
    # The user named this very file, so a link is followed.
    return Path(os.path.realpath(path.parent)), [Entry(path.name, os.path.realpath(path), Status.SCANNED)]


def is_shard(entry: Entry, suffixes: tuple[str, ...] = PARQUET) -> bool:
    """Whether the name claims to be Parquet, or what these suffixes stand for."""
    return entry.name.lower().endswith(suffixes)


def schema_of(entry: Entry) -> pa.Schema:
    """The columns of a file."""
    try:
        with _opened(entry) as file:
            return _readable(file.schema_arrow)
    except Exception as error:
        raise _broken(entry, error) from None


def arrow_schema_of(entry: Entry) -> pa.Schema:
    """The columns of an Arrow stream."""
    try:
        with _regular(entry) as raw, pa.ipc.open_stream(raw) as reader:
            return _readable(reader.schema)
    except Exception as error:
        raise _broken(entry, error, "Arrow stream") from None


def batches(entry: Entry, columns: list[str] | None, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
    """The rows of a file, validated before anybody uses them; row groups with no wanted row are passed over."""
    if wanted is not None and not wanted:
        return
    wanted = None if wanted is None else sorted(wanted)
    try:
        with _regular(entry) as raw, pq.ParquetFile(raw) as plain, _as_stored(raw, plain) as file:
            start = 0
            for group in range(file.num_row_groups):
                facts = file.metadata.row_group(group)
                end = start + facts.num_rows
                if is_wanted(wanted, start, facts.num_rows):
                    size = batch_rows(facts.num_rows, facts.total_byte_size)
                    for rows in file.iter_batches(batch_size=size, row_groups=[group], columns=columns):
                        rows.validate(full=True)
                        for part in _unpacked(rows, plain.schema_arrow):
                            yield Batch(start, part)
                            start += part.num_rows
                    if start != end:
                        raise ValueError("another number of rows than it announces")
                start = end
    except Exception as error:  # whatever a broken file makes Arrow raise; the reader of the batches cannot raise here
        raise _broken(entry, error) from None


def arrow_batches(entry: Entry, columns: list[str] | None, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
    """The rows of an Arrow stream, validated before anybody uses them; those far from a wanted row are passed over."""
    if wanted is not None and not wanted:
        return
    wanted = None if wanted is None else sorted(wanted)
    try:
        with _regular(entry) as raw:
            messages = pa.ipc.MessageReader.open_stream(raw)
            schema = pa.ipc.read_schema(messages.read_next_message())
            start = 0
            for message in messages:
                rows = _rows_of(message, schema)
                yield from in_slices(start, rows if columns is None else rows.select(columns), wanted)
                start += rows.num_rows
    except Exception as error:  # as above
        raise _broken(entry, error, "Arrow stream") from None


def in_slices(start: int, rows: pa.RecordBatch, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
    """Many rows as batches of bounded size, validated; ``wanted`` is sorted."""
    if not is_wanted(wanted, start, rows.num_rows):
        return
    rows.validate(full=True)  # before anything is asked of them: even their size follows offsets
    size = batch_rows(rows.num_rows, rows.nbytes)
    for first in range(0, rows.num_rows, size):
        part = rows.slice(first, size)
        if is_wanted(wanted, start + first, part.num_rows):
            yield Batch(start + first, part)


def batch_rows(rows: int, size: int) -> int:
    """How many rows to take at a time where so many have that size in bytes."""
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size)))


def is_wanted(wanted: Sequence[int] | None, start: int, rows: int) -> bool:
    """Whether any of these rows is; ``wanted`` is sorted."""
    return wanted is None or bisect_left(wanted, start) < bisect_left(wanted, start + rows)


@contextmanager
def _regular(entry: Entry) -> Iterator[BinaryIO]:
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as raw:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("not a regular file")
        yield raw


@contextmanager
def _opened(entry: Entry) -> Iterator[pq.ParquetFile]:
    with _regular(entry) as raw, pq.ParquetFile(raw) as file:
        yield file


def _as_stored(raw: BinaryIO, plain: pq.ParquetFile) -> pq.ParquetFile:
    """The file once more, so that values stored once for many rows stay one value in memory.

    Unpacked by Arrow, a thousand rows that all point at one value of four megabytes are four gigabytes; and no size
    that the file announces tells, for it counts the value once.
    """
    paths = {plain.schema.column(index).path for index in range(len(plain.schema))}
    texts = [name for field in plain.schema_arrow for name in _texts(field)]
    return pq.ParquetFile(raw, metadata=plain.metadata, read_dictionary=[name for name in texts if name in paths])


def _texts(field: pa.Field) -> list[str]:
    """The columns of text or bytes that a field consists of; what lies in lists is no image and no label."""
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{name}" for part in field.type for name in _texts(part)]
    kinds = (pa.types.is_binary, pa.types.is_string, pa.types.is_large_binary, pa.types.is_large_string)
    return [field.name] if any(is_kind(field.type) for is_kind in kinds) else []


def _unpacked(rows: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows as the schema has them, in slices that stay small without their dictionaries."""
    kinds = [_as_in(column.type, schema.field(name).type) for name, column in zip(rows.schema.names, rows, strict=True)]
    wanted = pa.schema(list(zip(rows.schema.names, kinds, strict=True)), rows.schema.metadata)
    ends = np.cumsum(sum((_sizes(column) for column in rows), np.zeros(rows.num_rows, np.int64)))
    first = 0
    while first < rows.num_rows:
        before = ends[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + _BATCH_BYTES, "right")))
        yield rows.slice(first, end - first).cast(wanted)
        first = end


def _as_in(read: pa.DataType, schema: pa.DataType) -> pa.DataType:
    """The type that the schema has, as far as it was read: of a struct maybe only some fields."""
    if not pa.types.is_struct(read):
        return schema
    return pa.struct([pa.field(part.name, _as_in(part.type, schema.field(part.name).type)) for part in read])


def _sizes(column: pa.Array) -> NDArray[np.int64]:
    """How many bytes each row points at in a dictionary."""
    if pa.types.is_struct(column.type):
        return sum((_sizes(part) for part in column.flatten()), np.zeros(len(column), np.int64))
    if not pa.types.is_dictionary(column.type) or not _texts(pa.field("", column.type.value_type)):
        return np.zeros(len(column), np.int64)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    sizes: NDArray[np.int64] = pc.fill_null(lengths.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return sizes


def _readable(schema: pa.Schema) -> pa.Schema:
    """The schema, unless a name in it is no text: Arrow notices late, when the name is asked for."""
    _ = schema.names
    return schema


def _rows_of(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """The rows in a message that is no larger in memory than in the file: nothing in it is a bomb."""
    if message.type != "record batch":
        raise _Unfit("has dictionaries, which the datasets library does not write")
    if _is_compressed(message.metadata.to_pybytes()):
        raise _Unfit("compressed, which the datasets library does not do")
    return pa.ipc.read_record_batch(message, schema)


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch declares a codec, by the flatbuffer that Arrow has verified (Message.fbs)."""

    def field(table: int, slot: int) -> int:
        """Where a field of a table lies, 0 if it is not set."""
        fields = table - struct.unpack_from("<i", metadata, table)[0]
        length = struct.unpack_from("<H", metadata, fields)[0]
        place = 4 + 2 * slot
        offset = struct.unpack_from("<H", metadata, fields + place)[0] if place < length else 0
        return table + offset if offset else 0

    header = field(struct.unpack_from("<I", metadata, 0)[0], 2)
    return field(header + struct.unpack_from("<I", metadata, header)[0], 3) != 0


def _broken(entry: Entry, error: Exception, kind: str = "Parquet") -> SourceError:
    what = error.strerror if isinstance(error, OSError) and error.strerror else f"no intact {kind}"
    what = str(error) if isinstance(error, _Unfit) else what
    return SourceError(f"cannot read {printable(entry.name)!r} ({what}): replace the file or leave it out")


def _is_glob(uri: str) -> bool:
    return glob.has_magic(uri) and not os.path.lexists(uri)


def _split_glob(uri: str) -> tuple[str, str]:
    """The longest folder without a wildcard, and the rest."""
    parts = uri.split("/")
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or ("/" if uri.startswith("/") else "."), "/".join(parts[first:])
