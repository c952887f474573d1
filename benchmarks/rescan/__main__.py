"""Time a first scan, a scan of unchanged data and one after 1 % of it changed, as a user would run them.

    python -m benchmarks.rescan --data FOLDER --weights FOLDER [--rounds 3] [--out benchmarks/results/rescan.json]

Every round begins with an empty store, and each scan is a process of its own with one thread. Start-up is the same
command on a set of a few images whose verdict the store knows: the interpreter, the imports, the writing of a folder.
Times are wall-clock seconds of one machine, so only the ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

CHANGED = 0.01
CIFAR = "cifar10_resnet56.safetensors"


def main() -> None:
    """Run the rounds and write what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--probe-rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/rescan.json"))
    args = parser.parse_args()
    source = args.data / "cifar10" / "train.parquet"
    results: dict[str, Any] = {"set": "cifar10, 50,000 images", "threads": 1}
    for name, model, rounds in (
        (CIFAR, ["--model", str(args.weights / CIFAR)], args.rounds),
        ("probe", [], args.probe_rounds),
    ):
        results[name] = summary([one_round(source, model) for _ in range(rounds)])
        print(name, json.dumps(results[name]), flush=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n")


def one_round(source: Path, model: list[str]) -> dict[str, float]:
    """One empty store, and the scans that fill and use it."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        tiny, changed = few_images(source, scratch / "tiny"), with_changes(source, scratch / "changed")
        store = scratch / "store"
        scan(tiny, scratch, store, model)
        seconds = {"first": scan(source, scratch, store, model)}
        known = rows_kept(store)
        seconds |= {"start-up": scan(tiny, scratch, store, model), "unchanged": scan(source, scratch, store, model)}
        seconds["1 % changed"] = scan(changed, scratch, store, model)
        return seconds | {"rows computed after the change": rows_kept(store) - known}


def scan(source: Path, scratch: Path, store: Path, model: list[str]) -> float:
    """The seconds that the command takes."""
    command = ["scan", str(source), "--out", str(scratch / "verdict"), "--store", str(store), *model]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "sanitizer.cli", *command], env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), command
    return time.perf_counter() - start


def few_images(source: Path, destination: Path) -> Path:
    """The first two hundred images."""
    from sanitizer.sources.base import open_source

    opened = open_source(str(source))
    few = {found.id for found, _ in zip(opened.stream(), range(200), strict=False)}
    opened.rewrite(destination, lambda found: (found.content, found.label) if found.id in few else None)
    return destination


def with_changes(source: Path, destination: Path) -> Path:
    """The set with every hundredth image darkened a little."""
    from sanitizer.sources.base import open_source
    from sanitizer.sources.decode import LIMITS, decode
    from sanitizer.sources.encode import encode

    opened = open_source(str(source))
    ids = [found.id for found in opened.stream()]
    chosen = set(np.random.default_rng(0).choice(ids, round(CHANGED * len(ids)), replace=False).tolist())

    def change(found: Any) -> Any:
        if found.id not in chosen:
            return found.content, found.label
        return encode(decode(found.content, LIMITS) // 2, "JPEG"), found.label

    opened.rewrite(destination, change)
    return destination


def rows_kept(store: Path) -> int:
    """How many rows of frozen networks the store holds."""
    shards = store.glob("rows/*/*.arrow")
    return sum(pa.ipc.open_file(pa.memory_map(str(shard))).read_all().num_rows for shard in shards)


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds, and the shares of the first scan, net of start-up."""
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}

    def share(name: str) -> float:
        return statistics.median((one[name] - one["start-up"]) / (one["first"] - one["start-up"]) for one in rounds)

    return {
        "rounds": len(rounds),
        "median": {name: round(value, 2) for name, value in median.items()},
        "share of the first scan, net of start-up": {
            name: round(share(name), 4) for name in ("unchanged", "1 % changed")
        },
    }


if __name__ == "__main__":
    main()
