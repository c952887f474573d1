"""The gallery: small pictures of the most suspicious samples, kept so that the report needs no second scan."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sanitizer.record import Verdict
from sanitizer.sources.encode import encode

if TYPE_CHECKING:
    from sanitizer.sources.census import Census

SCHEMA = pa.schema(
    [("id", pa.string()), ("role", pa.string()), ("thumbnail", pa.binary()), ("losses", pa.list_(pa.float32()))]
)
SUSPICIOUS, NEIGHBOUR = "suspicious", "neighbour"

NEIGHBOURS_SHOWN = 3
#: Bytes of thumbnails in one gallery; what does not fit is left out, the least suspicious first.
MAX_BYTES = 7 * 2**20

_Entry = tuple[str, str]  # id, role


def build_gallery(
    *, verdict: Verdict, census: Census, losses: NDArray[np.floating] | None, limit: int = 200, side: int = 96
) -> pa.Table:
    """One row for each picture that the report shows.

    Args:
        verdict: Says which samples are suspicious and which are nearest to them.
        census: Gives their pixels.
        losses: The training losses, (n, epochs) in census order, if a network was trained.
        limit: The most samples to show; every class gets its share of them first.
        side: Pixels of a thumbnail's side, half of it for a neighbour; smaller images stay as they are.
    """
    rows = {sample.id: row for row, sample in enumerate(census.samples)}
    chosen = _balanced([row for row in verdict.suspicious().to_pylist() if row["id"] in rows], limit)
    entries = [(row["id"], SUSPICIOUS) for row in chosen]
    neighbours = dict.fromkeys(name for row in chosen for name in (row["nearest"] or ())[:NEIGHBOURS_SHOWN])
    entries += [(name, NEIGHBOUR) for name in neighbours if name in rows]
    thumbnails = _thumbnails(entries, rows, census, side)
    columns = {
        "id": [name for name, _ in entries],
        "role": [role for _, role in entries],
        "thumbnail": [thumbnails[entry] for entry in entries],
        "losses": [_finite(losses, rows[name]) for name, _ in entries],
    }
    return pa.table(columns, schema=SCHEMA).slice(0, _affordable(columns["thumbnail"]))


def _balanced(rows: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` rows, their order kept: an equal share for each class, the rest by rank."""
    if not rows:
        return []
    share = max(1, limit // len({row["label_name"] for row in rows}))
    seen: Counter[str | None] = Counter()
    within: list[int] = []
    beyond: list[int] = []
    for rank, row in enumerate(rows):
        (within if seen[row["label_name"]] < share else beyond).append(rank)
        seen[row["label_name"]] += 1
    return [rows[rank] for rank in sorted((within + beyond)[:limit])]


def _thumbnails(entries: Iterable[_Entry], rows: dict[str, int], census: Census, side: int) -> dict[_Entry, bytes]:
    """The pictures, encoded by us: nothing of the stored bytes gets into the report."""
    if census.holds != "images":
        return dict.fromkeys(entries, b"")
    by_size: dict[int, list[_Entry]] = defaultdict(list)
    native = census.native_side()
    for name, role in entries:
        most = side if role == SUSPICIOUS else side // 2
        by_size[min(most, native)].append((name, role))
    return {
        entry: encode(pixels, "PNG")
        for size, group in by_size.items()
        for entry, pixels in zip(
            group, census.views(size, np.array([rows[name] for name, _ in group], np.int64)), strict=True
        )
    }


def _finite(losses: NDArray[np.floating] | None, row: int) -> list[float] | None:
    """The losses of one sample, if there are any that can be drawn."""
    if losses is None:
        return None
    values = np.asarray(losses[row], np.float32)
    return values[np.isfinite(values)].tolist() or None


def _affordable(thumbnails: Iterable[Any]) -> int:
    """How many of the thumbnails fit into the byte budget."""
    return int(np.searchsorted(np.cumsum([len(thumbnail) for thumbnail in thumbnails]), MAX_BYTES, side="right"))
