"""Spectral signatures and activation clustering against ART."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.bench import Bench, Measured, ours
from benchmarks.speed.density_rows import features


def at_50k(bench: Bench) -> dict[str, Measured]:
    """As large as CIFAR."""
    return {"spectral_clustering_50k": _compared(bench, 50_000)}


def at_200k(bench: Bench) -> dict[str, Measured]:
    """Where a silhouette over all pairs begins to hurt."""
    return {"spectral_clustering_200k": _compared(bench, 200_000)}


def _compared(bench: Bench, full: int) -> Measured:
    folder, _ = features(bench, full)
    mine = ours("stage:opinions", detectors=["spectral", "activation_clustering"])
    found = bench.compare({"ours": (folder, mine), "ART": (folder, bench.peer("art_spectral_and_clustering"))})
    scores, theirs = found.answer["ours"]["spectral"], found.answer["ART"]["scores"] ** 2  # its scores are lengths
    labels = np.load(folder / "labels.npy")
    agreement = [np.corrcoef(scores[labels == label], theirs[labels == label])[0, 1] for label in np.unique(labels)]
    return found.faster("ours", "ART", least_correlation_in_class=float(min(agreement)))
