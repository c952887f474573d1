"""From measured cells to the table in the README, so that no figure there is typed by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

#: Settings that have a column of their own, or are places.
_ELSEWHERE = ("samples", "rate", "surrogate", "test", "setups", "images")
#: Settings that say which classes or images a run is about: runs that differ in nothing else are one row.
_PAIRING = ("setup", "source", "target")

HEADER = """\
| attack | rate | settings | set | victim | runs | success | unpoisoned | clean accuracy | unpoisoned | published |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def render(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """One row for each attack and setting: the mean over seeds or targets, and the range."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells.values():
        fixed = {name: value for name, value in cell["settings"].items() if name not in _PAIRING}
        groups[json.dumps([cell["attack"], cell["rate"], cell["data"], cell["victim"], cell["epochs"], fixed])].append(
            cell
        )
    return HEADER + "".join(row(runs) for _, runs in sorted(groups.items()))


def row(runs: list[Mapping[str, Any]]) -> str:
    """What happened over the runs."""
    first = runs[0]
    return (
        "| "
        + " | ".join(
            [
                first["attack"],
                f"{first['rate'] * 100:g} %",
                " ".join(
                    f"{name}={value}" for name, value in first["settings"].items() if name not in _ELSEWHERE + _PAIRING
                ),
                f"{first['data']} ({sum(first['counts'][kind] for kind in ('clean', 'poison', 'cover')):,})",
                first["victim"].removesuffix(".safetensors").replace("WEIGHTS/", "")
                + (f", {first['epochs']} epochs" if first["epochs"] else ""),
                str(len(runs)),
                success(runs),
                mean(runs, "control_success"),
                mean(runs, "clean_accuracy"),
                mean(runs, "control_accuracy"),
                first["published"],
            ]
        )
        + " |\n"
    )


def success(runs: list[Mapping[str, Any]]) -> str:
    """Mean and range; of single target images, how many of them."""
    if all(run["shown"] == 1 for run in runs):
        return f"{sum(run['success'] for run in runs):.0f} of {len(runs)} targets"
    shares = [100 * run["success"] for run in runs]
    spread = f" ({min(shares):.1f}-{max(shares):.1f})" if len(shares) > 1 else ""
    return f"{sum(shares) / len(shares):.1f} %{spread}"


def mean(runs: list[Mapping[str, Any]], column: str) -> str:
    """As per cent."""
    return f"{100 * sum(run[column] for run in runs) / len(runs):.1f} %"
