"""Folders of JPEGs against torchvision's, and whether reading and the network run side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.bench import Bench, Measured, ours

#: Pixels to which everybody fits the images.
SIDE = 224


def at_224(bench: Bench) -> dict[str, Measured]:
    """Images that need no fitting."""
    return {"decode_224": _read(bench, bench.size(2000, least=40), 224, "exact")}


def at_1024(bench: Bench) -> dict[str, Measured]:
    """Images as cameras make them, nearly; at the fraction of their size that --decoding scaled allows."""
    return {"decode_1024": _read(bench, bench.size(400, least=20), 1024, "scaled")}


def end_to_end(bench: Bench) -> dict[str, Measured]:
    """A scan should take as long as the longer of its two halves, when they have a core each."""
    count = bench.size(1024, least=40)
    folder = bench.made(f"large_{count}", partial(_large_and_network, count=count))
    found = bench.compare(
        {
            "scan": (folder, ours("scanning:whole_scan", source="images", kind="resnet18")),
            "decoding": (folder, ours("scanning:read_folder", side=SIDE)),
            "forward": (folder, ours("scanning:forward_pass", kind="resnet18")),
        }
    )
    longer = max(("decoding", "forward"), key=lambda name: found.cost[name].wall)
    return {"overlap": found.share("scan", longer, the_longer=longer)}


def _read(bench: Bench, count: int, side: int, decoding: str) -> Measured:
    folder = bench.made(f"jpegs_{side}_{count}", partial(inputs.jpegs, count=count, side=side))
    found = bench.compare(
        {
            "ours": (folder, ours("scanning:read_folder", side=SIDE, decoding=decoding)),
            "exact": (folder, ours("scanning:read_folder", side=SIDE)),
            "ImageFolder": (folder, ours("peers:image_folder", side=SIDE)),
        }
    )
    assert found.answer["ours"]["images"] == found.answer["ImageFolder"]["images"] == count
    exact = found.cost["ImageFolder"].wall / found.cost["exact"].wall
    return found.faster("ours", "ImageFolder", **({"of exact decoding": exact} if decoding == "scaled" else {}))


def _large_and_network(folder: Path, *, count: int) -> None:
    inputs.jpegs(folder, count=count, side=1024)
    inputs.parquet(folder, name="few.parquet", count=40, side=SIDE)
    inputs.arrays(folder, count=count, side=SIDE)
    inputs.network(folder, kind="resnet18")
