"""What a scan concluded, as it is kept: the table of all items, and the summary that answers for the set."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.base import Evidence
from sanitizer.record import VERSIONED, version_of
from sanitizer.sources.base import Found, Status
from sanitizer.sources.census import Census
from sanitizer.sources.pooled import PooledSource
from sanitizer.verdict import Judgement, Opinion

#: Nearest neighbours listed for each suspicious sample.
NEAREST_SHOWN = 3


@dataclass(frozen=True)
class Findings:
    """Everything that a scan learned."""

    census: Census
    evidence: Evidence
    opinions: Mapping[str, Opinion]
    judgement: Judgement
    not_run: list[dict[str, str]]  # detectors that lacked evidence: name, reason
    failed: list[str]  # why the scan is incomplete, if it is
    trusted: NDArray[np.bool_] | None = None  # samples that were compared with, and are not reported on

    @property
    def reported(self) -> NDArray[np.int64]:
        """The rows of the samples that were asked about."""
        rows = np.arange(len(self.census.samples))
        return rows if self.trusted is None else rows[~self.trusted]

    @property
    def others(self) -> list[Found]:
        """What was found beside them and not scanned."""
        others = self.census.others
        return [item for item in others if self.trusted is None or not PooledSource.is_trusted(item.id)]

    @property
    def counts(self) -> dict[str, int]:
        """How many items ended with each status."""
        counts = Counter(other.status for other in self.others)
        return {str(status): counts[status] for status in Status} | {str(Status.SCANNED): len(self.reported)}


def table_of(found: Findings) -> pa.Table:
    """One row per item found: scanned samples in canonical order, then everything else."""
    samples, others = [found.census.samples[row] for row in found.reported], found.others
    names, rest = found.census.class_names, len(others)

    def column(values: Sequence[Any], missing: Any = None) -> list[Any]:
        return [*values, *[missing] * rest]

    def judged(values: np.ndarray, missing: Any = None) -> list[Any]:
        return column(values[found.reported].tolist(), missing)

    judgement = found.judgement
    labels = [sample.label for sample in samples] + [other.label for other in others]
    ids = [sample.id for sample in samples] + [other.id for other in others]
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "digest": pa.array(column([sample.digest for sample in samples]), pa.string()),
        "view_digest": pa.array(column([sample.view_digest for sample in samples]), pa.string()),
        "status": pa.array(["scanned"] * len(samples) + [str(other.status) for other in others], pa.string()),
        "label": pa.array(labels, pa.int32()),
        "label_name": pa.array([None if label is None else names[label] for label in labels], pa.string()),
        "suspicious": pa.array(judged(judgement.suspicious, False), pa.bool_()),
        "kind": pa.array(judged(judgement.kind, ""), pa.string()),
        "score": pa.array(judged(judgement.score), pa.float64()),
        "p_value": pa.array(judged(judgement.p_value), pa.float64()),
    }
    for name, opinion in found.opinions.items():
        columns[f"score_{name}"] = pa.array(judged(opinion.scores), pa.float64())
    reasons = [list(judgement.reasons[row]) for row in found.reported] + [[other.reason] for other in others]
    columns["reasons"] = pa.array(reasons, pa.list_(pa.string()))
    nearest = _nearest(found)
    columns["nearest"] = pa.array(column([nearest[row] for row in found.reported], []), pa.list_(pa.string()))
    return pa.table(columns)


def summary_of(found: Findings) -> dict[str, Any]:
    """The findings in numbers and words; the pipeline adds what was asked and what it took."""
    classes = found.judgement.classes
    return {
        "tool": "dataset-sanitizer",
        "version": version_of("dataset-sanitizer"),
        "answer": _answer(found),
        "counts": found.counts,
        "classes": [{**asdict(finding), "name": found.census.class_names[finding.label]} for finding in classes],
        "detectors": {
            "run": [
                {"name": name, "settings": repr(opinion.detector), "says": opinion.detector.says}
                for name, opinion in found.opinions.items()
            ],
            "not_run": found.not_run,
        },
        "versions": {name: version_of(name) for name in VERSIONED} | {"python": platform.python_version()},
        "notes": [*found.judgement.notes, *_copies(found), *_copies_of_trusted(found)],
        "incomplete": found.failed,
    }


def _answer(found: Findings) -> dict[str, Any]:
    """The data-set-level answer, in one sentence and in numbers."""
    judgement, failed, scanned = found.judgement, found.failed, len(found.reported)
    planted, wrong = (int((judgement.kind == kind).sum()) for kind in ("planted", "label"))
    hidden = [found.census.class_names[finding.label] for finding in judgement.classes if finding.hidden]
    if planted:
        where = f", in class {hidden[0]!r}" if len(hidden) == 1 else f", in {len(hidden)} classes" if hidden else ""
        sentence = f"{planted:,} of {scanned:,} samples look planted{where}."
    else:
        sentence = f"No planted samples found among {scanned:,}."
    if wrong:
        sentence += f" {wrong:,} labels look wrong."
    if failed:
        sentence = f"Incomplete: {failed[0]}. {sentence}"
    return {
        "poison_found": judgement.poison_found,
        "planted": planted,
        "label_suspects": wrong,
        "sentence": sentence,
        "power": _power(found),
    }


def _power(found: Findings) -> str:
    """What this scan could have found, in words."""
    spaces = found.evidence.spaces
    if not ({"residual", "frequency"} & set(spaces)):
        return "Without labels only samples that lie alone, or too close together, can be seen."
    looks = []
    if "loss" in spaces:
        looks.append("for groups whose label is not theirs, whether or not the network learned what marks them")
    elif "residual" in spaces:
        looks.append(
            "for samples whose label is not theirs, with a network that was not trained on them and sees no trigger"
        )
    if "frequency" in spaces:
        looks.append("for patterns that recur in one class, and for groups made of what other classes have not")
    unseen = "single samples and groups of a few" if "frequency" in spaces else "clean-label and single-sample attacks"
    return f"Looks {'; '.join(looks)}. {unseen.capitalize()} may go unseen."


def _copies(found: Findings) -> list[str]:
    """Samples that are the same as another one, and whether their labels agree."""
    labels: dict[str, list[int | None]] = {}
    for row in found.reported:
        sample = found.census.samples[row]
        labels.setdefault(sample.view_digest, []).append(sample.label)
    repeated = [said for said in labels.values() if len(said) > 1]
    if not repeated:
        return []
    disagree = sum(len(said) for said in repeated if len(set(said)) > 1)
    line = f"{sum(map(len, repeated)):,} samples are copies: only {len(repeated):,} different ones among them"
    return [line + (f"; {disagree:,} of them carry conflicting labels" if disagree else "")]


def _copies_of_trusted(found: Findings) -> list[str]:
    """Suspects that are also among the trusted were not drawn as the guarantee wants it."""
    if found.trusted is None:
        return []
    trusted = {found.census.samples[row].view_digest for row in np.flatnonzero(found.trusted)}
    copies = sum(found.census.samples[row].view_digest in trusted for row in found.reported)
    line = f"{copies:,} samples are copies of trusted ones: the guarantee wants two sets that share none"
    return [line] if copies else []


def _nearest(found: Findings) -> list[list[str]]:
    """The ids of the nearest samples of the same class, for each suspicious sample."""
    census, evidence, judgement = found.census, found.evidence, found.judgement
    nearest: list[list[str]] = [[] for _ in census.samples]
    if judgement.suspicious.any() and "feature/class" in evidence.neighbors:
        indices = evidence.neighbors["feature/class"].indices[:, :NEAREST_SHOWN]
        for row in np.flatnonzero(judgement.suspicious):
            nearest[row] = [census.samples[other].id for other in indices[row] if other >= 0]
    return nearest
