"""Why a sample was flagged, or was not: everything that a verdict folder says about it, in words."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.errors import VerdictError
from sanitizer.record import Verdict
from sanitizer.sources.base import Status

_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")
#: Names offered where one is not known, or not by itself.
_OFFERED = 3
#: Ids that an unknown one is compared with: so many before and after it, by beginning and by end.
_COMPARED = 1000
_KINDS = {"planted": "Flagged: it looks planted.", "label": "Flagged: its label looks wrong."}

Row = Mapping[str, Any]


def explain(folder: Path, id: str) -> list[str]:
    """Lines about one item.

    Args:
        folder: A verdict folder.
        id: The id of the item, an end of it that no other id has, or six or more digits of its sha256.
    """
    with readable(folder):
        return list(_lines(*item_of(folder, id)))


@dataclass(frozen=True)
class Standing:
    """Where a detector's score of an item stands among those of its class."""

    detector: str
    score: float
    place: int  # 1: the highest; equal scores share the better place
    among: int
    is_reason: bool  # the detector spoke against the item


def item_of(folder: Path, id: str) -> tuple[Verdict, Row]:
    """The verdict, and the item of it that is meant; ``VerdictError`` if there is none."""
    verdict = Verdict.read(folder)
    return verdict, _row_of(verdict.table, id)


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Turns whatever a foreign verdict leads to into an error of one line."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        came = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictError(f"expected a verdict of `sanitizer scan` at {folder}; got {came}; scan again") from None


def standings(verdict: Verdict, row: Row) -> list[Standing]:
    """What every detector says about a scanned item, in the order of the table."""
    peers = _peers(verdict.table, row)
    says = {entry["name"]: entry["says"] for entry in verdict.summary["detectors"]["run"]}
    names = [name for name in verdict.table.column_names if name.startswith("score_") and row[name] is not None]
    return [
        Standing(
            detector=(name := column.removeprefix("score_")),
            score=row[column] + 0.0,  # -0.0 is 0
            place=_place(peers, column, row),
            among=peers.num_rows,
            is_reason=says.get(name) in (row["reasons"] or ()),
        )
        for column in names
    ]


def _row_of(table: pa.Table, id: str) -> Row:
    """The item that is meant; ``VerdictError`` with the nearest ids if it is none, or more than one."""
    ids = table["id"]
    found = table.filter(pc.equal(ids, id))
    if not found.num_rows and id:
        found = table.filter(pc.ends_with(ids, id))
    if not found.num_rows and _DIGEST_PREFIX.fullmatch(id.lower()):
        found = table.filter(pc.fill_null(pc.starts_with(table["digest"], id.lower()), False))
    if found.num_rows == 1:
        return found.to_pylist()[0]  # type: ignore[no-any-return]
    if found.num_rows:
        named = ", ".join(sorted(found["id"].to_pylist())[:_OFFERED])
        raise VerdictError(f"expected one item, {id!r} means {found.num_rows:,} of them ({named}, ...): name all of it")
    near = difflib.get_close_matches(id, _alike(id, ids.to_pylist()), _OFFERED, cutoff=0)
    raise VerdictError(f"expected an item of this verdict, got {id!r}: did you mean {' or '.join(map(repr, near))}?")


def _alike(id: str, known: list[str]) -> list[str]:
    """The ids that begin like this one, and those that end like it: to compare with a million takes minutes."""
    alike: set[str] = set()
    for step in (1, -1):
        turned = sorted(name[::step] for name in known)
        place = bisect.bisect(turned, id[::step])
        alike.update(name[::step] for name in turned[max(0, place - _COMPARED) : place + _COMPARED])
    return sorted(alike)


def _lines(verdict: Verdict, row: Row) -> Iterator[str]:
    said = "" if row["label_name"] is None else f", labelled {row['label_name']}"
    yield f"{row['id']}: {row['status']}{said}"
    if row["digest"]:
        yield f"sha256 {row['digest']}"
    if row["status"] != Status.SCANNED:
        yield f"Why: {'; '.join(row['reasons'] or ['no reason was kept'])}."
        return
    peers = _peers(verdict.table, row)
    yield _KINDS[row["kind"]] if row["suspicious"] else "Not flagged."
    rank = f"{ordinal(_place(peers, 'score', row))} of {peers.num_rows:,}"
    yield f"p-value {row['p_value']:.3g}, score {row['score']:.4g}: {rank}"
    for reason in row["reasons"] or ():
        yield f"  {reason}"
    yield from _about_the_class(verdict.summary, row)
    yield "Detectors, with the rank of its score" + (" in its class:" if row["label_name"] is not None else ":")
    yield from _about_detectors(standings(verdict, row))
    yield f"Nearest: {', '.join(row['nearest'])}" if row["nearest"] else "Nearest: kept of flagged samples only."
    yield f"Calibration: {verdict.summary['calibration']['says']}"


def _about_the_class(summary: Mapping[str, Any], row: Row) -> Iterator[str]:
    """What was concluded about the class, and from how much evidence on."""
    margin = summary["calibration"].get("class_margin")
    for entry in summary["classes"]:
        if entry["name"] == row["label_name"]:
            least = "" if margin is None else f" (suspect from {margin:.4g} on)"
            yield f"Class {entry['name']}: evidence {entry['score']:.4g}{least}; {entry['reason'] or 'nothing found'}."


def _about_detectors(standings: Sequence[Standing]) -> Iterator[str]:
    """Each detector's score and rank, and whether it spoke against the sample."""
    width = max((len(one.detector) for one in standings), default=0)
    for one in standings:
        reason = "; a reason" if one.is_reason else ""
        yield f"  {one.detector:<{width}}  {one.score:>10.4g}  {ordinal(one.place)} of {one.among:,}{reason}"


def _peers(table: pa.Table, row: Row) -> pa.Table:
    """What an item is ranked among: the scanned samples of its class, or all of them where there are no classes."""
    peers = table.filter(pc.equal(table["status"], str(Status.SCANNED)))
    labelled = row["label_name"] is not None
    return peers.filter(pc.equal(peers["label_name"], row["label_name"])) if labelled else peers


def _place(peers: pa.Table, column: str, row: Row) -> int:
    """Where a score stands among those of the same class; equal scores share the better place."""
    return 1 + (pc.sum(pc.greater(peers[column], row[column])).as_py() or 0)


def ordinal(place: int) -> str:
    """A place in words.

    >>> [ordinal(place) for place in (1, 2, 3, 4, 11, 23, 112)]
    ['highest', '2nd highest', '3rd highest', '4th highest', '11th highest', '23rd highest', '112th highest']
    """
    if place == 1:
        return "highest"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{ending} highest"
