"""Fill in the matrix, one process a cell; what is measured is kept, what failed is tried again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.detection.grid import Entry
from benchmarks.places import Places
from sanitizer.writing import write_whole

Cells = dict[str, dict[str, Any]]


def fill(entries: list[Entry], out: Path, places: Places, *, peers: Path | None, device: str) -> None:
    """Measure what is missing, in the order given."""
    for entry in entries:
        if not (places.data / entry.file).exists():
            print(f"{entry.key}: skipped, no {places.data / entry.file}")
            continue
        if finished(read(out).get(entry.key, {}), peers):
            continue
        found = _in_its_own_process(entry, places, peers, device)
        cells = read(out)  # again: another process may have written meanwhile
        cells[entry.key] = found
        write_whole(out, (json.dumps({"cells": cells}, indent=1, allow_nan=False) + "\n").encode())
        print(line(entry.key, found), flush=True)


def read(out: Path) -> Cells:
    """Everything measured so far."""
    if not out.exists():
        return {}
    cells: Cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    return cells


def finished(found: Mapping[str, Any], peers: Path | None) -> bool:
    """Whether a cell has all that is asked for.

    >>> finished({}, None), finished({"failed": "no"}, None), finished({"compared": {"ours": {}}}, None)
    (False, False, True)
    """
    return "compared" in found and (peers is None or len(found["compared"]) > 1)


def line(key: str, found: Mapping[str, Any]) -> str:
    """One cell in words."""
    if "failed" in found:
        return f"{key}: failed: {found['failed']}"
    ours, seconds = found["compared"]["ours"], found["seconds"]
    recall = "-" if ours["recall"] is None else f"{ours['recall']:.4f}"
    cost = f"{seconds['poisoning']:.0f} + {seconds['scanning']:.0f} s, {found['peak_mb']} MB"
    return f"{key}: recall {recall}, false positives {ours['false_positive_rate']:.5f}, {cost}"


def _in_its_own_process(entry: Entry, places: Places, peers: Path | None, device: str) -> dict[str, Any]:
    """What it measured, or why it did not: a matrix takes days, one cell that breaks must not cost the others."""
    command = [sys.executable, "-m", "benchmarks.detection", "--matrix", "--device", device]
    command += ["--data", str(places.data), "--weights", str(places.weights)]
    command += ["--peers", str(peers)] if peers else []
    done = subprocess.run([*command, "--cell", entry.key], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"data": entry.data, "row": f"{entry.data}: {entry.cell.row}", "name": entry.key, "failed": last}
    found: dict[str, Any] = json.loads(done.stdout)
    return found
