"""From measured ratios to their table, so that no figure there is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.detection.matrix_table import plain
from benchmarks.speed.rows import ROWS, Row

ABSENT = "Not measured yet: `make bench-speed` does."
HEADER = """\
| ratio | what | goal | measured | ours | the other side | rounds |
|---|---|---|---|---|---|---|
"""


def render(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Every row that was measured, in the order of the promises; and what could not be, with the reason."""
    measured = [row for row in ROWS if "ratio" in entries.get(row.name, {})]
    failed = [row for row in ROWS if "not measured" in entries.get(row.name, {})]
    parts = [HEADER + "".join(line(row, entries[row.name]) for row in measured)] if measured else []
    reasons = "".join(f"- {row.name}: {plain(entries[row.name]['not measured'])}\n" for row in failed)
    parts += [f"Not measured, and why:\n\n{reasons}"] if failed else []
    return "\n".join(parts) or f"{ABSENT}\n"


def line(row: Row, entry: Mapping[str, Any]) -> str:
    """One ratio, in bold where it misses its goal."""
    ratio = written(row, entry["ratio"])
    goal = "" if row.goal is None else f"{'≥' if row.better == '>=' else '≤'} {written(row, row.goal)}"
    shown = f"**{ratio}**" if row.met(entry["ratio"]) is False else ratio
    ours, peer = (side(row, entry[name]) for name in ("ours", "peer"))
    fields = [f"`{row.name}`", plain(row.compares), goal, shown, ours, peer, str(entry["rounds"])]
    return f"| {' | '.join(fields)} |\n"


def written(row: Row, value: float) -> str:
    """A ratio in its own unit.

    >>> written(ROWS[0], 35.0)
    '35 x'
    """
    match row.unit:
        case "x":
            return f"{value:.3g} x" if value < 1000 else f"{value:,.0f} x"
        case "bytes":
            return f"{value:,.0f} B"
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def side(row: Row, cost: Mapping[str, float]) -> str:
    """Seconds on the wall and of computing; where memory is what counts, megabytes.

    >>> side(ROWS[0], {"wall": 1.5, "cpu": 1.25})
    '1.5 s (1.25 s computing)'
    """
    if row.name == "epic_memory":
        return f"{cost['growth'] / 1e6:,.1f} MB"
    if row.unit == "bytes":
        return f"{cost['peak'] / 1e6:,.0f} MB"
    return f"{cost['wall']:.3g} s ({cost['cpu']:.3g} s computing)"
