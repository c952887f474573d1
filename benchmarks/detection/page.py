"""The matrix as heat maps and plots: the page of `sanitizer evaluate`, with the peers beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.detection.matrix_table import by_row
from benchmarks.detection.peers_table import averages
from sanitizer.evaluation.charts import charts
from sanitizer.evaluation.pages import page
from sanitizer.evaluation.tables import Entry, Table, tables

_SAYS = (
    "The chance that a poisoned sample scores higher than a clean one, on the same features; mean over seeds. What "
    "only flags is ranked by its flags."
)
_COVER = re.compile(r" cover=\S+")


def page_of(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """One HTML file, without scripts or network."""
    measured = list(cells.values())
    given = {cell["given"] for cell in measured if "given" in cell}
    codes = {cell["code"] for cell in measured if "code" in cell}
    facts = {"The scans were given": "; ".join(sorted(given)), "Code": ", ".join(sorted(codes))}
    told = {name: said for name, said in facts.items() if said}
    return page([*_peers(cells), *tables(measured)], told, charts(_of_one_attack(measured)))


def _of_one_attack(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cells with cover samples left out of their names: there are as many as poisons ask for, at every rate.

    >>> [cell["row"] for cell in _of_one_attack([{"row": "toys: wanet cover=0.02 at 0.01"}])]
    ['toys: wanet at 0.01']
    """
    return [{**cell, "row": _COVER.sub("", cell["row"])} for cell in cells]


def _peers(cells: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """How the peers rank, if they were asked at all."""
    asked = [cell for cell in cells.values() if len(cell.get("compared", {})) > 1 and cell["poison"]]
    names = list(dict.fromkeys(name for cell in asked for name in cell["compared"]))
    rows = tuple(
        (str(runs[0]["row"]), tuple(_entry(averages(name, runs)["auroc"]) for name in names)) for runs in by_row(asked)
    )
    return [Table("AUROC of peers", _SAYS, ("set", *names), rows, hot=True, centred=True)] if rows else []


def _entry(value: float | None) -> Entry:
    return Entry("–") if value is None else Entry(f"{value:.3f}", heat=value)
