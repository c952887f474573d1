"""From the matrix to its table in the README: every set and attack, the mean over seeds and the worst."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.detection.table import spread

Run = Mapping[str, Any]

ABSENT = "Not measured yet: `python -m benchmarks.detection --matrix` does."
HEADER = """\
| data set (samples) | poison | runs | poison flagged | clean flagged | "found" | AUROC |
|---|---|---|---|---|---|---|
"""


def render(cells: Mapping[str, Run]) -> str:
    """One row for each set and poisoning, the controls among them; and what could not be measured."""
    rows = "".join(row(runs) for runs in by_row(cells.values()))
    parts = [HEADER + rows] if rows else []
    failed = [f"- {cell['name']}: {plain(cell['failed'])}\n" for cell in cells.values() if "failed" in cell]
    codes = {cell["code"] for cell in cells.values() if "code" in cell}
    parts += [f"Measured with {len(codes)} versions of the code.\n"] if len(codes) > 1 else []
    parts += ["Not measured, and why:\n\n" + "".join(sorted(failed))] if failed else []
    return "\n".join(parts) or f"{ABSENT}\n"


def by_row(cells: Iterable[Run]) -> list[list[Run]]:
    """The measured cells that differ only in their seed, set by set."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for cell in cells:
        if "failed" not in cell:
            groups[cell["data"], cell["poisoning"]].append(cell)
    return [runs for _, runs in sorted(groups.items())]


def row(runs: list[Run]) -> str:
    """What happened over the seeds, at the tool's own threshold."""
    ours = [run["compared"]["ours"] for run in runs]
    recalls = [one["recall"] for one in ours if one["recall"] is not None]
    ranks = [one["auroc"] for one in ours if one["auroc"] is not None]
    fields = [
        f"{runs[0]['data']} ({runs[0]['samples']:,})",
        plain(runs[0]["poisoning"]),
        f"{len(runs)}",
        spread(recalls, worst=min, digits=1) if recalls else "",
        spread([one["false_positive_rate"] for one in ours], worst=max, digits=3),
        f"{sum(run['poison_found'] for run in runs)} of {len(runs)}",
        f"{sum(ranks) / len(ranks):.3f}" if ranks else "",
    ]
    return f"| {' | '.join(fields)} |\n"


def plain(text: str) -> str:
    r"""Text that ends no field of a table.

    >>> print(plain("a|b"))
    a\|b
    """
    return text.replace("|", "\\|")
