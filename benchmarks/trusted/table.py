"""From measured cells to the tables in the README: alarms on clean data, then what is found and what is noticed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binom

from benchmarks.detection.table import spread
from sanitizer.conformal import smallest_visible

GUARANTEE = """\
| clean data set (suspects, trusted) | level | runs | runs with any flag | 95 % of the time at most | smallest visible |
|---|---|---|---|---|---|
"""
POISONED = """\
| data set (suspects, trusted) | suspects | trusted | runs | poison flagged | clean flagged | "found" | "contaminated" |
|---|---|---|---|---|---|---|---|
"""
Run = Mapping[str, Any]


def render(cells: Mapping[str, Run]) -> str:
    """Both tables, as far as they were measured."""
    clean: dict[str, list[Run]] = defaultdict(list)
    dirty: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for cell in cells.values():
        if cell["kind"] == "guarantee":
            clean[cell["data"]] += [{**run, "fdr": cell["fdr"]} for run in cell["runs"]]
        else:
            dirty[cell["kind"], cell["data"]].append(cell)
    tables = [
        GUARANTEE + "".join(alarms(data, runs) for data, runs in sorted(clean.items())),
        POISONED + "".join(findings(*name, runs) for name, runs in sorted(dirty.items(), reverse=True)),
    ]
    return "\n".join(table for table, measured in zip(tables, (clean, dirty), strict=True) if measured)


def alarms(data: str, runs: Sequence[Run]) -> str:
    """How often anything at all was flagged on clean data, at the level asked for and at a laxer one."""
    counts = [
        (runs[0]["fdr"], sum(run["flagged"] > 0 for run in runs)),
        (runs[0]["lax_fdr"], sum(run["flagged_at_lax_fdr"] > 0 for run in runs)),
    ]
    return "".join(
        f"| {sizes(data, runs[0])} | {level} | {len(runs)} | {any_flag} | {allowed(len(runs), level)} | "
        f"{max(smallest_visible(run['trusted'], run['samples'], level) for run in runs)} samples |\n"
        for level, any_flag in counts
    )


def findings(kind: str, data: str, runs: Sequence[Run]) -> str:
    """What was flagged where something was planted, and whether a contaminated reference was noticed."""
    poison = f"{runs[0]['attack']}, {runs[0]['rate']:.0%}"
    reference = "poisoned alike" if kind == "contamination" else "clean"
    recall = spread([run["recall"] for run in runs], worst=min, digits=1)
    clean = spread([run["false_positive_rate"] for run in runs], worst=max, digits=3)
    found, noticed = sum(run["found"] for run in runs), sum(_noticed(run) for run in runs)
    counts = f"{found} of {len(runs)} | {noticed} of {len(runs)}"
    return f"| {sizes(data, runs[0])} | {poison} | {reference} | {len(runs)} | {recall} | {clean} | {counts} |\n"


def sizes(data: str, run: Run) -> str:
    """The set and its two halves."""
    return f"{data} ({run['samples']:,}, {run['trusted']:,})"


def allowed(runs: int, level: float) -> int:
    """The upper end of the binomial 95 % band for so many runs, each with a false alarm at ``level``.

    >>> allowed(40, 0.05)
    5
    """
    return int(binom.interval(0.95, runs, level)[1])


def _noticed(run: Run) -> bool:
    return any("contaminated" in line for line in run["incomplete"])
