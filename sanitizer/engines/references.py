"""What a source holds, as names: blocks of ids, which whoever opens the same source can read by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sanitizer.sources import shards
from sanitizer.sources.base import Source
from sanitizer.sources.folder import FolderSource
from sanitizer.sources.parquet import ParquetSource
from sanitizer.sources.pooled import _MARK, PooledSource
from sanitizer.sources.walk import Entry
from sanitizer.sources.webdataset import TarSource

#: Items in a block, at least, where the layout lets us choose: what a worker that dies has done in vain.
BLOCK_ITEMS = 512
#: Blocks, at most, where the layout lets us choose: sources look through all they hold to find those of a block.
MOST_BLOCKS = 4096


def blocks_of(source: Source) -> list[list[str]]:
    """Every id of a source, once, in blocks that are cheap to read; contents are read only where names need it."""
    runs = list(_runs(source))
    size = max(BLOCK_ITEMS, -(-sum(map(len, runs)) // MOST_BLOCKS))
    return list(_merged(runs, size))


def _merged(runs: Iterable[Sequence[str]], size: int) -> Iterator[list[str]]:
    """Runs joined to blocks of about ``size`` ids; none is cut."""
    block: list[str] = []
    for run in runs:
        if block and len(block) + len(run) > size:
            yield block
            block = []
        block.extend(run)
    if block:
        yield block


def _runs(source: Source) -> Iterator[Sequence[str]]:
    """Ids that are read together or not at all: the rows of a row group; elsewhere each item by itself."""
    if isinstance(source, PooledSource):
        yield from _runs(source._suspect)
        for run in _runs(source._trusted):
            yield [_MARK + item for item in run]
    elif isinstance(source, FolderSource):
        yield from ([item.id] for item in source._layout.items)
    elif isinstance(source, ParquetSource):
        for name, entry in source._shards.items():
            yield from _row_groups(name, entry)
        yield from ([name] for name in source._others)
    elif isinstance(source, TarSource):
        yield from ([item] for shard in source._shards for item, _ in shard.members if item)
        yield from ([name] for name in source._others)
    else:
        yield from ([found.id] for found in source.stream())


def _row_groups(name: str, entry: Entry) -> Iterator[list[str]]:
    start = 0
    try:
        with shards._opened(entry) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except Exception as error:  # whatever a broken file makes Arrow raise
        raise shards._broken(entry, error) from None
    for rows in sizes:
        yield [f"{name}#{row}" for row in range(start, start + rows)]
        start += rows
