"""Run the detection matrix and write it as JSON; finished cells are kept, so it can be stopped and resumed.

    python -m benchmarks.detection --data FOLDER [--only cifar10] [--out benchmarks/results/detection.json]

FOLDER holds the data sets as Parquet files (``cifar10/train.parquet`` and so on). What the scan is given in
every cell: the images and their labels. No clean set, no rate, no truth.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.detection.table import put_into, render

GIVEN = "images and labels only: no clean set, no rate, no truth"
SEEDS = (0, 1, 2)
#: Data set, its training file, and the poison rate at which it is attacked.
SETS = {
    "gtsrb12": ("gtsrb12/train.parquet", 0.02),
    "cifar10": ("cifar10/train.parquet", 0.01),
    "tinyimagenet20a": ("tinyimagenet20a/train.parquet", 0.02),
    "clothing10_128px": ("clothing10_128px/train.parquet", 0.02),
}
ATTACKS = ("clean", "badnets", "blended")


@dataclass(frozen=True)
class Cell:
    """One scan: which set, poisoned how, with which seed (of both the attack and the scan)."""

    data: str
    attack: str
    rate: float
    seed: int

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.data}/{self.attack}@{self.rate}/{self.seed}"


def cells() -> list[Cell]:
    """The whole matrix, the most important first."""
    return [
        Cell(data, attack, 0.0 if attack == "clean" else rate, seed)
        for attack in ("badnets", "clean", "blended")
        for data, (_, rate) in SETS.items()
        for seed in SEEDS
    ]


def measure(cell: Cell, data: Path) -> dict[str, Any]:
    """Poison, scan, compare: in this process, whose peak memory is part of the result."""
    from sanitizer import registry
    from sanitizer.pipeline import ScanSettings, scan
    from sanitizer.sources.base import open_source

    source = data / SETS[cell.data][0]
    with tempfile.TemporaryDirectory() as scratch:
        truth: dict[str, bool] = {}
        if cell.attack != "clean":
            attack = registry.attack(cell.attack)(rate=cell.rate, target=0, seed=cell.seed)
            made = attack.poison(open_source(str(source)), Path(scratch) / "set")
            source = next(made.data.iterdir())
            truth = {row["id"]: row["is_poison"] for row in made.truth().to_pylist()}
        verdict = scan(source, Path(scratch) / "verdict", ScanSettings(seed=cell.seed))
    ids, flags = verdict.table["id"].to_pylist(), verdict.table["suspicious"].to_pylist()
    poison = [flag for name, flag in zip(ids, flags, strict=True) if truth.get(name, False)]
    clean = [flag for name, flag in zip(ids, flags, strict=True) if not truth.get(name, False)]
    timings = verdict.summary["timings"]
    return {
        **asdict(cell),
        "given": GIVEN,
        "samples": len(ids),
        "poisoned": len(poison),
        "found": verdict.poison_found,
        "recall": sum(poison) / len(poison) if poison else None,
        "false_positive_rate": sum(clean) / len(clean),
        "strongest_classes": sorted((round(entry["score"], 3) for entry in verdict.summary["classes"]), reverse=True)[
            :3
        ],
        "seconds": timings,
        "scan_over_probe": sum(timings.values()) / timings["training the probe"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "verdict_digest": verdict.digest,
    }


def main() -> None:
    """Fill in what is missing, one process a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SANITIZER_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/detection.json"))
    parser.add_argument("--only", default="", help="run only cells whose name contains this")
    parser.add_argument("--readme", type=Path, help="only put the table of what was measured into this file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        json.dump(measure(Cell(**json.loads(args.cell)), args.data), sys.stdout)
        return
    if args.readme:
        put_into(args.readme, render(json.loads(args.out.read_text())["cells"]))
        return
    results = json.loads(args.out.read_text()) if args.out.exists() else {"cells": {}}
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, no GPU"
    for cell in cells():
        if cell.key in results["cells"] or args.only not in cell.key:
            continue
        if not (args.data / SETS[cell.data][0]).exists():
            print(f"{cell.key}: skipped, no {args.data / SETS[cell.data][0]}")
            continue
        command = [
            sys.executable,
            "-m",
            "benchmarks.detection",
            "--data",
            str(args.data),
            "--cell",
            json.dumps(asdict(cell)),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        results["cells"][cell.key] = found = json.loads(done.stdout)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
        print(line(cell, found), flush=True)


def line(cell: Cell, found: dict[str, Any]) -> str:
    """One cell in words."""
    recall = "  -   " if found["recall"] is None else f"{found['recall']:.4f}"
    cost = f"{sum(found['seconds'].values()):.0f} s, {found['scan_over_probe']:.2f} x probe, {found['peak_mb']} MB"
    return f"{cell.key:40} recall {recall}  false positives {found['false_positive_rate']:.5f}  {cost}"


if __name__ == "__main__":
    main()
