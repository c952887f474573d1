"""One flagged sample as a picture: what it looks like, how it differs from look-alikes, who ranks it where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sanitizer.actions.chosen import GAIN
from sanitizer.actions.explain import Row, Standing, item_of, ordinal, readable, standings
from sanitizer.actions.gallery import NEIGHBOUR, NEIGHBOURS_SHOWN, SUSPICIOUS
from sanitizer.actions.patterns import enlarged, mean_of
from sanitizer.errors import UsageError, VerdictError
from sanitizer.record import GALLERY, Verdict
from sanitizer.sources.base import Pixels
from sanitizer.sources.decode import Limits, Refused, Unreadable, decode, fit
from sanitizer.sources.encode import encode, format_of
from sanitizer.sources.lettering import Colour, lettered
from sanitizer.writing import refuse_inside, write_whole

WIDTH = 960
LARGE, SMALL = 288, 96  # sides of the sample and of its neighbours
_EDGE, _GAP, _LINE = 24, 12, 20
_TITLE, _TEXT = 18, 13  # sizes of letters
_NAMES, _TRACK = 190, 430  # widths of the detectors' names and of the longest bar

_PAPER: Colour = (255, 255, 255)
_INK: Colour = (28, 30, 36)
_FAINT: Colour = (104, 108, 118)
_TROUGH: Colour = (233, 235, 239)
_BAR: Colour = (128, 146, 178)
_REASON: Colour = (197, 52, 58)

#: What a thumbnail may cost to decode: a gallery is a file like any other.
_LIMITS = Limits(max_bytes=4 * 2**20, max_pixels=1_000_000)
_KINDS = {"planted": "looks planted", "label": "its label looks wrong"}


def draw(folder: Path, id: str, path: Path) -> None:
    """Write a PNG about one flagged sample, from what the verdict folder holds.

    Args:
        folder: A verdict folder.
        id: Which sample, as for ``explain``.
        path: Where the picture goes; an earlier PNG of that name gives way.
    """
    _expect_place(path, folder)
    with readable(folder):
        verdict, row = item_of(folder, id)
        refuse_inside(path, _folder_of(verdict))
        sheet = _picture(verdict, row, _pictures(folder, row))
    write_whole(path, encode(sheet, "PNG"))


def _expect_place(path: Path, folder: Path) -> None:
    """A name that says what the file is, where nothing is lost by it."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--image: expected a name that ends in .png, got {str(path)!r}: a PNG is what is written")
    if path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--image: {str(path)!r} lies inside the verdict folder, where it is foreign: choose another")
    if not _gives_way(path):
        raise UsageError(f"--image: {str(path)!r} is there and is no PNG: choose another name, or move it away")


def _gives_way(path: Path) -> bool:
    try:
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(8)
            return not start or format_of(start) == "PNG"
        return not path.exists()
    except OSError:
        return False


def _folder_of(verdict: Verdict) -> Path | None:
    """The folder that was scanned, where it still is one."""
    source = Path(str(verdict.summary.get("source", "")))
    return source if source.name and source.is_dir() else None


def _pictures(folder: Path, row: Row) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """The rows of the gallery about a sample and its neighbours, by id and role."""
    try:
        table = pq.read_table(folder / GALLERY, partitioning=None)
        table.validate(full=True)
        wanted = pa.array([row["id"], *(row["nearest"] or ())], pa.string())
        rows = table.filter(pc.is_in(table["id"], wanted)).to_pylist()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        line = str(error).splitlines()[0]
        raise VerdictError(f"expected {GALLERY} in {folder}; got: {line}; scan again") from None
    found = {(entry["id"], entry["role"]): entry for entry in rows}
    if not found.get((row["id"], SUSPICIOUS), {}).get("thumbnail"):
        raise VerdictError(
            f"expected a sample that {GALLERY} holds a picture of, got {row['id']!r}: only images that were flagged, "
            "the most suspicious of each class, have one"
        )
    return found


def _picture(verdict: Verdict, row: Row, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> Pixels:
    """All of it on one sheet."""
    sample = found[row["id"], SUSPICIOUS]
    shown = _decoded(sample["thumbnail"])
    names = [name for name in (row["nearest"] or ())[:NEIGHBOURS_SHOWN] if (name, NEIGHBOUR) in found]
    near = [(name, _decoded(found[name, NEIGHBOUR]["thumbnail"])) for name in names]
    ranked = sorted(standings(verdict, row), key=lambda one: (one.place, one.detector))
    labels = {entry["id"]: entry["label_name"] for entry in _rows_of(verdict, names)}
    top = _EDGE + 5 * _LINE
    below = top + NEIGHBOURS_SHOWN * (SMALL + _GAP) + _LINE
    sheet = np.full((below + (len(ranked) + 1) * _LINE + _EDGE, WIDTH, 3), _PAPER, np.uint8)
    _write_heading(sheet, row)
    _show(sheet, shown, _EDGE, top, LARGE, "the sample")
    difference = _difference(shown, sample.get("difference"), [picture for _, picture in near])
    if difference is not None:
        _show(sheet, difference, _EDGE + LARGE + _GAP, top, LARGE, "the sample less look-alikes, enlarged")
    if near:
        _show_neighbours(sheet, near, labels, left=_EDGE + 2 * (LARGE + _GAP), top=top)
    among = "" if row["label_name"] is None else " in its class"
    _write(sheet, f"Rank of its score{among}, detector by detector", _EDGE, below, WIDTH, ink=_FAINT)
    _draw_ranks(sheet, ranked, below + _LINE)
    return sheet


def _rows_of(verdict: Verdict, names: Sequence[str]) -> list[dict[str, Any]]:
    named = pc.is_in(verdict.table["id"], pa.array(names, pa.string()))
    return verdict.table.filter(named).to_pylist()  # type: ignore[no-any-return]


def _decoded(content: bytes) -> Pixels:
    try:
        return decode(content, _LIMITS)
    except (Unreadable, Refused) as error:
        raise VerdictError(f"expected pictures of a scan in {GALLERY}, got one that is {error}: scan again") from None


def _difference(sample: Pixels, kept: bytes | None, near: Sequence[Pixels]) -> Pixels | None:
    """The difference that the scan kept, or one made of the thumbnails, at the neighbours' size; None without any."""
    if kept or not near:
        return _decoded(kept) if kept else None
    side = min(picture.shape[0] for picture in near)
    mean = mean_of([fit(picture, side) for picture in near])
    return enlarged(fit(sample, side).astype(np.float64) - mean, GAIN)


def _write_heading(sheet: Pixels, row: Row) -> None:
    label = "no label" if row["label_name"] is None else f"labelled {row['label_name']}"
    said = f"{label}; {_KINDS.get(row['kind'], 'not flagged')}; score {row['score']:.4g}"
    reason = (row["reasons"] or [""])[0]
    for place, (text, size, ink) in enumerate(
        [(row["id"], _TITLE, _INK), (said, _TEXT, _INK), (reason, _TEXT, _FAINT)]
    ):
        down = _EDGE + place * _LINE + (_GAP // 2 if place else 0)  # the title is higher than a line
        _write(sheet, text, _EDGE, down, WIDTH - 2 * _EDGE, size=size, ink=ink)


def _show(sheet: Pixels, picture: Pixels, left: int, top: int, side: int, caption: str) -> None:
    _write(sheet, caption, left, top - _LINE, side, ink=_FAINT)
    _paste(sheet, _sized(picture, side), left, top)


def _show_neighbours(
    sheet: Pixels, near: Sequence[tuple[str, Pixels]], labels: Mapping[str, str | None], *, left: int, top: int
) -> None:
    """Below each other, nearest first, each with its label and name."""
    beside = left + SMALL + _GAP
    _write(sheet, "its nearest neighbours", left, top - _LINE, WIDTH - _EDGE - left, ink=_FAINT)
    for place, (name, picture) in enumerate(near):
        down = top + place * (SMALL + _GAP)
        _paste(sheet, _sized(picture, SMALL), left, down)
        label = labels.get(name)
        lines = ((f"labelled {label}", _INK), (name, _FAINT)) if label is not None else ((name, _FAINT),)
        for line, (text, ink) in enumerate(lines):
            _write(sheet, text, beside, down + line * _LINE, WIDTH - _EDGE - beside, ink=ink)


def _draw_ranks(sheet: Pixels, ranked: Sequence[Standing], top: int) -> None:
    """A bar for each detector, full where no other score of the class is higher."""
    left = _EDGE + _NAMES + _GAP
    for line, one in enumerate(ranked):
        down = top + line * _LINE
        share = 1 - (one.place - 1) / max(1, one.among - 1)
        _write(sheet, one.detector, _EDGE, down, _NAMES, ink=_INK)
        sheet[down + 3 : down + _LINE - 5, left : left + _TRACK] = _TROUGH
        sheet[down + 3 : down + _LINE - 5, left : left + round(share * _TRACK)] = _REASON if one.is_reason else _BAR
        beside = left + _TRACK + _GAP
        said = f"{ordinal(one.place)} of {one.among:,}{'; a reason' if one.is_reason else ''}"
        _write(sheet, said, beside, down, WIDTH - _EDGE - beside, ink=_INK)


def _write(sheet: Pixels, text: str, left: int, top: int, most: int, *, ink: Colour, size: int = _TEXT) -> None:
    _paste(sheet, lettered(text, size, most, ink=ink, paper=_PAPER), left, top)


def _paste(sheet: Pixels, picture: Pixels, left: int, top: int) -> None:
    height, width = picture.shape[:2]
    sheet[top : top + height, left : left + width] = picture


def _sized(picture: Pixels, side: int) -> Pixels:
    """The picture as a square of that side; where it is enlarged, its pixels stay pixels."""
    times = side // max(picture.shape[:2])
    if times < 1:
        return fit(picture, side)
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    height, width = large.shape[:2]
    framed = np.full((side, side, 3), _PAPER, np.uint8)
    _paste(framed, large, (side - width) // 2, (side - height) // 2)
    return framed
