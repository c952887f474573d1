"""The sides of a comparison: workloads, each run in a process of its own, under whichever interpreter has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.timing import Cost
from benchmarks.speed.worker import Answer

ROOT = Path(__file__).parents[2]
#: One thread for everybody, named before anything is imported that asks.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
)


class NotMeasured(Exception):
    """A workload could not be run; the message says why in one line."""


@dataclass(frozen=True)
class Side:
    """A workload as ``MODULE:NAME``, and how it is run."""

    workload: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    python: str = sys.executable
    times: float = 1  # the whole work is so many times what is run


@dataclass(frozen=True)
class Ran:
    """What a run cost, what it found, and with which packages."""

    cost: Cost
    answer: Answer
    versions: Mapping[str, str]


def run(side: Side, folder: Path) -> Ran:
    """One run of a side on the inputs in a folder, which must be writable."""
    said = folder / "answer.npz"
    command = [side.python, "-m", "benchmarks.speed.worker", side.workload, str(folder), str(said)]
    done = subprocess.run(
        [*command, json.dumps(dict(side.settings))],
        env=environment(folder), capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NotMeasured(f"{side.workload.rpartition(':')[2]}: {last[:200]}")
    with np.load(said, allow_pickle=False) as stored:
        answer = {name: stored[name] for name in stored.files}
    facts = json.loads(str(answer.pop("facts")))
    return Ran(Cost(**facts["cost"]).scaled(side.times), answer, facts["versions"])


def environment(home: Path) -> dict[str, str]:
    """Pinned, able to import the workloads, and with a home that may be written to: some peers make folders there."""
    return os.environ | ONE_THREAD | {"HOME": str(home), "PYTHONPATH": str(ROOT), "SANITIZER_STORE": "none"}
