"""Parquet files that nobody vouches for: found, opened, and read in batches of bounded size."""

from __future__ import annotations

import glob
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.errors import SourceError
from sanitizer.sources.base import Status
from sanitizer.sources.walk import Entry, look_at, printable, walk

_BATCH_ROWS = 1000
_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one file."""

    first_row: int
    rows: pa.RecordBatch


def claims(uri: str) -> bool:
    """Whether ``uri`` means Parquet: a file, a glob that finds some, or a folder whose images all lie in Parquet."""
    if Path(uri).is_dir():
        shards = False
        for entry in walk(uri):
            if entry.is_image:
                return False
            shards = shards or is_shard(entry)
        return shards
    if _is_glob(uri):
        return any(is_shard(entry) for entry in entries_of(uri)[1])
    return uri.lower().endswith(".parquet")


def entries_of(uri: str) -> tuple[Path, list[Entry]]:
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
        raise SourceError(f"expected a Parquet file, {uri!r} does not exist or is no regular file: check the path")
    path = Path(uri).absolute()
    # The user named this very file, so a link is followed.
    return Path(os.path.realpath(path.parent)), [Entry(path.name, os.path.realpath(path), Status.SCANNED)]


def is_shard(entry: Entry) -> bool:
    """Whether the name claims to be Parquet."""
    return entry.name.lower().endswith(".parquet")


def schema_of(entry: Entry) -> pa.Schema:
    """The columns of a file."""
    try:
        with _opened(entry) as file:
            return file.schema_arrow
    except Exception as error:
        raise _broken(entry, error) from None


def batches(entry: Entry, columns: list[str] | None, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
    """The rows of a file, validated before anybody uses them; row groups with no wanted row are passed over."""
    if wanted is not None and not wanted:
        return
    wanted = None if wanted is None else sorted(wanted)
    try:
        with _opened(entry) as file:
            start = 0
            for group in range(file.num_row_groups):
                facts = file.metadata.row_group(group)
                end = start + facts.num_rows
                if wanted is None or bisect_left(wanted, start) < bisect_left(wanted, end):
                    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * facts.num_rows // max(1, facts.total_byte_size)))
                    for rows in file.iter_batches(batch_size=size, row_groups=[group], columns=columns):
                        rows.validate(full=True)
                        yield Batch(start, rows)
                        start += rows.num_rows
                    if start != end:
                        raise ValueError("another number of rows than it announces")
                start = end
    except Exception as error:  # whatever a broken file makes Arrow raise; the reader of the batches cannot raise here
        raise _broken(entry, error) from None


@contextmanager
def _opened(entry: Entry) -> Iterator[pq.ParquetFile]:
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as raw:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("not a regular file")
        with pq.ParquetFile(raw) as file:
            yield file


def _broken(entry: Entry, error: Exception) -> SourceError:
    what = error.strerror if isinstance(error, OSError) and error.strerror else "no intact Parquet"
    return SourceError(f"cannot read {printable(entry.name)!r} ({what}): replace the file or leave it out")


def _is_glob(uri: str) -> bool:
    return glob.has_magic(uri) and not os.path.lexists(uri)


def _split_glob(uri: str) -> tuple[str, str]:
    """The longest folder without a wildcard, and the rest."""
    parts = uri.split("/")
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or ("/" if uri.startswith("/") else "."), "/".join(parts[first:])
