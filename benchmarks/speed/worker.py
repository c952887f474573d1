"""One run of one workload, in a process that does nothing else.

    PYTHON -m benchmarks.speed.worker MODULE:WORKLOAD FOLDER ANSWER.npz SETTINGS

A workload is a function of a folder of inputs and of settings: it imports, loads and warms up, and returns the work,
which alone is timed. What the work returns goes into ANSWER beside what it cost. Any interpreter can run this: it
imports nothing of ours, but for the workload's own module.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.memory import own_peak, resident_peak
from benchmarks.speed.timing import clocked

#: What a workload prepares, and what its work finds.
Answer = dict[str, np.ndarray]
Work = Callable[[], Answer]

#: Packages that a result names, by the module that they are imported as.
NAMED = {
    "art": "adversarial-robustness-toolbox", "cleanlab": "cleanlab", "faiss": "faiss-cpu", "numpy": "numpy",
    "pyod": "pyod", "sklearn": "scikit-learn", "submodlib": "submodlib-py", "torch": "torch",
    "torchvision": "torchvision",
}  # fmt: skip


def main(workload: str, folder: str, answer: str, settings: str) -> None:
    """Prepare, run once, write down."""
    module, _, name = workload.partition(":")
    asked: dict[str, Any] = json.loads(settings)
    watched = asked.pop("watched", False)
    work: Work = getattr(importlib.import_module(module), name)(Path(folder), **asked)
    on_one_thread()
    with own_peak() if watched else resident_peak() as peak:
        cost, found = clocked(work)
    cost = replace(cost, peak=peak.highest, growth=peak.highest - peak.start)
    arrays: dict[str, Any] = {"facts": np.array(json.dumps({"cost": asdict(cost), "versions": versions()}))}
    np.savez(answer, **arrays, **found)


def on_one_thread() -> None:
    """For libraries that keep a count of their own; the others read the environment when they are imported."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(1)


def versions() -> dict[str, str]:
    """Of what this process has imported, as far as it can be told."""
    found = {}
    for module, package in NAMED.items():
        if module in sys.modules:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:  # FAISS has other names on other machines
                continue
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
