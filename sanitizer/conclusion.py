"""What a scan concluded, as it is kept: the table of all items, and the summary that answers for the set."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa

from detectors.base import Evidence
from sanitizer.sources.base import Status
from sanitizer.sources.census import Census
from sanitizer.verdict import Judgement, Opinion

#: Nearest neighbours listed for each suspicious sample.
NEAREST_SHOWN = 3
#: Packages whose version can change a result.
VERSIONED = ("numpy", "torch", "scikit-learn", "pyarrow", "pillow", "faiss-cpu")


@dataclass(frozen=True)
class Findings:
    """Everything that a scan learned."""

    census: Census
    evidence: Evidence
    opinions: Mapping[str, Opinion]
    judgement: Judgement
    not_run: list[dict[str, str]]  # detectors that lacked evidence: name, reason
    failed: list[str]  # why the scan is incomplete, if it is


def table_of(found: Findings) -> pa.Table:
    """One row per item found: scanned samples in canonical order, then everything else."""
    samples, others, names = found.census.samples, found.census.others, found.census.class_names
    rest = len(others)

    def column(values: list[Any], missing: Any = None) -> list[Any]:
        return values + [missing] * rest

    labels = [sample.label for sample in samples] + [other.label for other in others]
    ids = [sample.id for sample in samples] + [other.id for other in others]
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "digest": pa.array(column([sample.digest for sample in samples]), pa.string()),
        "view_digest": pa.array(column([sample.view_digest for sample in samples]), pa.string()),
        "status": pa.array(["scanned"] * len(samples) + [str(other.status) for other in others], pa.string()),
        "label": pa.array(labels, pa.int32()),
        "label_name": pa.array([None if label is None else names[label] for label in labels], pa.string()),
        "suspicious": pa.array(column(found.judgement.suspicious.tolist(), False), pa.bool_()),
        "kind": pa.array(column(found.judgement.kind.tolist(), ""), pa.string()),
        "score": pa.array(column(found.judgement.score.tolist()), pa.float64()),
        "p_value": pa.array(column(found.judgement.p_value.tolist()), pa.float64()),
    }
    for name, opinion in found.opinions.items():
        columns[f"score_{name}"] = pa.array(column(opinion.scores.tolist()), pa.float64())
    reasons = [list(lines) for lines in found.judgement.reasons] + [[other.reason] for other in others]
    columns["reasons"] = pa.array(reasons, pa.list_(pa.string()))
    columns["nearest"] = pa.array(column(_nearest(found), []), pa.list_(pa.string()))
    return pa.table(columns)


def summary_of(found: Findings) -> dict[str, Any]:
    """The findings in numbers and words; the pipeline adds what was asked and what it took."""
    classes = found.judgement.classes
    return {
        "tool": "dataset-sanitizer",
        "version": _version("dataset-sanitizer"),
        "answer": _answer(found),
        "counts": {str(status): count for status, count in found.census.counts.items()},
        "classes": [{**asdict(finding), "name": found.census.class_names[finding.label]} for finding in classes],
        "detectors": {
            "run": [
                {"name": name, "settings": repr(opinion.detector), "says": opinion.detector.says}
                for name, opinion in found.opinions.items()
            ],
            "not_run": found.not_run,
        },
        "versions": {name: _version(name) for name in VERSIONED} | {"python": platform.python_version()},
        "notes": [*found.judgement.notes, *_copies(found.census)],
        "incomplete": found.failed,
    }


def _answer(found: Findings) -> dict[str, Any]:
    """The data-set-level answer, in one sentence and in numbers."""
    census, judgement, failed = found.census, found.judgement, found.failed
    planted = int((judgement.kind == "planted").sum())
    hidden = [census.class_names[finding.label] for finding in judgement.classes if finding.hidden]
    scanned = census.counts[Status.SCANNED]
    if planted:
        where = f"class {hidden[0]!r}" if len(hidden) == 1 else f"{len(hidden)} classes"
        sentence = f"{planted:,} of {scanned:,} samples look planted, in {where}."
    else:
        sentence = f"No planted samples found among {scanned:,}."
    if failed:
        sentence = f"Incomplete: {failed[0]}. {sentence}"
    return {
        "poison_found": judgement.poison_found,
        "planted": planted,
        "label_suspects": int((judgement.kind == "label").sum()),
        "sentence": sentence,
        "power": (
            "Looks for groups whose label is not theirs, whether or not the network learned what marks them; "
            "clean-label and single-sample attacks may go unseen."
        ),
    }


def _copies(census: Census) -> list[str]:
    """Images that are pixel for pixel the same as another one, and whether their labels agree."""
    labels: dict[str, list[int | None]] = {}
    for sample in census.samples:
        labels.setdefault(sample.view_digest, []).append(sample.label)
    repeated = [found for found in labels.values() if len(found) > 1]
    if not repeated:
        return []
    disagree = sum(len(found) for found in repeated if len(set(found)) > 1)
    line = f"{sum(map(len, repeated)):,} samples are copies: only {len(repeated):,} different images among them"
    return [line + (f"; {disagree:,} of them carry conflicting labels" if disagree else "")]


def _nearest(found: Findings) -> list[list[str]]:
    """The ids of the nearest samples of the same class, for each suspicious sample."""
    census, evidence, judgement = found.census, found.evidence, found.judgement
    nearest: list[list[str]] = [[] for _ in census.samples]
    if judgement.suspicious.any() and "feature/class" in evidence.neighbors:
        indices = evidence.neighbors["feature/class"].indices[:, :NEAREST_SHOWN]
        for row in np.flatnonzero(judgement.suspicious):
            nearest[row] = [census.samples[other].id for other in indices[row] if other >= 0]
    return nearest


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
