"""Time ``sanitizer gate --verdict`` on many tiny images, as a pipeline would run it before every training.

    python -m benchmarks.gate [--rows 50000] [--layout parquet|folder] [--profile FILE]

Nothing is scanned: the verdict is made up, with the columns of a real one. What is timed is a fresh process, start-up
included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.actions.gallery import SCHEMA
from sanitizer.actions.manifest import write_manifest
from sanitizer.record import GALLERY, Verdict
from sanitizer.sources.base import digest_of
from sanitizer.sources.encode import encode

CLASSES = 10
DETECTORS = 20


def main() -> None:
    """Make the set, time the gate, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--layout", choices=("parquet", "folder"), default="parquet")
    parser.add_argument("--profile", type=Path, help="Also write what cProfile saw.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = tiny_images(args.rows)
        source = scratch / ("data.parquet" if args.layout == "parquet" else "data")
        ids = (as_parquet if args.layout == "parquet" else as_folder)(source, images)
        made_up_verdict(images, ids, scratch / "verdict")
        (scratch / "policy.toml").write_text("[gate]\n")
        seconds = timed(["gate", str(source), "--policy", str(scratch / "policy.toml"), "--verdict",
                         str(scratch / "verdict"), "--json", str(scratch / "out.json")], args.profile)  # fmt: skip
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{args.rows:,} images, {args.layout}, {os.cpu_count()} cores: {seconds:.1f} s, ", end="")
        print(f"{cpu.ru_utime + cpu.ru_stime:.1f} s of them computing")


def timed(words: list[str], profile: Path | None) -> float:
    """The seconds that a command takes in a process of its own."""
    profiled = ["-m", "cProfile", "-o", str(profile)] if profile else []
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *profiled, "-m", "sanitizer.cli", *words], check=False)
    assert done.returncode == 0, words
    return time.perf_counter() - start


def tiny_images(count: int) -> list[bytes]:
    """Noise of 4 x 4 pixels: all different, and quick to encode."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return [encode(image, "PNG") for image in pixels]


def label_of(number: int) -> str:
    """Classes in turn."""
    return f"class{number % CLASSES}"


def as_parquet(path: Path, images: list[bytes]) -> list[str]:
    """One file; returns the ids."""
    column = pa.StructArray.from_arrays(
        [pa.array(images, pa.binary()), pa.array([None] * len(images), pa.string())], ["bytes", "path"]
    )
    pq.write_table(pa.table({"image": column, "label": [label_of(number) for number in range(len(images))]}), path)
    return [f"{path.name}#{number}" for number in range(len(images))]


def as_folder(root: Path, images: list[bytes]) -> list[str]:
    """A folder for each class; returns the ids."""
    ids = [f"{label_of(number)}/{number:06}.png" for number in range(len(images))]
    for number in range(CLASSES):
        (root / label_of(number)).mkdir(parents=True)
    for name, content in zip(ids, images, strict=True):
        (root / name).write_bytes(content)
    return ids


def made_up_verdict(images: list[bytes], ids: list[str], folder: Path) -> None:
    """A verdict folder that finds nothing."""
    count, rng = len(images), np.random.default_rng(1)
    digests = [digest_of(content) for content in images]
    labels = [label_of(number) for number in range(count)]
    table = pa.table(
        {
            "id": ids, "digest": digests, "view_digest": digests, "status": ["scanned"] * count,
            "label": pa.array([number % CLASSES for number in range(count)], pa.int32()), "label_name": labels,
            "suspicious": [False] * count, "kind": [""] * count, "score": rng.random(count),
            "p_value": rng.random(count),
        }
        | {f"score_detector{number}": rng.random(count) for number in range(DETECTORS)}
        | dict.fromkeys(("reasons", "nearest"), pa.array([[]] * count, pa.list_(pa.string())))
    )  # fmt: skip
    verdict = Verdict(
        table,
        {
            "tool": "dataset-sanitizer", "version": "made up", "source": "", "notes": [], "incomplete": [], "seed": 0,
            "answer": {"poison_found": False, "planted": 0, "label_suspects": 0, "sentence": "None.", "power": ""},
            "counts": {"scanned": count, "unreadable": 0, "refused": 0, "ignored": 0},
            "classes": [{"name": label_of(number), "reason": ""} for number in range(CLASSES)],
            "calibration": {"kind": "self", "size": 0, "says": ""}, "parameters": {"image_column": None},
            "detectors": {"run": [], "not_run": []}, "view": "", "model": {}, "timings": {},
        },
    )  # fmt: skip
    folder.mkdir()
    verdict.write(folder)
    pq.write_table(SCHEMA.empty_table(), folder / GALLERY)
    write_manifest(verdict, folder)


if __name__ == "__main__":
    main()
