"""A verdict as a notebook shows it: one small fragment of HTML without scripts, network or fixed backgrounds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sanitizer.actions.report import brief, number, shown
from sanitizer.record import Verdict

#: What one fragment shows; the rest is counted, and is in the verdict's table.
MAX_CLASSES, MAX_SAMPLES, MAX_LINES = 20, 10, 6
#: Characters of one name, of one sentence, of a number.
MAX_NAME, MAX_TEXT, MAX_NUMBER = 120, 240, 24
#: Bytes that each part may take: whatever the names are, all of it stays below 40 kB.
LINES_ROOM, TABLE_ROOM = 4_000, 14_000

#: By exit code: green, red, amber. Each can be read on a white page and on a black one.
_COLOURS = ("#1f8a4c", "#db4046", "#b36b00")
_CELL = "text-align:left;min-width:4.5em"  # endless names are broken, short words are not


def fragment(verdict: Verdict) -> str:
    """The answer, the counts, what limits it, the classes and the samples that are most suspicious."""
    summary, colour = verdict.summary, _COLOURS[verdict.exit_code]
    counts = " · ".join(f"{number(count)} {status}" for status, count in verdict.counts.items())
    limits = [f"Incomplete: {why}" for why in verdict.incomplete] + list(summary.get("notes", ()))
    flagged = verdict.suspicious()
    return "".join(
        [
            f'<div style="overflow-wrap:anywhere"><p style="border-left:4px solid {colour};padding-left:.6em">',
            f'<strong style="color:{colour};font-size:1.15em">{_text(summary["answer"]["sentence"])}</strong><br>',
            f"{_text(counts)} · exit code {verdict.exit_code}</p>",
            _list(limits),
            _table(
                "Classes, most suspicious first",
                ("class", "size", "flagged", "evidence", "reason"),
                [_class_cells(entry) for entry in sorted(summary["classes"], key=_suspicion)[:MAX_CLASSES]],
                len(summary["classes"]),
            ),
            _table(
                "Samples, most suspicious first",
                ("id", "label", "kind", "score", "reason"),
                [_sample_cells(row) for row in flagged.slice(0, MAX_SAMPLES).to_pylist()],
                flagged.num_rows,
            ),
            "</div>",
        ]
    )


def _text(value: object, most: int = MAX_TEXT) -> str:
    r"""Text from outside: nothing of it acts, hides, or goes on for ever.

    >>> _text("<b>\u202e</b>")
    '&lt;b&gt;\\u202e&lt;/b&gt;'
    """
    return html.escape(brief(shown(value), most - len(" … ")))


def _class_cells(entry: Mapping[str, Any]) -> list[str]:
    figures = [_text(number(entry.get(name)), MAX_NUMBER) for name in ("size", "suspicious", "score")]
    return [_text(entry["name"], MAX_NAME), *figures, _text(entry.get("reason", ""))]


def _sample_cells(row: Mapping[str, Any]) -> list[str]:
    label = "–" if row["label_name"] is None else row["label_name"]
    names = [_text(name, MAX_NAME) for name in (row["id"], label, row["kind"])]
    return [*names, _text(number(row["score"]), MAX_NUMBER), _text(next(iter(row["reasons"] or ()), ""))]


def _suspicion(entry: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    """What classes are sorted by: those that hide a planted group, then by their share of flagged samples."""
    share = entry.get("suspicious", 0) / max(entry.get("size", 1), 1)
    return not entry.get("hidden", False), -share, -(entry.get("score") or 0.0), entry["name"]


def _list(lines: Sequence[str]) -> str:
    items = _within((f"<li>{_text(line)}</li>" for line in lines[:MAX_LINES]), LINES_ROOM)
    more = [f"<li>{_more(len(lines) - len(items))}</li>"] if len(items) < len(lines) else []
    return f"<ul>{''.join(items + more)}</ul>" if lines else ""


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    """A table of escaped cells, and how many of the ``total`` are not in it; nothing where there are none."""
    if not rows:
        return ""
    body = _within((_row("td", row) for row in rows), TABLE_ROOM)
    more = f"<p>{_more(total - len(body))}</p>" if len(body) < total else ""
    return (
        f'<table style="color:inherit"><caption style="{_CELL}">{caption}</caption>'
        f"<thead>{_row('th', heads)}</thead><tbody>{''.join(body)}</tbody></table>{more}"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f'<{tag} style="{_CELL}">{cell}</{tag}>' for cell in cells) + "</tr>"


def _more(count: int) -> str:
    return f"… and {count:,} more"


def _within(parts: Iterable[str], room: int) -> list[str]:
    """The first parts, as many as fit into so many bytes together.

    >>> _within(["four", "four", "four"], 10)
    ['four', 'four']
    """
    kept: list[str] = []
    for part in parts:
        room -= len(part.encode())
        if room < 0:
            break
        kept.append(part)
    return kept
