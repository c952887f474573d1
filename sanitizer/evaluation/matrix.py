"""The matrix: poison a set, scan it as a user would, and only then hold the verdict against the truth.

What is poisoned, how and where stays with the cell; the scan is handed a folder of data and its settings.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from sanitizer import registry
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.devices import resolve_device
from sanitizer.errors import SanitizerError, UsageError
from sanitizer.evaluation.cells import CONTROL, Cell
from sanitizer.evaluation.curves import thinned
from sanitizer.evaluation.ranking import auroc, confusion, recall_at
from sanitizer.evaluation.retraining import Retraining, retrain
from sanitizer.pipeline import ScanSettings, choose_detectors, scan
from sanitizer.progress import SILENT, Progress
from sanitizer.record import Verdict, version_of
from sanitizer.sources.base import Source, digest_of, open_source
from sanitizer.store import Store, implementation
from sanitizer.writing import refuse_inside, write_whole

RESULTS = "results.json"
SETS = "sets"
#: False positive rates at which an oracle's recall is told, by their name in the results.
RATES = {"recall_at_1_percent": 0.01, "recall_at_0.1_percent": 0.001}
#: Which kinds of flag count in each reading of a verdict.
FLAGS = {"planted": ("planted",), "label": ("label",), "any": ("planted", "label")}
EXIT_MEANS = {
    0: "complete, nothing planted found",
    1: "planted samples found, or hostile items refused",
    2: "incomplete, or nothing scanned",
}
#: A change of these changes figures: what was measured before it is measured again.
_DECISIVE = (
    "detectors", "sanitizer.attacks", "sanitizer.sources", "sanitizer.embed", "sanitizer.nets", "sanitizer.index",
    "sanitizer.extraction", "sanitizer.evidence", "sanitizer.pipeline", "sanitizer.verdict", "sanitizer.membership",
    "sanitizer.conformal", "sanitizer.classifiers", "sanitizer.evaluation.cells", "sanitizer.evaluation.curves",
    "sanitizer.evaluation.matrix", "sanitizer.evaluation.ranking", "sanitizer.evaluation.retraining",
    "sanitizer.evaluation.success",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all cells have in common.

    Args:
        source: What is poisoned.
        scan: As what scans; its seed gives way to that of the cell.
        retraining: How to measure whether removing what was flagged helps; not at all if None.
        keep: Keep the poisoned sets beside the results.
    """

    source: Source
    scan: ScanSettings
    retraining: Retraining | None = None
    keep: bool = False

    @cached_property
    def context(self) -> str:
        """Everything besides the cell that decides a figure, as text: results of another context are not these."""
        scanned = {name: value for name, value in self.scan.asked().items() if name != "seed"}
        facts: dict[str, Any] = {
            "version": f"{version_of(registry.DISTRIBUTION)} {implementation(*_DECISIVE)}",
            "source": _identity(self.source),
            "scan": scanned | {"device": self.scan.device},
        }
        if networks := [_network(name) for name in (self.scan.model, self.scan.reference) if name]:
            facts["networks"] = networks
        if strangers := _strangers(choose_detectors(self.scan.detectors)):
            facts["plugins"] = strangers
        if self.scan.trusted:
            facts["trusted"] = _identity(self._opened(self.scan.trusted))
        if self.retraining:
            how = self.retraining
            facts["retraining"] = asdict(how.victim) | {"runs": how.runs, "tests": _identity(how.tests)}
        return json.dumps(facts, sort_keys=True)

    @property
    def given(self) -> str:
        """What the scan is given, in words."""
        networks = [name for name in (self.scan.model, self.scan.reference) if name and name != "probe"]
        parts = ["images and labels", *(f"frozen network {Path(name).name}" for name in networks)]
        if self.scan.trusted:
            parts.append(f"trusted samples from {Path(self.scan.trusted).name}")
        return ", ".join(parts) + "; no rate, no truth"

    def _opened(self, uri: str) -> Source:
        return open_source(uri, image_column=self.scan.image_column, label_column=self.scan.label_column)


def evaluate(cells: Sequence[Cell], task: Task, out: Path, progress: Progress = SILENT) -> list[dict[str, Any]]:
    """Measure every cell that is not measured yet; the results of the cells, in their order.

    ``results.json`` in ``out`` is written after each cell, so that the same call goes on after an interruption. A
    cell that fails is recorded with the reason, does not stop the others, and is tried again by the next call.
    """
    refuse_inside(out, task.source.root)
    resolve_device(task.scan.device)  # as the context does with the rest: refused now, not once for each cell
    keys = [f"{cell.name}; {task.context}" for cell in cells]
    known = read_results(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {str(out)!r} ({error.strerror}): choose another") from None
    with progress.stage("cells", len(cells)) as advance:
        for key, cell in zip(keys, cells, strict=True):
            if "failed" in known.get(key, {"failed": "not measured yet"}):
                known[key] = {
                    **asdict(cell), "row": cell.row, "name": cell.name, "context": task.context, "given": task.given,
                    **_measured(cell, task, out / SETS if task.keep else None, progress),
                }  # fmt: skip
                _write_results(out, known)
            advance(1)
    return [known[key] for key in keys]


def read_results(out: Path) -> dict[str, dict[str, Any]]:
    """Everything that was ever measured into a folder, of other contexts too."""
    if not (out / RESULTS).exists():
        return {}
    try:
        cells = json.loads((out / RESULTS).read_bytes())["cells"]
        if not all(isinstance(cell, dict) and {"row", "name", "context"} <= cell.keys() for cell in cells.values()):
            raise ValueError("cells that are not ours")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        came = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"expected results of `sanitizer evaluate` in {str(out)!r}, got: {came}: name another"
        ) from None
    return cells  # type: ignore[no-any-return]


def figures(verdict: Verdict, kinds: Mapping[str, str]) -> dict[str, Any]:
    """A verdict held against the truth: ``kinds`` says of each id what it is (clean, poison or cover)."""
    rows = verdict.table.filter(pc.equal(verdict.table["status"], "scanned"))
    ids = rows["id"].to_pylist()
    if set(ids) != kinds.keys():
        raise UsageError(
            f"expected a verdict on the {len(kinds)} samples of the poisoned set, got one on {len(ids)} others: "
            "report this"
        )
    truth, said = np.array([kinds[name] for name in ids]), np.array(rows["kind"].to_pylist())
    counted = {reading: confusion(np.isin(said, which), truth) for reading, which in FLAGS.items()}
    return {
        "samples": len(ids),
        **{kind: int((truth == kind).sum()) for kind in ("poison", "cover", "clean")},
        "poison_found": verdict.poison_found,
        "exit_code": verdict.exit_code,
        "exit_means": EXIT_MEANS[verdict.exit_code],
        "incomplete": list(verdict.incomplete),
        "flags": {
            reading: asdict(one) | {"recall": one.recall, "false_positive_rate": one.false_positive_rate}
            for reading, one in counted.items()
        },
        "detectors": {
            name.removeprefix("score_"): _ranked(rows[name].to_numpy(), truth)
            for name in rows.column_names
            if name.startswith("score_")
        },
        "fused": _ranked(rows["score"].to_numpy(), truth),
        "not_run": verdict.summary["detectors"]["not_run"],
    }


def _ranked(scores: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    judged = truth != "cover"
    scores, is_poison = scores[judged], truth[judged] == "poison"
    recalls = {name: recall_at(scores, is_poison, rate) for name, rate in RATES.items()}
    return {"auroc": auroc(scores, is_poison), **recalls, "curve": thinned(scores, is_poison)}


def _measured(cell: Cell, task: Task, kept: Path | None, progress: Progress) -> dict[str, Any]:
    """The figures of a cell, or as many as there were when it failed, and why it did."""
    found: dict[str, Any] = {}
    try:
        with _place(cell, task, kept) as place:
            for part in _parts(cell, task, place, progress):
                found |= part
    except Exception as error:  # a matrix takes hours: one cell that breaks must not cost the others
        line = (str(error).splitlines() or [""])[0]
        found["failed"] = line if isinstance(error, SanitizerError) else f"{type(error).__name__}: {line}"
    return found


def _parts(cell: Cell, task: Task, place: Path, progress: Progress) -> Iterator[dict[str, Any]]:
    """Poison, scan, compare, retrain: what each adds to the result."""
    settings = replace(task.scan, seed=cell.seed)
    start = time.perf_counter()
    made = _poisoned(cell, task, place, progress)
    kinds = {row["id"]: row["kind"] for row in made.truth().to_pylist()}
    poisoned = time.perf_counter()
    verdict = scan(str(made.data), None, settings, progress)
    scanned = time.perf_counter()
    seconds = {"poisoning": poisoned - start, "scanning": scanned - poisoned}
    yield figures(verdict, kinds) | {"seconds": seconds, "stages": verdict.summary["timings"]}
    if task.retraining and cell.attack != CONTROL:
        flagged = verdict.suspicious()["id"].to_pylist()
        columns = {"image_column": settings.image_column, "label_column": settings.label_column}
        told = retrain(made, flagged, task.retraining, **columns, progress=progress)
        yield {"retraining": told, "seconds": seconds | {"retraining": time.perf_counter() - scanned}}


def _poisoned(cell: Cell, task: Task, place: Path, progress: Progress) -> PoisonedSet:
    """The poisoned copy; one that was kept by an earlier call is not made again."""
    if place.exists():
        return PoisonedSet.open(place)
    store = Store.open(task.scan.store, outside=(task.source.root, place))
    return cell.poisoner().poison(task.source, place, progress, device=task.scan.device, store=store)


@contextmanager
def _place(cell: Cell, task: Task, kept: Path | None) -> Iterator[Path]:
    """Where the poisoned copy of a cell lies, for as long as it is needed."""
    if kept:
        yield kept / f"{cell.attack}-{digest_of(f'{cell.name}; {task.context}'.encode())[:12]}"
        return
    with tempfile.TemporaryDirectory(prefix="sanitizer-") as scratch:
        yield Path(scratch) / "set"


def _write_results(out: Path, cells: Mapping[str, Any]) -> None:
    said = {"tool": registry.DISTRIBUTION, "version": version_of(registry.DISTRIBUTION), "cells": cells}
    write_whole(out / RESULTS, (json.dumps(said, indent=1, allow_nan=False) + "\n").encode())


def _identity(source: Source) -> str:
    """What a source holds, wherever it lies: every item with its label."""
    hasher = hashlib.sha256(repr(source.class_names).encode())
    for found in source.stream():
        digest = digest_of(found.content) if found.content is not None else found.status
        hasher.update(f"{found.id!r} {found.label} {digest}\n".encode())
    return hasher.hexdigest()[:16]


def _network(name: str) -> str:
    """A network by what it is: a file by its content."""
    return digest_of(Path(name).read_bytes())[:16] if Path(name).is_file() else name


def _strangers(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Detectors that are not ours, whose code ours does not vouch for, with the version that they come in."""
    origins = {name: registry.origin(registry.DETECTORS, name) for name in chosen}
    return {name: f"{home} {version_of(home)}" for name, home in origins.items() if home != registry.DISTRIBUTION}
