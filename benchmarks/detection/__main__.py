"""Run the detection matrix and write it as JSON; finished cells are kept, so it can be stopped and resumed.

    python -m benchmarks.detection --data FOLDER [--weights FOLDER] [--only cifar10] [--store DIR]
    python -m benchmarks.detection --matrix --data FOLDER [--sets gtsrb12,cifar10] [--seeds 0,1] [--peers PYTHON]

FOLDER holds the data sets as Parquet files (``cifar10/train.parquet`` and so on), the other one the checkpoints of
frozen networks. What the scan is given in every cell is said in it: never a clean set, a rate, or the truth.
``--matrix`` has many more attacks, by the probe alone; with ``--peers`` an interpreter that has the extra ``bench``
asks other people's detectors about the same features.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection import grid, matrix_table, overview_table, peers_table
from benchmarks.detection.table import put_into, render

GIVEN = "images and labels only: no clean set, no rate, no truth"
FROZEN = "; and a frozen network that was trained elsewhere"
#: The CIFAR network was trained on clean CIFAR-10 itself, which is more than a user would have.
SEEN = " on the clean originals of these very images and labels"
SEEDS = (0, 1, 2)
#: Data set, its training file, and the poison rate at which it is attacked.
SETS = {
    "gtsrb12": ("gtsrb12/train.parquet", 0.02),
    "cifar10": ("cifar10/train.parquet", 0.01),
    "tinyimagenet20a": ("tinyimagenet20a/train.parquet", 0.02),
    "clothing10_128px": ("clothing10_128px/train.parquet", 0.02),
}
CIFAR, MOBILE = "cifar10_resnet56.safetensors", "mobilenetv2_100_224_imagenet.safetensors"
#: Share of labels flipped at random, to any other class.
FLIPPED = 0.05


@dataclass(frozen=True)
class Cell:
    """One scan: which set, poisoned how, with which seed (of both the attack and the scan)."""

    data: str
    attack: str
    rate: float
    seed: int
    model: str = "probe"
    reference: str | None = None

    @property
    def key(self) -> str:
        """Its name in the results."""
        networks = "" if self.model == "probe" else f" --model {self.model}"
        networks += f" --reference {self.reference}" if self.reference else ""
        return f"{self.data}/{self.attack}@{self.rate}/{self.seed}{networks}"

    @property
    def given(self) -> str:
        """What the scan was given."""
        networks = {self.model, self.reference} - {"probe", None}
        return GIVEN + (FROZEN if networks else "") + (SEEN if CIFAR in networks else "")

    @property
    def planted(self) -> str:
        """The kind of flag that counts: a flipped label is no planted sample."""
        return "label" if self.attack == "flips" else "planted"


def cells() -> list[Cell]:
    """The whole matrix, the most important first."""
    return [*_by_probe(), *_by_frozen_networks()]


def _by_probe() -> list[Cell]:
    return [
        Cell(data, attack, 0.0 if attack == "clean" else rate, seed)
        for attack in ("badnets", "clean", "blended")
        for data, (_, rate) in SETS.items()
        for seed in SEEDS
    ]


def _by_frozen_networks() -> list[Cell]:
    networks = {"cifar10": CIFAR, "clothing10_128px": MOBILE, "gtsrb12": MOBILE, "tinyimagenet20a": MOBILE}
    rates = {"badnets": {data: rate for data, (_, rate) in SETS.items()}, "flips": dict.fromkeys(SETS, FLIPPED)}
    frozen = [
        Cell(data, attack, rates.get(attack, {}).get(data, 0.0), seed, model=network)
        for attack in ("flips", "badnets", "clean")
        for data, network in networks.items()
        for seed in SEEDS
    ]
    beside = [
        Cell(data, attack, rates.get(attack, {}).get(data, 0.0), seed, reference=networks[data])
        for data in ("cifar10", "clothing10_128px")
        for attack in ("badnets", "clean")
        for seed in SEEDS
    ]
    return frozen + beside


def measure(cell: Cell, data: Path, weights: Path, store: str) -> dict[str, Any]:
    """Poison, scan, compare: in this process, whose peak memory is part of the result."""
    from sanitizer.pipeline import ScanSettings, scan

    with tempfile.TemporaryDirectory() as scratch:
        source, truth = poisoned(cell, data / SETS[cell.data][0], Path(scratch))
        networks = {name: weights / name for name in (cell.model, cell.reference) if name}
        settings = ScanSettings(
            model=str(networks[cell.model]) if cell.model != "probe" else "probe",
            reference=str(networks[cell.reference]) if cell.reference else None,
            seed=cell.seed, store=store if len(networks) > 1 or cell.model != "probe" else "none",
        )  # fmt: skip
        verdict = scan(source, Path(scratch) / "verdict", settings)
    ids, kinds = verdict.table["id"].to_pylist(), verdict.table["kind"].to_pylist()
    poison = [kind == cell.planted for name, kind in zip(ids, kinds, strict=True) if truth.get(name, False)]
    clean = [kind for name, kind in zip(ids, kinds, strict=True) if not truth.get(name, False)]
    timings = verdict.summary["timings"]
    training = timings.get("training the probe")
    return {
        **asdict(cell),
        "given": cell.given,
        "samples": len(ids),
        "poisoned": len(poison),
        "found": verdict.poison_found,
        "recall": sum(poison) / len(poison) if poison else None,
        "false_positive_rate": clean.count(cell.planted) / len(clean),
        "clean_labels_doubted": clean.count("label") / len(clean),
        "strongest_classes": sorted((round(entry["score"], 3) for entry in verdict.summary["classes"]), reverse=True)[
            :3
        ],
        "seconds": timings,
        "scan_over_probe": sum(timings.values()) / training if training else None,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "verdict_digest": verdict.digest,
    }


def poisoned(cell: Cell, source: Path, scratch: Path) -> tuple[Path, dict[str, bool]]:
    """The set to scan, and which of its ids are poison: the scan sees only the first."""
    from sanitizer import registry
    from sanitizer.sources.base import open_source

    if cell.attack == "clean":
        return source, {}
    if cell.attack == "flips":
        return flipped(cell, source, scratch / "set")
    attack = registry.attack(cell.attack)(rate=cell.rate, target=0, seed=cell.seed)
    made = attack.poison(open_source(str(source)), scratch / "set")
    return next(made.data.iterdir()), {row["id"]: row["is_poison"] for row in made.truth().to_pylist()}


def flipped(cell: Cell, source: Path, destination: Path) -> tuple[Path, dict[str, bool]]:
    """The set with a share of its labels changed to any other class; no image is touched."""
    from sanitizer.sources.base import open_source

    opened = open_source(str(source))
    rng = np.random.default_rng(cell.seed)
    classes = len(opened.class_names)
    ids = [found.id for found in opened.stream()]
    chosen = set(rng.choice(ids, round(cell.rate * len(ids)), replace=False).tolist())
    steps = dict(zip(ids, rng.integers(1, classes, len(ids)).tolist(), strict=True))
    new = opened.rewrite(
        destination,
        lambda found: (found.content, (found.label + steps[found.id] * (found.id in chosen)) % classes),
    )
    return next(destination.iterdir()), {new[name]: name in chosen for name in ids}


def main() -> None:
    """Fill in what is missing, one process a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SANITIZER_DATA", "../shared/data")))
    parser.add_argument("--weights", type=Path, default=Path(os.environ.get("SANITIZER_WEIGHTS", "../shared/weights")))
    parser.add_argument("--store", default="none", help="where rows of frozen networks are kept between cells")
    parser.add_argument("--out", type=Path, help="the results; benchmarks/results/detection.json, or matrix.json there")
    parser.add_argument("--only", default="", help="run only cells whose name contains this")
    parser.add_argument("--readme", type=Path, help="only put the table of what was measured into this file")
    parser.add_argument("--matrix", action="store_true", help="many attacks, by the probe alone")
    parser.add_argument("--sets", default=",".join(grid.SETS), help="of the matrix, separated by commas")
    parser.add_argument("--seeds", default=",".join(map(str, grid.SEEDS)), help="of the matrix, separated by commas")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="interpreter that runs the peers on every cell")
    parser.add_argument("--device", default="auto", help="where the cells of the matrix are computed")
    parser.add_argument("--page", type=Path, help="only write the heat map of the matrix as this HTML file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out = args.out or Path(f"benchmarks/results/{'matrix' if args.matrix else 'detection'}.json")
    if args.matrix:
        _matrix(parser, args)
        return
    if args.cell:
        json.dump(measure(Cell(**json.loads(args.cell)), args.data, args.weights, args.store), sys.stdout)
        return
    if args.readme:
        put_into(args.readme, {"detection": render(json.loads(args.out.read_text())["cells"])})
        return
    results = json.loads(args.out.read_text()) if args.out.exists() else {"cells": {}}
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, no GPU"
    for cell in cells():
        if cell.key in results["cells"] or args.only not in cell.key:
            continue
        files = [args.data / SETS[cell.data][0]]
        files += [args.weights / name for name in (cell.model, cell.reference) if name and name != "probe"]
        if absent := [file for file in files if not file.exists()]:
            print(f"{cell.key}: skipped, no {absent[0]}")
            continue
        command = [
            sys.executable,
            "-m",
            "benchmarks.detection",
            "--data",
            str(args.data),
            "--weights",
            str(args.weights),
            "--store",
            args.store,
            "--cell",
            json.dumps(asdict(cell)),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        results["cells"][cell.key] = found = json.loads(done.stdout)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
        print(line(cell, found), flush=True)


def _matrix(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Measure one cell of the matrix, show what was measured, or fill in what is missing."""
    from benchmarks.detection import matrix
    from benchmarks.places import Places

    places = Places(args.data, args.weights)
    if args.cell:
        from benchmarks.detection.measure import measure as measured

        seed = int(args.cell.rsplit(" ", 1)[1])
        entry = next(entry for entry in grid.entries(seeds=(seed,)) if entry.key == args.cell)
        json.dump(measured(entry, places, args.peers, args.device), sys.stdout)
        return
    if args.readme or args.page:
        found = matrix.read(args.out)
        if args.readme:
            made = {"overview": overview_table, "matrix": matrix_table, "peers": peers_table}
            put_into(args.readme, {name: table.render(found) for name, table in made.items()})
        if args.page:
            from benchmarks.detection.page import page_of

            args.page.write_text(page_of(found), encoding="utf-8")
        return
    sets, seeds = tuple(args.sets.split(",")), tuple(int(seed) for seed in args.seeds.split(","))
    if strange := [name for name in sets if name not in grid.SETS]:
        parser.error(f"--sets: expected some of {', '.join(grid.SETS)}, got {', '.join(strange)}")
    if args.peers and not shutil.which(args.peers):
        parser.error(f"--peers: expected a Python interpreter, got {args.peers}: name one, or leave it out")
    wanted = [entry for entry in grid.entries(sets, seeds) if args.only in entry.key]
    matrix.fill(wanted, args.out, places, peers=args.peers, device=args.device)


def line(cell: Cell, found: dict[str, Any]) -> str:
    """One cell in words."""
    recall = "  -   " if found["recall"] is None else f"{found['recall']:.4f}"
    over = f"{found['scan_over_probe']:.2f} x probe, " if found["scan_over_probe"] else ""
    cost = f"{sum(found['seconds'].values()):.0f} s, {over}{found['peak_mb']} MB"
    return f"{cell.key:40} recall {recall}  false positives {found['false_positive_rate']:.5f}  {cost}"


if __name__ == "__main__":
    main()
