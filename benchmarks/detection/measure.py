"""One cell of the matrix: poison, scan, ask the peers about the same features, and only then look at the truth."""

from __future__ import annotations

import json
import platform
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from benchmarks.detection.grid import Entry
from benchmarks.detection.peers import PEERS, hear_all
from benchmarks.places import Places
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.devices import resolve_device
from sanitizer.evaluation.matrix import Task, figures
from sanitizer.evaluation.ranking import auroc, confusion, recall_at
from sanitizer.extraction import Extraction
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.record import Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store

#: False positives at which everybody's recall is told: an oracle sets the threshold, for them as for us.
RATE = 0.005


def measure(entry: Entry, places: Places, peers: Path | None = None, device: str = "auto") -> dict[str, Any]:
    """The figures of a cell, in this process, whose peak memory is one of them."""
    cell = entry.cell
    with tempfile.TemporaryDirectory(prefix="detection-") as scratch:
        # The store hands the peers the very features that the scan looked at.
        store = Store.open(str(Path(scratch) / "store")) if peers else None
        settings = ScanSettings(seed=cell.seed, device=device, store=str(store.root) if store else "none")
        source = open_source(str(places.data / entry.file))
        task = Task(source=source, scan=settings)
        start = time.perf_counter()
        made = entry.poisoner(places).poison(source, Path(scratch) / "set", device=device, store=store)
        poisoned = time.perf_counter()
        verdict = scan(str(made.data), None, settings)
        scanned = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        kinds = {row["id"]: row["kind"] for row in made.truth().to_pylist()}
        found = figures(verdict, kinds)
        compared = {"ours": ours(verdict, kinds)}
        if peers and store:
            compared |= others(peers, made, settings, store, kinds)
    return {
        "data": entry.data, "row": f"{entry.data}: {cell.row}", "name": entry.key,
        "attack": cell.attack, "poisoning": cell.row, "seed": cell.seed, "given": task.given,
        "code": json.loads(task.context)["version"], "machine": platform.machine(), "peak_mb": peak,
        "seconds": {"poisoning": poisoned - start, "scanning": scanned - poisoned},
        "stages": verdict.summary["timings"], **found, "compared": compared,
    }  # fmt: skip


def ours(verdict: Verdict, kinds: Mapping[str, str]) -> dict[str, Any]:
    """What the scan says, held against the truth as the peers are."""
    rows = verdict.table.filter(pc.equal(verdict.table["status"], "scanned"))
    truth = np.array([kinds[name] for name in rows["id"].to_pylist()])
    return held(rows["score"].to_numpy(), np.array(rows["suspicious"].to_pylist()), truth)


def others(
    python: Path, made: PoisonedSet, settings: ScanSettings, store: Store, kinds: Mapping[str, str]
) -> dict[str, Any]:
    """What the peers say about the features that the scan has left in the store."""
    census = take_census(open_source(str(made.data)), store=store)
    features, labels = features_of(census, settings, store)
    truth = np.array([kinds[sample.id] for sample in census.samples])
    told = {}
    for name, said in hear_all(python, features, labels).items():
        facts = {"given": PEERS[name].given, "threshold": PEERS[name].threshold, **said.facts()}
        told[name] = facts | (held(said.scores, said.flags, truth) if said.scores is not None else {})
    return told


def features_of(census: Census, settings: ScanSettings, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """The probe's features and the labels, in the order of the census: read from the store, not computed again."""
    device = resolve_device(settings.device)
    extract = Extraction(budget=settings.budget, seed=settings.seed, device=device, store=store)
    return np.asarray(extract(census).spaces["feature"], np.float32), census.labels()


def held(scores: np.ndarray, flags: np.ndarray | None, truth: np.ndarray) -> dict[str, float | None]:
    """Scores and flags against the truth; cover samples are neither poison nor clean, and are left out.

    >>> held(np.array([3, 1, 2]), np.array([True, False, True]), np.array(["poison", "clean", "clean"]))["recall"]
    1.0
    """
    judged = truth != "cover"
    poison = truth[judged] == "poison"
    told = None if flags is None else confusion(flags, truth)
    return {
        "auroc": auroc(scores[judged], poison),
        "recall_at_0.5_percent": recall_at(scores[judged], poison, RATE),
        "recall": told.recall if told else None,
        "false_positive_rate": told.false_positive_rate if told else None,
    }
