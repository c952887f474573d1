"""What the store keeps of this room: rows of frozen networks, and whole runs of a probe, finished or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import safetensors.torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from sanitizer.embed.probe import Embedding
from sanitizer.nets import Checkpoint
from sanitizer.store import Shelf, Store

#: Rows in one shard: what an interrupted scan loses at most.
SHARD_ROWS = 4096

#: Rows that are asked for -> rows and their values, a few at a time, in any order.
Compute = Callable[[NDArray[np.int64]], Iterable[tuple[NDArray[np.int64], NDArray[np.float16]]]]


def kept_rows(
    store: Store | None,
    shelf: Shelf | None,
    digests: Sequence[str],
    width: int,
    compute: Compute,
    ready: Mapping[str, NDArray[np.float16]] = MappingProxyType({}),
) -> NDArray[np.float16]:
    """One vector a sample, (n, width): from the shelf where it has them, computed and kept where it has not.

    What is ``ready``, by digest, is neither looked for nor kept.
    With a store the array is backed by a file, so that the system can page it out.
    """
    values = _blank(store, (len(digests), width))
    missing = np.ones(len(digests), bool)
    wanted: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if (known := ready.get(digest)) is not None:
            values[row], missing[row] = known, False
        else:
            wanted.setdefault(bytes.fromhex(digest), []).append(row)
    for digest_column, held in _shards(shelf, width) if wanted else ():
        for place, held_digest in enumerate(digest_column):
            rows = wanted.get(held_digest)
            if rows is not None:
                values[rows] = held[place]
                missing[rows] = False
    first = np.array([rows[0] for rows in wanted.values()], np.int64)  # copies of an image are computed once
    asked = np.sort(first[missing[first]])
    for chosen, computed in _in_shards(compute(asked) if len(asked) else (), SHARD_ROWS):
        for row, value in zip(chosen, computed, strict=True):
            values[wanted[bytes.fromhex(digests[row])]] = value
        if shelf:
            keep_rows(shelf, [digests[row] for row in chosen], computed)
    return values


def keep_rows(shelf: Shelf, digests: Sequence[str], values: NDArray[np.float16]) -> None:
    """Keep what a frozen network saw, as one shard."""
    keys = pa.array([bytes.fromhex(digest) for digest in digests], pa.binary(32))
    shelf.put(pa.table({"digest": keys, "value": _column(values)}, schema=_rows_schema(values.shape[1])))


class ProbeRun(NamedTuple):
    """A finished run of a probe."""

    spaces: dict[str, NDArray[np.floating[Any]]]
    model: str  # what was said about the network
    weights: dict[str, Tensor]  # with them it can look again, at other things


def keep_probe(shelf: Shelf, found: Embedding, model: str) -> None:
    """Keep a finished run; rows are in canonical order, which the shelf's key must fix."""
    columns = {name: _column(getattr(found, name)) for name in ("feature", "residual", "loss")}
    about: dict[str, str | bytes] = {"model": model, "weights": safetensors.torch.save(found.weights)}
    shelf.put(pa.table(columns, schema=_with_metadata(columns, about)))


def kept_probe(shelf: Shelf) -> ProbeRun | None:
    """A finished run; its spaces are memory-mapped."""
    for table in shelf.tables():
        about = table.schema.metadata or {}
        try:
            model, weights = about[b"model"].decode(), safetensors.torch.load(about[b"weights"])
        except (KeyError, SafetensorError):
            continue  # whole, but nothing that we wrote: the run begins anew
        return ProbeRun({name: _array(table[name]) for name in table.column_names}, model, weights)
    return None


def keep_space(shelf: Shelf, rows: NDArray[Any]) -> None:
    """Keep one space of a set; its rows are in canonical order, which the shelf's key must fix."""
    shelf.put(pa.table({"value": _column(rows)}))


def kept_space(shelf: Shelf) -> NDArray[Any] | None:
    """A space that was kept, memory-mapped."""
    table = next(shelf.tables(), None)
    return None if table is None else _array(table["value"])


def keep_checkpoint(shelf: Shelf, checkpoint: Checkpoint) -> None:
    """Keep a run that goes on, in place of its earlier states."""
    state = safetensors.torch.save(checkpoint.tensors)
    shelf.replace(pa.table({"epochs": [checkpoint.epochs], "state": pa.array([state], pa.large_binary())}))


def kept_checkpoint(shelf: Shelf) -> Checkpoint | None:
    """The latest state of an interrupted run."""
    table = shelf.latest("epochs")
    if table is None:
        return None
    try:
        return Checkpoint(table["epochs"][0].as_py(), safetensors.torch.load(table["state"][0].as_py()))
    except SafetensorError:
        return None  # whole, but nothing that we wrote: the run begins anew


def _blank(store: Store | None, shape: tuple[int, int]) -> NDArray[np.float16]:
    if store is None or 0 in shape:
        return np.empty(shape, np.float16)
    with store.scratch(2 * shape[0] * shape[1]) as file:  # the mapping outlives the handle
        return np.memmap(file, np.float16, "r+", shape=shape)


def _shards(shelf: Shelf | None, width: int) -> Iterator[tuple[list[bytes], NDArray[Any]]]:
    for table in shelf.tables() if shelf else ():
        if table.schema.equals(_rows_schema(width)):
            yield table["digest"].to_pylist(), _array(table["value"])


def _rows_schema(width: int) -> pa.Schema:
    return pa.schema([("digest", pa.binary(32)), ("value", pa.list_(pa.float16(), width))])


def _in_shards(
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float16]]], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Small batches joined to shards of about ``size`` rows."""
    rows: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float16]] = []
    for some_rows, some_values in batches:
        rows.append(some_rows)
        values.append(some_values)
        if sum(map(len, rows)) >= size:
            yield np.concatenate(rows), np.concatenate(values)
            rows, values = [], []
    if rows:
        yield np.concatenate(rows), np.concatenate(values)


def _column(values: NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """The rows of a column of lists, without a copy."""
    lists = column.combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    flat = lists.flatten().to_numpy(zero_copy_only=True)
    return np.asarray(flat).reshape(-1, lists.type.list_size)


def _with_metadata(columns: dict[str, pa.FixedSizeListArray], metadata: dict[str, str | bytes]) -> pa.Schema:
    return pa.schema([(name, column.type) for name, column in columns.items()], metadata=metadata)
