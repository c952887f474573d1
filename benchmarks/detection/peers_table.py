"""From the matrix to the tables of the peers: who was given what, who ranks and flags how, where we are behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.detection.matrix_table import by_row, plain

Run = Mapping[str, Any]

ABSENT = "Not measured yet: `python -m benchmarks.detection --matrix --peers PYTHON` does."
OURS = "ours"
#: Of a detector in a row: what is compared, and how it is called where we are behind.
MEASURES = {"auroc": "AUROC", "recall_at_0.5_percent": "recall"}
#: Means that differ by less are level.
LEVEL = 0.0005


def render(cells: Mapping[str, Run]) -> str:
    """All three tables, of the cells in which the peers were asked."""
    asked = [cell for cell in cells.values() if "failed" not in cell and len(cell["compared"]) > 1]
    if not asked:
        return f"{ABSENT}\n"
    names = list(dict.fromkeys(name for cell in asked for name in cell["compared"]))
    rows = by_row(asked)
    return "\n".join((_given(names, asked), _ranks(names, rows), _flags(names, rows)))


def behind(means: Mapping[str, Mapping[str, float | None]]) -> str:
    """Which peer is ahead of us in what; nothing where nobody is.

    >>> behind({"ours": {"auroc": 0.9}, "LOF": {"auroc": 0.95}, "slow": {"auroc": None}})
    'AUROC: LOF'
    """
    said = []
    for measure, title in MEASURES.items():
        known = {name: value for name, told in means.items() if (value := told.get(measure)) is not None}
        own = known.pop(OURS, None)
        ahead = [name for name, value in known.items() if own is not None and value > own + LEVEL]
        said += [f"{title}: {', '.join(ahead)}"] if ahead else []
    return "; ".join(said)


def averages(name: str, runs: Sequence[Run]) -> dict[str, float | None]:
    """The mean of each figure of a detector, over the seeds that have it."""
    told = [run["compared"].get(name, {}) for run in runs]
    figures = (*MEASURES, "recall", "false_positive_rate")
    known = {figure: [one[figure] for one in told if one.get(figure) is not None] for figure in figures}
    return {figure: sum(values) / len(values) if values else None for figure, values in known.items()}


def _given(names: Sequence[str], asked: Sequence[Run]) -> str:
    """What each detector was given, and what it brings of its own."""
    table = _header(["detector", "version", "given", "its own threshold", "gave no answer"])
    for name in names:
        if name == OURS:
            table += _row([OURS, "", asked[0]["given"], "set by itself from the set", ""])
            continue
        told = [cell["compared"][name] for cell in asked if name in cell["compared"]]
        versions = ", ".join(sorted({one["version"] for one in told if one["version"]}))
        reasons = [one["failed"] for one in told if one["failed"]]
        counts = "; ".join(f"{reasons.count(why)} of {len(told)}: {plain(why)}" for why in dict.fromkeys(reasons))
        table += _row([name, versions, told[0]["given"], told[0]["threshold"], counts])
    return table


def _ranks(names: Sequence[str], rows: Sequence[Sequence[Run]]) -> str:
    """AUROC and an oracle's recall, row by row, and where we are not ahead."""
    table = _header(["AUROC / recall at 0.5 % false positives", *names, "ours is behind in"])
    for runs in rows:
        if runs[0]["poison"]:
            means = {name: averages(name, runs) for name in names}
            told = [f"{_score(one['auroc'])} / {_share(one['recall_at_0.5_percent'])}" for one in means.values()]
            table += _row([_name(runs), *told, behind(means) or "nothing"])
    return table


def _flags(names: Sequence[str], rows: Sequence[Sequence[Run]]) -> str:
    """What each flags by itself, on sets without poison too."""
    table = _header(["poison flagged / clean flagged, by its own threshold", *names])
    for runs in rows:
        means = [averages(name, runs) for name in names]
        told = [f"{_share(one['recall'])} / {_share(one['false_positive_rate'], 2)}" for one in means]
        table += _row([_name(runs), *told])
    return table


def _name(runs: Sequence[Run]) -> str:
    return f"{runs[0]['data']}: {plain(runs[0]['poisoning'])}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _header(columns: Sequence[str]) -> str:
    return _row(columns) + "|" + "---|" * len(columns) + "\n"


def _row(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |\n"
