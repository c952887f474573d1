"""The matrix as a heat map: the page of `sanitizer evaluate`, with the peers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.detection.matrix_table import by_row
from benchmarks.detection.peers_table import averages
from sanitizer.evaluation.pages import page
from sanitizer.evaluation.tables import Entry, Table, tables

_SAYS = (
    "The chance that a poisoned sample scores higher than a clean one, on the same features; mean over seeds. What "
    "only flags is ranked by its flags."
)


def page_of(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """One HTML file, without scripts or network."""
    measured = list(cells.values())
    given = {cell["given"] for cell in measured if "given" in cell}
    codes = {cell["code"] for cell in measured if "code" in cell}
    facts = {"The scans were given": "; ".join(sorted(given)), "Code": ", ".join(sorted(codes))}
    return page([*_peers(cells), *tables(measured)], {name: said for name, said in facts.items() if said})


def _peers(cells: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """How the peers rank, if they were asked at all."""
    asked = [cell for cell in cells.values() if len(cell.get("compared", {})) > 1 and cell["poison"]]
    names = list(dict.fromkeys(name for cell in asked for name in cell["compared"]))
    rows = tuple(
        (str(runs[0]["row"]), tuple(_entry(averages(name, runs)["auroc"]) for name in names)) for runs in by_row(asked)
    )
    return [Table("AUROC of peers", _SAYS, ("set", *names), rows, centred=True)] if rows else []


def _entry(value: float | None) -> Entry:
    return Entry("–") if value is None else Entry(f"{value:.3f}", heat=value)
