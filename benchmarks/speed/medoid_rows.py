"""EPIC's selection against submodlib, which the paper's own code uses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Measured, ours
from benchmarks.speed.timing import exponent

#: Of the class, so much is selected.
SHARE = 0.1
#: Whom each sample is compared with: as many as ``Epic`` has unless told otherwise.
NEIGHBORS = 64


def against_submodlib(bench: Bench) -> dict[str, Measured]:
    """Time, memory, and what the selection is worth by submodlib's own measure."""
    folder = _gradients(bench, 5_000)
    found = bench.compare(
        {
            "ours": (folder, ours("stage:medoids", share=SHARE, neighbors=NEIGHBORS)),
            "submodlib": (folder, bench.peer("submodlib_selection", share=SHARE)),
        }
    )
    rows = np.load(folder / "gradients.npy")
    mine, theirs = (served(rows, found.answer[name]["picked"]) for name in ("ours", "submodlib"))
    mine_memory, their_memory = found.cost["ours"], found.cost["submodlib"]
    return {
        "epic_time": found.faster("ours", "submodlib", objective=mine / theirs),
        "epic_memory": Measured(
            their_memory.growth / max(mine_memory.growth, 1), mine_memory, their_memory, versions=found.versions
        ),
    }


def growth(bench: Bench) -> dict[str, Measured]:
    """From a class of CIFAR's size to one ten times as large."""
    small, large = _gradients(bench, 5_000), _gradients(bench, 50_000)
    side = ours("stage:medoids", share=SHARE, neighbors=NEIGHBORS)
    found = bench.compare({"small": (small, side), "large": (large, side)})
    times = len(np.load(large / "gradients.npy")) / len(np.load(small / "gradients.npy"))
    grown = exponent(found.cost["small"], found.cost["large"], times)
    return {"epic_exponent": Measured(grown, found.cost["large"], found.cost["small"], versions=found.versions)}


def served(rows: np.ndarray, picked: np.ndarray) -> float:
    """What facility location maximises, with similarities exp(-distance / dimensions) as submodlib has them.

    >>> served(np.array([[0.0], [0.0], [9.0]]), np.array([0, 2]))
    3.0
    """
    best = np.zeros(len(rows))
    for chosen in rows[picked]:
        np.maximum(best, np.exp(-np.linalg.norm(rows - chosen, axis=1) / rows.shape[1]), out=best)
    return float(best.sum())


def _gradients(bench: Bench, full: int) -> Path:
    count = bench.size(full, least=full // 25)
    return bench.made(f"gradients_{count}", partial(inputs.gradients, count=count))
