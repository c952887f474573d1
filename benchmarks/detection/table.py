"""From measured cells to the table in the README, so that no figure there is typed by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

END = "<!-- end -->"
HEADER = """\
| data set (samples) | network | poison | runs | poison flagged | clean flagged | clean labels doubted | "found" |
|---|---|---|---|---|---|---|---|
"""


def render(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """One row for each data set and attack: the mean over seeds, and the worst."""
    groups: dict[tuple[str, str, str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells.values():
        groups[cell["data"], network(cell), cell["attack"], cell["rate"]].append(cell)
    return HEADER + "".join(row(*name, runs) for name, runs in sorted(groups.items()))


def network(cell: Mapping[str, Any]) -> str:
    """What looked at the images.

    >>> network({"model": "probe", "reference": "a.safetensors"})
    'probe, a'
    """
    names = [cell.get("model", "probe"), cell.get("reference")]
    return ", ".join(name.removesuffix(".safetensors") for name in names if name)


def row(data: str, network: str, attack: str, rate: float, runs: list[Mapping[str, Any]]) -> str:
    """What happened over the seeds."""
    poison = "none" if attack == "clean" else f"{attack}, {rate:.0%}"
    doubted = spread([run.get("clean_labels_doubted", 0.0) for run in runs], worst=max, digits=2)
    found = sum(run["found"] for run in runs)
    clean = spread([run["false_positive_rate"] for run in runs], worst=max, digits=3)
    recall = "" if attack == "clean" else spread([run["recall"] for run in runs], worst=min, digits=1)
    size = f"{runs[0]['samples']:,}"
    kind = [f"{data} ({size})", network, poison]
    outcome = [recall, clean, doubted if network != "probe" else "", f"{found} of {len(runs)}"]
    return "| " + " | ".join([*kind, str(len(runs)), *outcome]) + " |\n"


def spread(shares: list[float], *, worst: Any, digits: int) -> str:
    """Mean and worst as per cent.

    >>> spread([1.0, 0.99], worst=min, digits=1)
    '99.5 % (worst 99.0 %)'
    """
    mean = sum(shares) / len(shares)
    return f"{mean * 100:.{digits}f} % (worst {worst(shares) * 100:.{digits}f} %)"


def put_into(page: Path, tables: Mapping[str, str], benchmark: str = "detection") -> None:
    """Replace the tables of a benchmark between their marks; a page may have some of them."""
    text = page.read_text(encoding="utf-8")
    starts = {name: f"<!-- {name}: made by benchmarks/{benchmark} -->" for name in tables}
    if not any(start in text for start in starts.values()):
        wanted = " or ".join(map(repr, starts.values()))
        raise SystemExit(f"expected {wanted} and then {END!r} in {page}, found none: put them where the table goes")
    for name, start in starts.items():
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(END)
        if found and ended:
            text = f"{before}{start}\n\n{tables[name]}\n{END}{after}"
    page.write_text(text, encoding="utf-8")
