"""What a scan says at its end: the answer, the classes and samples it is about, where to look next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sanitizer.record import REPORT, Verdict

if TYPE_CHECKING:
    from sanitizer.baseline import Baseline

#: How much is said at the end of a scan; the rest is counted, and is in the report.
MAX_CLASSES, MAX_SAMPLES = 10, 3
COLUMNS = ("class", "samples", "planted", "label suspects", "evidence")

_COLOURS = ("green", "red", "yellow")  # by exit code


@dataclass(frozen=True)
class Line:
    """One thing that is said."""

    text: str
    style: str = ""
    copied: bool = False  # somebody will want to copy it, so it must not be broken


@dataclass(frozen=True)
class Ending:
    """Everything that is said, in its order."""

    before: Sequence[Line]
    classes: Sequence[Sequence[str]]  # under ``COLUMNS``
    after: Sequence[Line]


def ending(verdict: Verdict, folder: Path, source: Sequence[str], earlier: Baseline | None = None) -> Ending:
    """The end of a scan.

    Args:
        verdict: What it came to.
        folder: Where that lies.
        source: The words by which another command is given the same source.
        earlier: What was known before: the samples that are named, and nothing else, are those that it does not know.
    """
    suspects = _suspects(verdict)
    return Ending(
        tuple(_answer(verdict)),
        [_cells(entry) for entry in suspects[:MAX_CLASSES]],
        (*_about_classes(verdict, suspects), *_limits(verdict), *_about_samples(verdict, folder, source, earlier)),
    )


def as_object(verdict: Verdict, folder: Path, earlier: Baseline | None = None) -> dict[str, Any]:
    """The same for programs."""
    answer, worst = verdict.summary["answer"], _worst(verdict, earlier)
    return {
        "exit_code": earlier.exit_code(verdict) if earlier else verdict.exit_code,
        **{name: answer[name] for name in ("poison_found", "planted", "label_suspects", "sentence", "power")},
        "counts": verdict.counts,
        "incomplete": list(verdict.incomplete),
        "notes": list(verdict.summary["notes"]),
        "classes": _suspects(verdict),
        "samples": worst.select(["id", "label_name", "kind", "score", "reasons"]).slice(0, MAX_SAMPLES).to_pylist(),
        "new": None if earlier is None else worst.num_rows,
        "verdict": str(folder),
        "report": str(folder / REPORT),
    }


def _worst(verdict: Verdict, earlier: Baseline | None) -> pa.Table:
    """What was flagged and is not known already, the most suspicious first."""
    flagged = verdict.suspicious()
    return earlier.new(flagged) if earlier else flagged


def _suspects(verdict: Verdict) -> list[Mapping[str, Any]]:
    """The classes in which anything was flagged, the most suspicious first."""
    found = [entry for entry in verdict.summary["classes"] if entry["suspicious"] or entry["label_suspects"]]
    return sorted(found, key=_suspicion)


def _suspicion(entry: Mapping[str, Any]) -> tuple[float, float, float, str]:
    planted, wrong = (entry[name] / max(entry["size"], 1) for name in ("suspicious", "label_suspects"))
    return -planted, -wrong, -(entry["score"] or 0.0), entry["name"]


def _cells(entry: Mapping[str, Any]) -> list[str]:
    figures = [f"{entry[name]:,}" for name in ("size", "suspicious", "label_suspects")]
    return [entry["name"], *figures, f"{entry['score'] or 0.0:.2f}"]


def _answer(verdict: Verdict) -> Iterator[Line]:
    summary = verdict.summary
    yield Line(summary["answer"]["sentence"], f"bold {_COLOURS[verdict.exit_code]}")
    yield Line(", ".join(f"{count:,} {status}" for status, count in verdict.counts.items()))
    yield Line(summary["answer"]["power"])
    if verdict.recalled:
        yield Line("Nothing has changed since an earlier scan: this is its verdict, from the store.")
    if summary["calibration"]["kind"] == "trusted":
        yield Line(summary["calibration"]["says"])


def _about_classes(verdict: Verdict, suspects: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """What the table does not say: that it goes on, and what was held back in a class."""
    if len(suspects) > MAX_CLASSES:
        yield Line(f"  and {len(suspects) - MAX_CLASSES:,} more classes; the report lists them")
    reasons = [entry for entry in verdict.summary["classes"] if entry["reason"] and not _is_in_the_table(entry)]
    for entry in reasons[:MAX_CLASSES]:
        yield Line(f"  class {entry['name']}: {entry['reason']}")
    if len(reasons) > MAX_CLASSES:
        yield Line(f"  and {len(reasons) - MAX_CLASSES:,} more such classes; the report lists them")


def _is_in_the_table(entry: Mapping[str, Any]) -> bool:
    """Whether a reason only counts what was flagged; one that was capped counts more, and has to be told."""
    return bool(entry["suspicious"]) and entry["reason"].startswith(f"{entry['suspicious']} of {entry['size']} samples")


def _limits(verdict: Verdict) -> Iterator[Line]:
    for line in (*verdict.incomplete, *verdict.summary["notes"]):
        yield Line(f"  {line}", "yellow")
    left_out = [detector["name"] for detector in verdict.summary["detectors"]["not_run"]]
    if left_out:
        yield Line(f"  not run: {', '.join(left_out)}; the report says why")


def _about_samples(verdict: Verdict, folder: Path, source: Sequence[str], earlier: Baseline | None) -> Iterator[Line]:
    """The worst of what was flagged, and the commands that go on from here."""
    if earlier:
        yield Line(earlier.says(verdict.table), "bold")
    worst = _worst(verdict, earlier)
    named = worst.slice(0, MAX_SAMPLES).to_pylist()
    if named:
        yield Line(f"The most suspicious of {worst.num_rows:,} flagged samples:" if len(named) > 1 else "Flagged:")
        for row in named:
            yield Line(f"  {row['id']}", copied=True)
            yield Line(f"    {_because(row)}")
        yield Line(_command("Look closer", "explain", str(folder), _pasted(named[0])), copied=True)
        if not verdict.incomplete:  # nothing is dropped on the word of a verdict that is not complete
            yield Line(_command("Copy without them", "apply", str(folder), *source, "--to", "COPY"), copied=True)
    yield Line(f"Report: {folder / REPORT}", copied=True)


def _because(row: Mapping[str, Any]) -> str:
    doubt = "label in doubt: " if row["kind"] == "label" else ""
    label = "no label" if row["label_name"] is None else f"labelled {row['label_name']}"
    return f"{label}, score {row['score']:.4g}: {doubt}{(row['reasons'] or ['no reason was kept'])[0]}"


def _command(what_for: str, *words: str) -> str:
    return f"{what_for}: sanitizer {shlex.join(words)}"


def _pasted(row: Mapping[str, Any]) -> str:
    """What ``explain`` is given: the id, or the digest where a shell or a terminal could change the id."""
    name = str(row["id"])
    return name if name.isascii() and name.isprintable() and not name.startswith("-") else str(row["digest"])[:12]
