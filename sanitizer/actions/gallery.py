"""The gallery: pictures and points of what was found, kept so that the report needs no second scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sanitizer.actions.chosen import (
    NEIGHBOUR,
    NEIGHBOURS_SHOWN,
    PATTERN,
    POINT,
    SUSPICIOUS,
    Chosen,
    Lookalikes,
    Positions,
    choose,
)
from sanitizer.actions.patterns import enlarged, mean_of, picture_of
from sanitizer.record import Verdict
from sanitizer.sources.encode import encode

if TYPE_CHECKING:
    from sanitizer.sources.base import Pixels
    from sanitizer.sources.census import Census

__all__ = ["NEIGHBOUR", "NEIGHBOURS_SHOWN", "PATTERN", "POINT", "SCHEMA", "SUSPICIOUS", "build_gallery"]

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "role": pa.string(),
        "class_name": pa.string(),
        "thumbnail": pa.binary(),
        "difference": pa.binary(),
        "losses": pa.list_(pa.float32()),
        "x": pa.float32(),
        "y": pa.float32(),
        "planted": pa.bool_(),
    }
)
#: Bytes of pictures in one gallery; what does not fit is left out, the least important first.
MAX_BYTES = 9 * 2**20
#: A point's picture is so small that only what it shows at a glance matters.
POINT_QUALITY = 70


def build_gallery(
    *,
    verdict: Verdict,
    census: Census,
    losses: NDArray[np.floating] | None,
    positions: Positions | None = None,
    alike: Lookalikes | None = None,
    limit: int = 200,
    side: int = 96,
) -> pa.Table:
    """One row for each picture and each point that the report shows, the most important first.

    Args:
        verdict: Says which samples are suspicious and which are nearest to them.
        census: Gives their pixels.
        losses: The training losses, (n, epochs) in census order, if a network was trained.
        positions: Where the samples of some classes lie on the maps of these.
        alike: Whom flagged samples look like; those without are compared with their nearest neighbours.
        limit: The most samples to show; every class gets its share of them first.
        side: Pixels of a thumbnail's side, half of it for a neighbour; smaller images stay as they are.
    """
    places = positions or {}
    chosen = choose(verdict, census, places, alike or {}, limit, side)
    if census.holds != "images":
        chosen = [one for one in chosen if one.role != PATTERN]  # which is nothing but a picture
    views = _views(chosen, census)
    rows = [_row(one, views[one.side], losses, places) for one in chosen]
    return pa.Table.from_pylist(list(_affordable(rows)), SCHEMA)


def _views(chosen: Iterable[Chosen], census: Census) -> dict[int, Mapping[int, Pixels]]:
    """Side -> row -> square of at most that side, of all that is needed: one pass over the source for each size."""
    if census.holds != "images":
        return defaultdict(dict)
    native = census.native_side()
    wanted: dict[int, set[int]] = defaultdict(set)
    for one in chosen:
        wanted[min(one.side, native)].update(one.of, one.against)
    squares = {}
    for size, rows in wanted.items():
        order = np.array(sorted(rows), np.int64)
        squares[size] = dict(zip(order.tolist(), census.views(size, order), strict=True)) if rows else {}
    return {one.side: squares[min(one.side, native)] for one in chosen}


def _row(
    one: Chosen, views: Mapping[int, Pixels], losses: NDArray[np.floating] | None, positions: Positions
) -> dict[str, Any]:
    place = positions.get(one.class_name or "", {}).get(one.id) if one.row is not None else None
    x, y = place or (None, None)
    thumbnail, difference = _pictures(one, views)
    return {
        "id": one.id, "role": one.role, "class_name": one.class_name, "thumbnail": thumbnail, "difference": difference,
        "losses": _finite(losses, one.row), "x": x, "y": y, "planted": one.planted,
    }  # fmt: skip


def _pictures(one: Chosen, views: Mapping[int, Pixels]) -> tuple[bytes, bytes]:
    """Picture and difference, encoded by us: nothing of the stored bytes gets into the report."""
    if not views or not one.of:
        return b"", b""
    mean = mean_of([views[row] for row in one.of])
    picture = picture_of(mean)
    thumbnail = encode(picture, "JPEG", POINT_QUALITY) if one.role == POINT else encode(picture, "PNG")
    if not one.against:
        return thumbnail, b""
    return thumbnail, encode(enlarged(mean - mean_of([views[row] for row in one.against]), one.gain), "PNG")


def _finite(losses: NDArray[np.floating] | None, row: int | None) -> list[float] | None:
    """The losses of one sample, if there are any that can be drawn."""
    if losses is None or row is None:
        return None
    values = np.asarray(losses[row], np.float32)
    return values[np.isfinite(values)].tolist() or None


def _affordable(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows whose pictures fit into the byte budget; of points only the picture is left out."""
    spent = accumulate(len(row["thumbnail"]) + len(row["difference"]) for row in rows)
    for row, total in zip(rows, spent, strict=True):
        if total <= MAX_BYTES:
            yield row
        elif row["role"] == POINT:
            yield row | {"thumbnail": b""}
