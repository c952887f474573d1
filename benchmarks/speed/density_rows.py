"""Neighbours and densities against scikit-learn, PyOD, cleanlab and FAISS."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Measured, ours

#: Neighbours that distances are taken to, and those of a local outlier factor: the defaults of our detectors.
K, K_LOF = 10, 20
#: Of the largest set, scikit-learn searches for so many rows among all, ten classes of them alike.
QUERIES = 2000


def features(bench: Bench, full: int) -> tuple[Path, int]:
    """Generated features of so many samples, fewer if the bench is small."""
    count = bench.size(full)
    return bench.made(f"features_{count}", partial(inputs.features, count=count)), count


def as_used(bench: Bench) -> dict[str, Measured]:
    """What a user of each would wait for."""
    folder, _ = features(bench, 50_000)
    theirs = {
        "scikit-learn": bench.peer("sklearn_distance", k=K),
        "PyOD": bench.peer("pyod_distance", k=K),
        "cleanlab": bench.peer("cleanlab_outliers", k=K),
    }
    mine = ours("stage:opinions", detectors=["k_distance"])
    found = bench.compare({name: (folder, side) for name, side in ({"ours": mine} | theirs).items()})
    fastest = min(("scikit-learn", "PyOD"), key=lambda name: found.cost[name].wall)
    return {
        "knn_as_used": found.faster("ours", fastest, the_faster_peer=fastest),
        "knn_over_cleanlab": found.faster("ours", "cleanlab"),
    }


def same_work(bench: Bench) -> dict[str, Measured]:
    """The same question to everybody, and the same answer."""
    folder, _ = features(bench, 50_000)
    found = bench.compare(
        {
            "ours": (folder, ours("stage:nearest_in_class", k=K)),
            "scikit-learn": (folder, bench.peer("sklearn_in_class", k=K)),
            "FAISS": (folder, ours("peers:faiss_in_class", k=K)),
        }
    )
    mine, exact = found.answer["ours"]["indices"], found.answer["scikit-learn"]["indices"]
    flat = found.answer["FAISS"]["indices"]
    return {
        "knn_same_work": found.faster("ours", "scikit-learn", same_neighbors=same(mine, exact)),
        "knn_over_faiss": found.faster("ours", "FAISS", same_neighbors=same(mine, flat)),
    }


def at_200k(bench: Bench) -> dict[str, Measured]:
    """Where comparing all pairs takes a quarter of an hour: its time is in proportion to the queries, so few do."""
    folder, count = features(bench, 200_000)
    queries = min(QUERIES, count)
    each = queries // inputs.CLASSES
    found = bench.compare(
        {
            "ours": (folder, ours("stage:opinions", detectors=["k_distance"])),
            "all": (folder, bench.peer("sklearn_distance", times=count / queries, k=K, queries=queries)),
            "in class": (folder, bench.peer("sklearn_in_class", times=count / queries, k=K, queries=each)),
        }
    )
    return {
        "knn_200k": found.faster("ours", "all", share_of_queries=queries / count),
        "knn_200k_same_work": found.faster("ours", "in class", share_of_queries=queries / count),
    }


def outlier_factors(bench: Bench) -> dict[str, Measured]:
    """LOF, whose scores must be scikit-learn's where it is asked about one class at a time."""
    folder, _ = features(bench, 25_000)
    found = bench.compare(
        {
            "ours": (folder, ours("stage:opinions", detectors=["lof"])),
            "whole set": (folder, bench.peer("sklearn_lof", k=K_LOF, in_class=False)),
            "in class": (folder, bench.peer("sklearn_lof", k=K_LOF, in_class=True)),
        }
    )
    apart = float(np.abs(found.answer["ours"]["lof"] - found.answer["in class"]["scores"]).max())
    return {
        "lof": found.faster("ours", "whole set"),
        "lof_same_work": found.faster("ours", "in class", largest_difference=apart),
    }


def same(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of wanted neighbours that were found, whatever their order; -1 and the row itself are no neighbours.

    >>> same(np.array([[1, 2], [0, 2]]), np.array([[0, 2, 1], [0, 1, 3]]))
    0.75
    """
    rows = np.arange(len(wanted))[:, None]
    real = (wanted != rows) & (wanted >= 0)
    hit = (wanted[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hit[real].mean())
