"""Networks: evidence over the bare forward pass, ours over a plain loop, gradients in factors over written out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Measured, ours
from benchmarks.speed.scanning import flags


def evidence(bench: Bench) -> dict[str, Measured]:
    """What feature and residual cost on top of the logits."""
    count = bench.size(20_000)
    folder = bench.made(f"images_32_{count}", partial(inputs.arrays, count=count, side=32))
    found = bench.compare(
        {
            "ours": (folder, ours("scanning:probe_forward", residual=True)),
            "bare": (folder, ours("scanning:probe_forward", residual=False)),
        }
    )
    return {"gradient_over_forward": found.share("ours", "bare")}


def gradients(bench: Bench) -> dict[str, Measured]:
    """A thousand classes: half a million numbers a gradient."""
    folder = _last_layer(bench)
    found = bench.compare(
        {
            "factored": (folder, ours("stage:gradient_distances")),
            "written out": (folder, ours("stage:written_out_distances")),
        }
    )
    exact, factored = (found.answer[name]["squared"] for name in ("written out", "factored"))
    error = float(np.abs(exact - factored).max() / exact.max())
    memory = found.cost["written out"].growth / max(found.cost["factored"].growth, 1)
    return {"gram": found.faster("factored", "written out", relative_error=error, memory_ratio=memory)}


def gradient_graph(bench: Bench) -> dict[str, Measured]:
    """What detectors ask of gradients are the nearest few."""
    folder = _last_layer(bench)
    found = bench.compare(
        {
            "graph": (folder, ours("stage:gradient_graph")),
            "written out": (folder, ours("stage:written_out_distances")),
        }
    )
    return {"gradient_neighbors": found.faster("graph", "written out")}


def forward(bench: Bench) -> dict[str, Measured]:
    """The same network, the same images; and whether anybody is flagged by one and not by the other."""
    count = bench.size(512, least=40)
    folder = bench.made(f"resnet18_{count}", partial(_pictures_and_network, count=count))
    found = bench.compare(
        {
            "ours": (folder, ours("scanning:forward_pass", kind="resnet18")),
            "plain": (folder, ours("peers:eager_features")),
        }
    )
    labels = np.load(folder / "labels.npy")
    halved, full = (found.answer[name]["features"].astype(np.float32) for name in ("ours", "plain"))
    flagged, scores = flags(halved, labels)
    flagged_in_full, scores_in_full = flags(full, labels)
    checks: dict[str, float | str] = {
        "precision": str(found.answer["ours"]["precision"]),
        "flagged": int(flagged.sum()),
        "flagged_differently": int((flagged != flagged_in_full).sum()),
        "rank_correlation_of_scores": rank_correlation(scores, scores_in_full),
    }
    return {"forward": found.faster("ours", "plain", **checks)}


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Whether two scores put samples into the same order: 1 if they do.

    >>> round(rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3])), 6)
    1.0
    """
    ranks = [scores.argsort(kind="stable").argsort() for scores in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _last_layer(bench: Bench) -> Path:
    count, classes = bench.size(1000, least=60), bench.size(1000, least=20)
    make = partial(inputs.last_layer, count=count, classes=classes, width=512)
    return bench.made(f"last_layer_{count}", make)


def _pictures_and_network(folder: Path, *, count: int) -> None:
    inputs.arrays(folder, count=count, side=224)
    inputs.network(folder, kind="resnet18")
