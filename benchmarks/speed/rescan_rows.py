"""Scans of what is known already over the first one, as commands that a user would give."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Measured
from benchmarks.speed.sides import NotMeasured, environment
from benchmarks.speed.timing import Cost, median

CHANGED = 0.01


def again(bench: Bench) -> dict[str, Measured]:
    """Every round begins with an empty store; start-up is the same command on a few images whose verdict is known."""
    count = bench.size(50_000)
    folder = bench.made(f"rescan_{count}", partial(_sets_and_network, count=count))
    rounds = [_round(folder) for _ in range(bench.rounds)]
    cost = {name: median([one[name] for one in rounds]) for name in rounds[0]}
    first, checks = cost["first"].net_of(cost["start-up"]), {"seconds of start-up": cost["start-up"].wall}
    changed, unchanged = (cost[name].net_of(cost["start-up"]) for name in ("changed", "unchanged"))
    return {
        "rescan_changed": Measured(changed.wall / first.wall, changed, first, checks),
        "rescan_unchanged": Measured(unchanged.wall / first.wall, unchanged, first, checks),
    }


def _round(folder: Path) -> dict[str, Cost]:
    """In the only order there is: nothing is known before the first scan."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:  # nothing may be written into a source
        _scan(folder, "few.parquet", scratch)
        first = _scan(folder, "set.parquet", scratch)
        rest = {"start-up": "few.parquet", "unchanged": "set.parquet", "changed": "changed.parquet"}
        return {"first": first} | {name: _scan(folder, source, scratch) for name, source in rest.items()}


def _scan(folder: Path, source: str, scratch: str) -> Cost:
    """One command, from its start to its end."""
    words = [str(folder / source), "--out", f"{scratch}/verdict", "--store", f"{scratch}/store", "--device", "cpu"]
    words += ["--model", str(folder / "network.safetensors")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "sanitizer.cli", "scan", *words],
        env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):  # 1: something was found, which made-up images may well have
        raise NotMeasured(f"scan {source}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1][:200]}")
    return Cost(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _sets_and_network(folder: Path, *, count: int) -> None:
    inputs.parquet(folder, name="set.parquet", count=count, side=32)
    inputs.parquet(folder, name="changed.parquet", count=count, side=32, darkened=CHANGED)
    inputs.parquet(folder, name="few.parquet", count=200, side=32)
    inputs.network(folder, kind="resnet56")
