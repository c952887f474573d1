"""Whole scans over what they cannot do without, and how all detectors together grow in time and memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Compared, Measured, ours
from benchmarks.speed.density_rows import K, features
from benchmarks.speed.density_rows import same as share_found
from benchmarks.speed.stage import ASKED
from benchmarks.speed.timing import exponent


def by_resnet18(bench: Bench) -> dict[str, Measured]:
    """The network of the papers' tables: half a billion products an image."""
    return {"scan_over_forward_resnet18": _by_network(bench, "small_resnet18")}


def by_resnet20(bench: Bench) -> dict[str, Measured]:
    """A network so small that everything else shows."""
    return {"scan_over_forward_resnet20": _by_network(bench, "resnet20")}


def by_probe(bench: Bench) -> dict[str, Measured]:
    """A network that has to be trained first."""
    folder = _images(bench, "resnet20")
    found = bench.compare(
        {
            "scan": (folder, ours("scanning:whole_scan", source="set.parquet")),
            "training": (folder, ours("scanning:training")),
        }
    )
    return {"scan_over_probe": found.share("scan", "training", **_stages(found))}


def detectors_in_memory(bench: Bench) -> dict[str, Measured]:
    """Ten thousand, fifty thousand, two hundred thousand: time from the ends, memory from the last two."""
    found, sizes = _stage(bench, (10_000, 50_000, 200_000))
    small, middle, large = sizes
    grown = exponent(found.cost[str(small)], found.cost[str(large)], large / small)
    folder, _ = features(bench, 200_000)
    recall = _recall(folder, found.answer[str(large)]["neighbors"][:, :K])
    return {
        "exponent": Measured(
            grown, found.cost[str(large)], found.cost[str(small)], {"recall_in_class": recall}, found.versions
        ),
        "bytes_per_image": _slope(found, middle, large),
    }


def detectors_on_mapped_features(bench: Bench) -> dict[str, Measured]:
    """As a store keeps them."""
    found, (middle, large) = _stage(bench, (50_000, 200_000), mapped=True, watched=True)
    return {"bytes_per_image_mapped": _slope(found, middle, large)}


def _by_network(bench: Bench, kind: str) -> Measured:
    folder = _images(bench, kind)
    found = bench.compare(
        {
            "scan": (folder, ours("scanning:whole_scan", source="set.parquet", kind=kind)),
            "forward": (folder, ours("scanning:forward_pass", kind=kind)),
        }
    )
    return found.share("scan", "forward", precision=str(found.answer["forward"]["precision"]), **_stages(found))


def _images(bench: Bench, kind: str) -> Path:
    count = bench.size(50_000)
    return bench.made(f"{kind}_{count}", partial(_set_and_network, count=count, kind=kind))


def _set_and_network(folder: Path, *, count: int, kind: str) -> None:
    inputs.arrays(folder, count=count, side=32)
    inputs.parquet(folder, name="set.parquet", count=count, side=32)
    inputs.parquet(folder, name="few.parquet", count=200, side=32)
    inputs.network(folder, kind=kind)


def _stages(found: Compared) -> dict[str, float]:
    """The longest stages of the last scan, in seconds: where there is something to gain."""
    answer = found.answer["scan"]
    longest = np.argsort(answer["seconds"])[::-1][:5]
    return {f"seconds {answer['stages'][place]}": float(answer["seconds"][place]) for place in longest}


def _stage(bench: Bench, sizes: tuple[int, ...], **settings: bool) -> tuple[Compared, tuple[int, ...]]:
    sets = [features(bench, full) for full in sizes]
    side = ours("stage:opinions", detectors=["auto"], **settings)
    found = bench.compare({str(count): (folder, side) for folder, count in sets})
    return found, tuple(count for _, count in sets)


def _slope(found: Compared, middle: int, large: int) -> Measured:
    costs = found.cost[str(large)], found.cost[str(middle)]
    return Measured((costs[0].peak - costs[1].peak) / max(large - middle, 1), *costs, versions=found.versions)


def _recall(folder: Path, neighbors: np.ndarray) -> float:
    """The share of the nearest in the class that were found, for a few samples, by measuring all distances."""
    rows, labels = np.load(folder / "features.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    exact = np.zeros_like(neighbors)
    for number in range(min(ASKED, len(neighbors))):
        members = np.flatnonzero(labels == labels[number])
        members = members[members != number]
        distances = np.linalg.norm(rows[members].astype(np.float32) - rows[number].astype(np.float32), axis=1)
        exact[number] = members[np.argpartition(distances, neighbors.shape[1] - 1)[: neighbors.shape[1]]]
    return share_found(neighbors, exact)
