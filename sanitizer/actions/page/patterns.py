"""What the planted pattern of a class looks like: means of its flagged samples beside some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from sanitizer.actions.gallery import PATTERN, SUSPICIOUS
from sanitizer.actions.page.exhibits import Entry
from sanitizer.actions.page.pictures import Picture, Pictures, pixelated
from sanitizer.record import Verdict

MAX_PATTERNS = 12
EXAMPLES = 5


@dataclass(frozen=True)
class Pattern:
    """One class in which something was planted."""

    class_name: str
    mean: Markup | None  # of its flagged samples
    residual: Markup | None  # ... against the rest of the class, enlarged
    pixelated: bool
    planted: int
    size: int
    reason: str
    examples: Sequence[Picture]


def patterns(verdict: Verdict, pictures: Pictures) -> list[Pattern]:
    """The classes for which the gallery holds a mean image, in its order: the most flagged first."""
    entries = pictures.exhibits.of(PATTERN)[:MAX_PATTERNS]
    findings = {entry["name"]: entry for entry in verdict.summary["classes"]}
    ids = pa.array([entry["id"] for entry in pictures.exhibits.of(SUSPICIOUS) if entry["thumbnail"]], pa.string())
    flagged = verdict.suspicious()
    known = flagged.filter(pc.and_(pc.equal(flagged["kind"], "planted"), pc.is_in(flagged["id"], ids)))
    drawn = [_pattern(entry, findings, known, pictures) for entry in entries]
    return [pattern for pattern in drawn if pattern.mean or pattern.residual]


def _pattern(entry: Entry, findings: Mapping[str, Any], known: pa.Table, pictures: Pictures) -> Pattern:
    name = entry["class_name"] or entry["id"]
    finding = findings.get(name, {})
    worst = known.filter(pc.equal(known["label_name"], name)).slice(0, EXAMPLES)["id"].to_pylist()
    return Pattern(
        class_name=name,
        mean=pictures.uri(entry["thumbnail"]),
        residual=pictures.uri(entry["difference"]),
        pixelated=pixelated(entry["thumbnail"]),
        planted=finding.get("suspicious", 0),
        size=finding.get("size", 0),
        reason=finding.get("reason") or "",
        examples=[pictures.of(example, SUSPICIOUS) for example in worst],
    )
