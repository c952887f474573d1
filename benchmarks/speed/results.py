"""The file of results: what is in it is not measured again, what could not be measured says why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.bench import Bench, Measured
from benchmarks.speed.rows import BY_NAME
from benchmarks.speed.sides import NotMeasured
from benchmarks.speed.timing import Cost
from benchmarks.speed.trials import Trial
from sanitizer.writing import write_whole

Entry = dict[str, Any]


def fill(trials: Iterable[Trial], out: Path, bench: Bench, *, again: bool = False) -> None:
    """Measure what is missing, and write it down after every trial."""
    for trial in trials:
        if not again and all(finished(read(out).get(name, {}), bench.scale) for name in trial.rows):
            continue
        found = tried(trial, bench)
        results = read(out) | found  # read again: another process may have written meanwhile
        ordered = {name: results[name] for name in BY_NAME if name in results}
        write_whole(out, (json.dumps(ordered, indent=1, allow_nan=False) + "\n").encode())
        for name, entry in found.items():
            print(line(name, entry), flush=True)


def tried(trial: Trial, bench: Bench) -> dict[str, Entry]:
    """The entries of a trial; what breaks in it costs no other."""
    try:
        measured = trial.measure(bench)
    except NotMeasured as why:
        return {name: {"goal": BY_NAME[name].goal, "not measured": str(why)} for name in trial.rows}
    return {name: entry_of(name, measured[name], bench) for name in trial.rows}


def entry_of(name: str, measured: Measured, bench: Bench) -> Entry:
    """What is written down of a ratio."""
    return {
        "ratio": rounded(measured.ratio), "goal": BY_NAME[name].goal,
        "ours": figures(measured.ours), "peer": figures(measured.peer),
        "rounds": bench.rounds, "scale": bench.scale,
        "checks": {key: value if isinstance(value, str) else rounded(value) for key, value in measured.checks.items()},
        "versions": dict(sorted(measured.versions.items())),
    }  # fmt: skip


def figures(cost: Cost) -> dict[str, float]:
    """Seconds, and where memory was looked at, bytes."""
    found = {"wall": rounded(cost.wall), "cpu": rounded(cost.cpu)}
    return found | ({"peak": cost.peak, "growth": cost.growth} if cost.peak else {})


def rounded(value: float) -> float:
    """Four digits are more than a repetition would show.

    >>> rounded(123456.0), rounded(0.0012345678)
    (123500.0, 0.001235)
    """
    return float(f"{value:.4g}")


def read(out: Path) -> dict[str, Entry]:
    """Everything measured so far."""
    if not out.exists():
        return {}
    found: dict[str, Entry] = json.loads(out.read_text(encoding="utf-8"))
    return found


def finished(entry: Mapping[str, Any], scale: float) -> bool:
    """Whether a row was measured, at this size.

    >>> finished({"ratio": 2.0, "scale": 1.0}, 1.0), finished({"not measured": "no PyOD"}, 1.0)
    (True, False)
    """
    return "ratio" in entry and entry["scale"] == scale


def line(name: str, entry: Mapping[str, Any]) -> str:
    """One row in words."""
    if "ratio" not in entry:
        return f"{name}: not measured: {entry['not measured']}"
    row = BY_NAME[name]
    goal = "no goal" if row.goal is None else f"goal {row.better} {row.goal:g}"
    seconds = f"ours {entry['ours']['wall']:g} s, peer {entry['peer']['wall']:g} s"
    return f"{name}: {entry['ratio']:g} ({goal}), {seconds}, {dict(entry['checks'])}"
