"""From the matrix to the short table in the README: one row an attack and rate, one column a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.detection.matrix_table import ABSENT, by_row

Run = Mapping[str, Any]

#: Kinds of attack, in the order of the table; what is in none of them comes last.
ORDER = (
    "badnets", "blended", "trojan", "wanet", "dynamic", "bpp", "frequency", "tact",
    "adaptive_blend", "adaptive_patch", "adaptive_kway",
    "sig", "label_consistent", "sleeper_agent", "hidden_trigger",
    "feature_collision", "bullseye", "convex_polytope", "witches_brew",
    "flip",
)  # fmt: skip
CONTROL = "none"


def render(cells: Mapping[str, Run]) -> str:
    """What was flagged of the poison and of the rest, and in how many runs."""
    rows = by_row(cells.values())
    if not rows:
        return f"{ABSENT}\n"
    found = {(_poisoning(runs), _set(runs)): _said(runs) for runs in rows}
    sets = list(dict.fromkeys(name for _, name in sorted(found, key=lambda key: (key[1].split()[0], -_size(key[1])))))
    poisonings = sorted({poisoning for poisoning, _ in found}, key=_place)
    table = _line(["poison", *sets]) + _line(["---"] * (len(sets) + 1))
    return table + "".join(
        _line([" ".join(map(str, one)).strip(), *(found.get((one, name), "") for name in sets)]) for one in poisonings
    )


def _poisoning(runs: Sequence[Run]) -> tuple[str, str]:
    """The attack, whom it leads where if not all to one class, and at what rate.

    >>> _poisoning([{"poisoning": "badnets mode=all_to_all at 0.01"}])
    ('badnets all to all', '1 %')
    """
    words = runs[0]["poisoning"].split()
    mode = [word.removeprefix("mode=").replace("_", " ") for word in words if word.startswith("mode=")]
    return " ".join([words[0], *mode]), f"{float(words[-1]) * 100:g} %" if "at" in words else ""


def _set(runs: Sequence[Run]) -> str:
    return f"{runs[0]['data']} ({runs[0]['samples']:,})"


def _size(name: str) -> int:
    return int(name.split("(")[1].rstrip(")").replace(",", ""))


def _said(runs: Sequence[Run]) -> str:
    """The mean share of the poison and of the clean samples that was flagged."""
    ours = [run["compared"]["ours"] for run in runs]
    recalls = [one["recall"] for one in ours if one["recall"] is not None]
    poison = f"{sum(recalls) / len(recalls) * 100:.0f} % / " if recalls else ""
    clean = sum(one["false_positive_rate"] for one in ours) / len(ours)
    return f"{poison}{clean * 100:.2f} % ({len(runs)})"


def _place(poisoning: tuple[str, str]) -> tuple[int, str, str]:
    name, rate = poisoning
    attack = name.split()[0]
    last = len(ORDER) + (attack == CONTROL)
    return ORDER.index(attack) if attack in ORDER else last, name, rate


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |\n"
