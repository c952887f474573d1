"""Measure scans with a trusted reference; finished cells are kept, so it can be stopped and resumed.

    python -m benchmarks.trusted --data FOLDER [--only gtsrb12] [--out benchmarks/results/trusted.json]

FOLDER holds the data sets as Parquet files (``gtsrb12/train.parquet`` and so on). Every set is cut in two halves at
random, row by row: one is the suspect, the other the trusted reference. ``guarantee`` scans clean halves, ten cuts
for each seed; ``power`` poisons the suspect half; ``contamination`` poisons both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.detection.table import put_into
from benchmarks.trusted.table import render

if TYPE_CHECKING:
    from sanitizer.attacks.poisoned import PoisonedSet
    from sanitizer.record import Verdict

GIVEN = "images and labels of both halves, and which half is trusted: no rate, no truth"
FDR = 0.05
LAX_FDR = 0.1
CUTS = 10
RATE = 0.02
SETS = ("gtsrb12", "clothing10_128px", "tinyimagenet20a")
POISONED_SETS = ("gtsrb12", "tinyimagenet20a")


@dataclass(frozen=True)
class Cell:
    """One process: which question, of which set, with which seed (of the cut, the attack and the scan)."""

    kind: str
    data: str
    seed: int

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.kind}/{self.data}/{self.seed}"


def cells() -> list[Cell]:
    """The whole matrix; the guarantee first, the slowest set last."""
    return [
        *(Cell("guarantee", data, seed) for data in SETS for seed in range(4)),
        *(Cell("power", data, seed) for data in POISONED_SETS for seed in range(3)),
        *(Cell("contamination", data, 0) for data in POISONED_SETS),
    ]


def measure(cell: Cell, data: Path) -> dict[str, Any]:
    """One cell, in this process."""
    source = _file_of(data, cell.data)
    with tempfile.TemporaryDirectory() as scratch:
        by_kind = {"guarantee": guarantee, "power": power, "contamination": contamination}
        return {**asdict(cell), "given": GIVEN, "fdr": FDR, **by_kind[cell.kind](source, cell.seed, Path(scratch))}


def guarantee(source: Path, seed: int, scratch: Path) -> dict[str, Any]:
    """Clean against clean: whatever is flagged is a false alarm. One probe serves all cuts, since it sees no marks."""
    runs = []
    for cut in range(CUTS):
        suspect, trusted = halves(source, scratch, [seed, cut])
        verdict = against(trusted, suspect, seed, scratch)
        runs.append({"cut": cut, **answer(verdict), **lax(verdict)})
    return {"runs": runs}


def power(source: Path, seed: int, scratch: Path) -> dict[str, Any]:
    """A poisoned suspect half against a clean reference that went through the same encoder."""
    suspect, trusted = halves(source, scratch, [seed, 0])
    made = poisoned(suspect, scratch / "poisoned", seed)
    same = reencoded(trusted, scratch / "reference", made.recipe["encoding"])
    return against_truth(against(same, _data(made), seed, scratch), made)


def contamination(source: Path, seed: int, scratch: Path) -> dict[str, Any]:
    """Both halves poisoned alike: the reference hides what it should reveal."""
    suspect, trusted = halves(source, scratch, [seed, 0])
    made = poisoned(suspect, scratch / "poisoned", seed)
    dirty = poisoned(trusted, scratch / "dirty", seed)
    return against_truth(against(_data(dirty), _data(made), seed, scratch), made)


def halves(source: Path, scratch: Path, seed: list[int]) -> tuple[Path, Path]:
    """A set cut in two at random, row by row, as two files."""
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    order = np.random.default_rng(seed).permutation(len(table))
    paths = scratch / "suspect" / "train.parquet", scratch / "trusted" / "train.parquet"
    for path, rows in zip(paths, np.array_split(order, 2), strict=True):
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table.take(np.sort(rows)), path)
    return paths


def poisoned(source: Path, destination: Path, seed: int) -> PoisonedSet:
    """A poisoned copy with its truth."""
    from sanitizer import registry
    from sanitizer.sources.base import open_source

    return registry.attack("badnets")(rate=RATE, target=0, seed=seed).poison(open_source(str(source)), destination)


def reencoded(source: Path, destination: Path, encoding: dict[str, Any]) -> Path:
    """A clean copy, written as the poisoned one was, so that the encoding gives nothing away."""
    from sanitizer.sources.base import Change, Found, open_source
    from sanitizer.sources.decode import LIMITS, decode
    from sanitizer.sources.encode import encode

    def change(found: Found) -> Change:
        assert found.content is not None
        return encode(decode(found.content, LIMITS), encoding["format"], encoding.get("quality", 95)), found.label

    open_source(str(source)).rewrite(destination, change)
    return next(destination.iterdir())


def against(trusted: Path, suspect: Path, seed: int, scratch: Path) -> Verdict:
    """A scan as a user would run it."""
    from sanitizer.pipeline import ScanSettings, scan

    store = scratch / "store"
    store.mkdir(mode=0o700, exist_ok=True)
    return scan(suspect, settings=ScanSettings(trusted=str(trusted), fdr=FDR, seed=seed, store=str(store)))


def answer(verdict: Verdict) -> dict[str, Any]:
    """What a verdict says, in numbers."""
    summary, table = verdict.summary, verdict.table
    return {
        "samples": table.num_rows,
        "trusted": summary["calibration"]["size"],
        "smallest_visible": summary["calibration"]["smallest_visible"],
        "flagged": sum(table["suspicious"].to_pylist()),
        "smallest_p": min(table["p_value"].to_pylist()),
        "found": verdict.poison_found,
        "exit_code": verdict.exit_code,
        "incomplete": list(verdict.incomplete),
        "notes": summary["notes"],
        "seconds": summary["timings"],
    }


def lax(verdict: Verdict) -> dict[str, Any]:
    """What the same p-values say at a laxer level."""
    from sanitizer.conformal import benjamini_hochberg

    p = np.array(verdict.table["p_value"].to_pylist())
    return {"lax_fdr": LAX_FDR, "flagged_at_lax_fdr": int(benjamini_hochberg(p, LAX_FDR).sum())}


def against_truth(verdict: Verdict, made: PoisonedSet) -> dict[str, Any]:
    """What a verdict says, compared with what was planted."""
    truth = {row["id"]: row["is_poison"] for row in made.truth().to_pylist()}
    flags = list(zip(verdict.table["id"].to_pylist(), verdict.table["suspicious"].to_pylist(), strict=True))
    poison = [flag for name, flag in flags if truth[name]]
    clean = [flag for name, flag in flags if not truth[name]]
    shares = {"recall": sum(poison) / len(poison), "false_positive_rate": sum(clean) / len(clean)}
    counts = {"attack": "badnets", "rate": RATE, "poisoned": len(poison), "false_positives": sum(clean)}
    return {**counts, **shares, **answer(verdict)}


def main() -> None:
    """Fill in what is missing, one process a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SANITIZER_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/trusted.json"))
    parser.add_argument("--only", default="", help="run only cells whose name contains this")
    parser.add_argument("--readme", type=Path, help="only put the tables of what was measured into this file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        json.dump(measure(Cell(**json.loads(args.cell)), args.data), sys.stdout)
        return
    if args.readme:
        put_into(args.readme, {"trusted": render(json.loads(args.out.read_text())["cells"])}, "trusted")
        return
    results = json.loads(args.out.read_text()) if args.out.exists() else {"cells": {}}
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, no GPU"
    for cell in cells():
        if cell.key in results["cells"] or args.only not in cell.key:
            continue
        if not _file_of(args.data, cell.data).exists():
            print(f"{cell.key}: skipped, no {_file_of(args.data, cell.data)}")
            continue
        command = [sys.executable, "-m", "benchmarks.trusted", "--data", str(args.data)]
        done = subprocess.run([*command, "--cell", json.dumps(asdict(cell))], stdout=subprocess.PIPE, check=True)
        results["cells"][cell.key] = found = json.loads(done.stdout)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
        print(line(cell, found), flush=True)


def line(cell: Cell, found: dict[str, Any]) -> str:
    """One cell in words."""
    if cell.kind == "guarantee":
        flagged = [run["flagged"] for run in found["runs"]]
        return f"{cell.key:36} {sum(map(bool, flagged))} of {len(flagged)} runs flag anything: {flagged}"
    said = f"recall {found['recall']:.4f}  false positives {found['false_positives']}  exit code {found['exit_code']}"
    return f"{cell.key:36} {said}"


def _file_of(data: Path, name: str) -> Path:
    return data / name / "train.parquet"


def _data(made: PoisonedSet) -> Path:
    return next(made.data.iterdir())


if __name__ == "__main__":
    main()
