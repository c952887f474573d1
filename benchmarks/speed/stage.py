"""Our way, from features on: workloads of graphs, detectors and selection."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.worker import Answer, Work

#: Rows that everything is warmed up with.
_FEW = 500
#: Where memory is measured: what warming up leaves behind would be used again, and not be seen.
_FEWER = 50
#: Rows whose neighbours are handed back, to be compared with exact ones.
ASKED = 200


def opinions(folder: Path, *, detectors: list[str], mapped: bool = False) -> Work:
    """Evidence from features and residuals, and what these detectors say of it; ``auto`` are all that a scan asks."""
    from detectors.base import MissingEvidence
    from sanitizer.evidence import build_evidence
    from sanitizer.pipeline import choose_detectors

    chosen = choose_detectors(tuple(detectors))
    keys = _keys(len(np.load(folder / "labels.npy", mmap_mode="r")))

    def judged(spaces: dict[str, Any], labels: np.ndarray) -> Answer:
        names = tuple(f"class{label}" for label in np.unique(labels))
        evidence = build_evidence(spaces, labels, names, keys[: len(labels)], chosen.values())
        found: Answer = {}
        for name, detector in chosen.items():
            try:
                found[name], _ = detector.opinion(evidence)
            except MissingEvidence:  # it wants what only a probe has
                continue
        if "feature/class" in evidence.neighbors:
            found["neighbors"] = evidence.neighbors["feature/class"].indices[:ASKED]
        return found

    spaces, labels = _loaded(folder, "r" if mapped else None)
    judged({name: rows[:_FEW] for name, rows in spaces.items()}, labels[:_FEW])
    return lambda: judged(spaces, labels)


def nearest_in_class(folder: Path, *, k: int) -> Work:
    """The neighbours of every row in its class."""
    from sanitizer.index import nearest

    def search(rows: np.ndarray, labels: np.ndarray) -> Answer:
        groups = [(members, members) for members in (np.flatnonzero(labels == label) for label in np.unique(labels))]
        return {"indices": nearest(rows, groups, k).indices}

    spaces, labels = _loaded(folder)
    search(spaces["feature"][:_FEW], labels[:_FEW])
    return lambda: search(spaces["feature"], labels)


def medoids(folder: Path, *, share: float, neighbors: int) -> Work:
    """The medoids of one class by its graph of gradients, and who stands for whom."""
    from detectors.medoids import select_medoids
    from sanitizer.training.gradients import LastLayer
    from sanitizer.training.isolation import neighborhood

    def select(rows: np.ndarray) -> Answer:
        graph = neighborhood(LastLayer(rows), neighbors)
        picked, assigned = select_medoids(graph, np.arange(len(rows)), round(share * len(rows)))
        return {"picked": picked, "assigned": assigned}

    rows = np.load(folder / "gradients.npy")
    select(rows[:_FEWER])
    return lambda: select(rows)


def gradient_distances(folder: Path) -> Work:
    """All squared distances between last-layer gradients, from their two factors; in fp32, like the other side."""
    from sanitizer.embed.gradients import pairwise_squared_distances

    spaces, _ = _loaded(folder)
    compare = partial(pairwise_squared_distances, spaces["residual"], spaces["feature"], np.float32)
    return lambda: {"squared": compare()[:ASKED]}


def gradient_graph(folder: Path) -> Work:
    """The neighbours among last-layer gradients, as evidence offers them."""
    from detectors.density import GradientDensity
    from sanitizer.evidence import build_evidence

    spaces, labels = _loaded(folder)

    def graph(count: int) -> Answer:
        some = {name: rows[:count] for name, rows in spaces.items()}
        evidence = build_evidence(some, labels[:count], ("all",), _keys(count), [GradientDensity()])
        return {"indices": evidence.neighbors["gradient/class"].indices}

    graph(min(_FEW, len(labels)))
    return lambda: graph(len(labels))


def written_out_distances(folder: Path) -> Work:
    """The same distances by gradients that are written out, one long row a sample: what the factors spare."""
    spaces, _ = _loaded(folder)
    residual, feature = spaces["residual"], spaces["feature"].astype(np.float32)

    def compare() -> Answer:
        rows = (residual[:, :, None] * feature[:, None, :]).reshape(len(feature), -1)
        products = rows @ rows.T
        norms = np.diag(products)
        return {"squared": (norms[:, None] + norms - 2 * products)[:ASKED]}

    return compare


def _loaded(folder: Path, mapped: Any = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The spaces of a frozen network, which is its own reference."""
    feature = np.load(folder / "features.npy", mmap_mode=mapped)
    residual = np.load(folder / "residual.npy", mmap_mode=mapped)
    return {"feature": feature, "reference": feature, "residual": residual}, np.load(folder / "labels.npy")


def _keys(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**63, count, dtype=np.uint64)
