"""The report: one HTML file without scripts or network, built from a verdict folder alone."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from sanitizer.actions.gallery import NEIGHBOUR, NEIGHBOURS_SHOWN, SCHEMA, SUSPICIOUS
from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY, REPORT, SUMMARY, Verdict
from sanitizer.sources.base import Status
from sanitizer.sources.pooled import PooledSource
from sanitizer.writing import write_whole

# How much one page shows; the rest is counted, and is in verdicts.parquet.
MAX_CARDS = 200
MAX_CLASSES = 300
MAX_NOT_SCANNED = 200
MAX_REASONS = 5
MAX_SETTINGS = 200
MAX_NAME, MAX_REASON, MAX_TEXT = 120, 240, 1000  # characters of one name, of one reason, of anything else
MAX_PICTURES = 10 * 2**20  # characters of encoded pictures

CURVE_WIDTH, CURVE_HEIGHT, CURVE_POINTS = 120, 28, 60

# Controls, bidirectional marks and overrides, line separators, invisible and unpaired characters: none of them may
# act in the page, and the reader should see that they are there.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SETTINGS = re.compile(r"^\w+\([^()]*\) ")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A thumbnail with its caption."""

    id: str
    label: str | None
    uri: Markup | None  # None where the gallery holds no picture, or the page is full
    pixelated: bool
    trusted: bool  # it belongs to the trusted reference, not to what was scanned


@dataclass(frozen=True)
class Card:
    """One suspicious sample as the page shows it."""

    picture: Picture
    row: Mapping[str, Any]  # of the verdict table
    scores: Sequence[tuple[str, float]]  # detector, score
    nearest: Sequence[Picture]
    losses: Sequence[float]


@dataclass(frozen=True)
class Chapter:
    """Suspicious samples of one kind."""

    kind: str
    found: int  # how many there are; not all of them have a card
    cards: Sequence[Card]


def write_report(folder: Path) -> None:
    """Put ``report.html`` into a verdict folder."""
    write_whole(folder / REPORT, render_report(folder))


def render_report(folder: Path) -> bytes:
    """The page for the verdict in ``folder``; equal folders give equal bytes."""
    verdict, gallery = Verdict.read(folder), _read_gallery(folder)
    try:
        page = _template().render(_context(verdict, gallery))
    except (jinja2.TemplateError, AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        came = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictError(f"expected a verdict of `sanitizer scan` at {folder}; got {came}; scan again") from None
    return page.encode()


def shown(value: object) -> str:
    r"""Text from outside as a reader may see it: nothing invisible, nothing that reorders, no endless names.

    >>> print(shown("a\u202egnp.exe"))
    a\u202egnp.exe
    """
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), brief(value, MAX_TEXT))


def brief(value: object, most: int = MAX_NAME) -> str:
    """Start and end of a long text.

    >>> brief("abcdefghijklmnop", 9)
    'abcdef … nop'
    """
    text = str(value)
    return text if len(text) <= most else f"{text[: most - most // 3]} … {text[-(most // 3) :]}"


def number(value: float | None) -> str:
    """A number for people: thousands apart, three digits of a fraction, a dash for none.

    >>> number(12345), number(0.00012345), number(None)
    ('12,345', '0.000123', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def curve(losses: Sequence[float]) -> Markup:
    """The losses as SVG points, zero at the bottom.

    >>> curve([2.0, 1.0, 0.0])
    Markup('0.0,1.0 60.0,14.0 120.0,27.0')
    """
    at = np.linspace(0, len(losses) - 1, min(len(losses), CURVE_POINTS))
    values = np.interp(at, np.arange(len(losses)), losses)
    x = at * CURVE_WIDTH / max(at[-1], 1)
    y = CURVE_HEIGHT - 1 - values.clip(0) * (CURVE_HEIGHT - 2) / max(values.max(), 1e-9)
    return Markup(" ").join(Markup(f"{across:.1f},{down:.1f}") for across, down in zip(x, y, strict=True))


@cache
def _template() -> jinja2.Template:
    # Autoescaping is for all templates, whatever their name; ``finalize`` sees every expression, so that no name can
    # reach the page without being ``shown``.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sanitizer.actions", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else shown(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"brief": brief, "number": number, "curve": curve, "flat": _flat}
    return environment.get_template("report.html.jinja")


def _context(verdict: Verdict, gallery: pa.Table) -> dict[str, Any]:
    """Everything that the template prints, already cut to what a page can hold."""
    table, summary = verdict.table, verdict.summary
    classes = sorted(summary["classes"], key=_suspicion)
    not_scanned = table.filter(pc.is_in(table["status"], pa.array([Status.UNREADABLE, Status.REFUSED])))
    return {
        "summary": summary,
        "tone": _tone(verdict),
        "digest": verdict.digest,
        "classes": classes[:MAX_CLASSES],
        "more_classes": max(len(classes) - MAX_CLASSES, 0),
        "chapters": _chapters(verdict, gallery),
        "illustrated": pc.any(pc.not_equal(pc.binary_length(gallery["thumbnail"]), 0)).as_py() or False,
        "labelled": bool(classes) or table["label_name"].null_count < table.num_rows,
        "model": _looked(summary["model"]),
        "reference": _looked(summary.get("reference") or {}),
        "not_run": _not_run(summary["detectors"]["not_run"]),
        "visible": _visible(summary["calibration"], verdict.counts["scanned"]),
        "not_scanned": not_scanned.sort_by([("status", "ascending"), ("id", "ascending")])
        .slice(0, MAX_NOT_SCANNED)
        .select(["id", "status", "reasons"])
        .to_pylist(),
        "more_not_scanned": max(not_scanned.num_rows - MAX_NOT_SCANNED, 0),
        "curve_size": (CURVE_WIDTH, CURVE_HEIGHT),
        "max_reasons": MAX_REASONS,
        "max_reason": MAX_REASON,
    }


def _tone(verdict: Verdict) -> str:
    """The colour of the answer: planted samples weigh most, then gaps in the scan, then hostile items."""
    if verdict.poison_found:
        return "planted"
    if verdict.incomplete or not verdict.counts["scanned"]:
        return "incomplete"
    return "refused" if verdict.counts["refused"] else "clear"


def _looked(model: Mapping[str, Any]) -> str:
    """Who looked at the samples, in words; empty where nobody did.

    >>> _looked({"kind": "vectors", "width": 32})
    'no network: ready-made vectors of 32 numbers, taken as they are'
    """
    match model.get("kind"):
        case "probe":
            return f"a probe: a small network trained on this very set, {model['epochs']} epochs"
        case "backbone":
            return f"{model['name']} ({model['architecture']}), a frozen network that was not trained on this set"
        case "vectors":
            return f"no network: ready-made vectors of {model['width']:,} numbers, taken as they are"
    return str(model.get("name", ""))


def _not_run(detectors: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Names and reason, where detectors share one; a reason begins with the detector's settings, which say nothing.

    >>> _not_run([{"name": "a", "reason": "A(k=3) needs labels"}, {"name": "b", "reason": "B() needs labels"}])
    [('a, b', 'needs labels')]
    """
    names: dict[str, list[str]] = {}
    for entry in detectors:
        names.setdefault(_SETTINGS.sub("", entry["reason"]), []).append(entry["name"])
    return [(", ".join(some), reason) for reason, some in names.items()]


def _visible(calibration: Mapping[str, Any], scanned: int) -> str:
    """The smallest planted group that a trusted reference can reveal; empty without one."""
    if calibration["kind"] != "trusted":
        return ""
    fewest, size = calibration["smallest_visible"], f"{calibration['size']:,} trusted samples"
    if fewest > scanned:
        return f"With {size} nothing can be seen in a set of this size: give more of them."
    share = f"{fewest / max(1, scanned):.2%}".replace("%", " %")
    return f"With {size} the smallest planted group that can be seen has {fewest:,} samples, {share} of the set."


def _suspicion(entry: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    """What the class table is sorted by, most suspicious first."""
    return not entry["hidden"], -entry["suspicious"] / max(entry["size"], 1), -(entry["score"] or 0.0), entry["name"]


def _chapters(verdict: Verdict, gallery: pa.Table) -> list[Chapter]:
    """What looks planted, then labels in doubt."""
    cards, flagged = _cards(verdict, gallery), verdict.suspicious()["kind"].to_pylist()
    kinds = dict.fromkeys(flagged)
    return [Chapter(kind, flagged.count(kind), [card for card in cards if card.row["kind"] == kind]) for kind in kinds]


def _cards(verdict: Verdict, gallery: pa.Table) -> list[Card]:
    """The suspicious samples that the gallery holds, most suspicious first."""
    entries = {(row["id"], row["role"]): row for row in gallery.to_pylist()}
    ids = pa.array([name for name, role in entries if role == SUSPICIOUS], pa.string())
    flagged = verdict.suspicious()
    rows = flagged.filter(pc.is_in(flagged["id"], ids)).slice(0, MAX_CARDS).to_pylist()
    pictures = _Pictures(verdict, entries)
    detectors = [name for name in verdict.table.column_names if name.startswith("score_")]
    return [
        Card(
            picture=pictures.of(row["id"], SUSPICIOUS),
            row=row,
            scores=[(name.removeprefix("score_"), row[name]) for name in detectors],
            nearest=[pictures.of(name, NEIGHBOUR) for name in (row["nearest"] or ())[:NEIGHBOURS_SHOWN]],
            losses=entries[row["id"], SUSPICIOUS]["losses"] or (),
        )
        for row in rows
    ]


class _Pictures:
    """Hands out thumbnails until the page is full."""

    def __init__(self, verdict: Verdict, entries: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        self.entries = entries
        self.left = MAX_PICTURES
        self.pooled = verdict.summary["calibration"]["kind"] == "trusted"
        ids = pa.array(sorted({name for name, _ in entries}), pa.string())
        named = verdict.table.filter(pc.is_in(verdict.table["id"], ids)).select(["id", "label_name"])
        self.labels = {row["id"]: row["label_name"] for row in named.to_pylist()}

    def of(self, name: str, role: str) -> Picture:
        content = self.entries.get((name, role), {}).get("thumbnail") or b""
        uri = None
        if content.startswith(_PNG) and len(content) * 4 // 3 < self.left:
            uri = Markup("data:image/png;base64,") + Markup(base64.b64encode(content).decode())
            self.left -= len(uri)
        width = int.from_bytes(content[16:20], "big")
        trusted = self.pooled and PooledSource.is_trusted(name)
        return Picture(name, self.labels.get(name), uri, pixelated=width < 48, trusted=trusted)


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as rows of a dotted name and a text, no more than a page can hold."""
    rows = list(_leaves(value, name))
    yield from rows[:MAX_SETTINGS]
    if len(rows) > MAX_SETTINGS:
        yield "…", f"and {len(rows) - MAX_SETTINGS} more"


def _leaves(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _read_gallery(folder: Path) -> pa.Table:
    try:
        table = pq.read_table(folder / GALLERY, partitioning=None)
        table.validate(full=True)
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        line = str(error).splitlines()[0]
        raise VerdictError(f"expected {GALLERY} in {folder} beside {SUMMARY}; got: {line}; scan again") from None
