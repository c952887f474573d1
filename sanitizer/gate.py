"""The gate: may training start? A scan, or the verdict of an earlier one, held against a policy.

A verdict is believed only where its folder fits its manifest and the data is byte for byte what the manifest lists;
where either lies does not matter. Who can rewrite the data, the whole verdict folder and the manifest, all to agree,
cannot be told from an honest scan, unless the policy names the key that the manifest must be signed with.
``report.html`` is not part of what is believed: nothing here reads it, and ``sanitizer report`` builds it again from
the files that are.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.actions.manifest import Statement, read_manifest
from sanitizer.actions.signing import check_signature
from sanitizer.actions.verify import NAMES_SHOWN, verify
from sanitizer.baseline import Baseline
from sanitizer.errors import MissingDependency, SanitizerError, UsageError, VerdictError
from sanitizer.outcome import ABOVE, Check, ClassCount, Outcome
from sanitizer.policy import KINDS, Policy
from sanitizer.progress import SILENT, Progress
from sanitizer.record import MANIFEST, OWN_FILES, Verdict
from sanitizer.sources.base import Source, Status, open_source

if TYPE_CHECKING:
    from sanitizer.pipeline import ScanSettings

__all__ = ["Outcome", "gate"]

STRICT = Policy()
_DAY = 24 * 60 * 60  # seconds


def gate(
    source: Any,
    policy: Policy | str | Path = STRICT,
    *,
    verdict: str | Path | None = None,
    settings: ScanSettings | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Whether a source (a path, or a dataset in memory) may be trained on.

    Args:
        source: What would be trained on.
        policy: What is let through, or the TOML file that says so; nothing, if left out.
        verdict: A verdict folder of an earlier scan. Nothing is scanned then, and nothing is written.
        settings: How to scan, where there is no ``verdict``.
        out: Where the verdict folder of that scan goes; nowhere, if left out.
        progress: Who is told how far it got.
    """
    held = policy if isinstance(policy, Policy) else Policy.read(policy)
    if verdict is not None and (settings is not None or out is not None):
        raise UsageError("expected settings of a scan or the verdict of one, got both: leave out one of them")
    try:
        if verdict is not None:
            return _held(source, held, Path(verdict), progress)
        with _folder(out) as folder:
            _scan(source, folder, settings, progress)
            return _judged(held, folder, read_manifest(folder), ())
    except UsageError:
        raise
    except SanitizerError as why:
        return Outcome(held, (Check("verdict", False, _sentence(str(why))),))


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """Where the scan's verdict goes; a place that is forgotten where nobody named one."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "verdict"


def _scan(source: Any, folder: Path, settings: ScanSettings | None, progress: Progress) -> None:
    from sanitizer import pipeline

    pipeline.scan(source, folder, settings, progress)


def _held(source: Any, policy: Policy, folder: Path, progress: Progress) -> Outcome:
    """The outcome by an earlier verdict: only if it is as it was written, and the data as it was scanned."""
    if strange := _strange(folder):
        return Outcome(policy, (_tampering(strange),))
    signed = _signed(policy, folder)
    if not all(check.passed for check in signed):
        return Outcome(policy, signed)
    statement = read_manifest(folder)
    with progress.stage("comparing", None):
        differences = verify(folder, _opened(source, statement))
    checks = [*signed, _tampering(differences.tampered)]
    lines = replace(differences, tampered=()).lines()
    said = f"The data is not what was scanned: {'; '.join(lines)}." if lines else "The data is what was scanned."
    checks.append(Check("data", not lines, said))
    if not all(check.passed for check in checks):
        return Outcome(policy, tuple(checks))
    return _judged(policy, folder, statement, (*checks, *_age(policy, folder)))


def _strange(folder: Path) -> list[str]:
    """Names in a verdict folder that do not belong there, or are no regular files."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise VerdictError(
            f"expected a verdict folder at {folder}, cannot read it ({error.strerror}): run `sanitizer scan`"
        ) from None
    return [entry.name for entry in entries if entry.name not in OWN_FILES or not entry.is_file()]


def _signed(policy: Policy, folder: Path) -> tuple[Check, ...]:
    """Is the manifest signed with the key that the policy names? Asked before anything in the folder is read."""
    if policy.signed_by is None:
        return ()
    try:
        check_signature(folder, policy.signed_by)
    except (VerdictError, MissingDependency) as why:
        return (Check("signature", False, _sentence(str(why))),)
    return (Check("signature", True, f"The manifest is signed with the key {policy.signed_by.name!r}."),)


def _opened(source: Any, statement: Statement) -> Source:
    """The source, read by the columns that were scanned."""
    parameters = statement["predicate"].get("parameters")
    known = parameters if isinstance(parameters, dict) else {}
    image, label = known.get("image_column"), known.get("label_column")
    return open_source(source, image_column=image, label_column=label)


def _judged(policy: Policy, folder: Path, statement: Statement, before: tuple[Check, ...]) -> Outcome:
    """The outcome by a verdict that can be believed."""
    verdict = Verdict.read(folder)
    try:
        return _outcome(policy, verdict, statement["predicate"]["verdictDigest"], before)
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        came = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictError(f"expected a verdict of `sanitizer scan` at {folder}, got {came}: scan again") from None


def _outcome(policy: Policy, verdict: Verdict, digest: str, before: tuple[Check, ...]) -> Outcome:
    table = verdict.table
    counts = {str(status): 0 for status in Status} | Counter(table["status"].to_pylist())
    suspects = table.filter(pc.is_in(table["kind"], pa.array(policy.fail_on, pa.string())))
    counted = Baseline.read(policy.baseline).new(suspects) if policy.baseline else suspects
    classes = _classes(verdict, counted, policy)
    checks = (
        *before,
        _consistent(verdict, counts),
        *_complete(policy, verdict, counts),
        *_limits(policy, counts, counted.num_rows, classes),
    )
    return Outcome(
        policy, checks, verdict, digest, counted.num_rows, suspects.num_rows - counted.num_rows, classes, counts
    )


def _classes(verdict: Verdict, counted: pa.Table, policy: Policy) -> tuple[ClassCount, ...]:
    """Every class with how much of it is flagged, those with the largest share first."""
    table = verdict.table
    sizes = Counter(table.filter(pc.equal(table["status"], str(Status.SCANNED)))["label_name"].to_pylist())
    flagged = Counter(counted["label_name"].to_pylist())
    said = {entry["name"]: str(entry["reason"]) for entry in verdict.summary["classes"]}
    limit = policy.max_flagged_fraction_per_class
    found = [
        ClassCount(name, size, flagged[name], flagged[name] / size > limit, said.get(name, ""))
        for name, size in sizes.items()
        if name is not None
    ]
    return tuple(sorted(found, key=lambda one: (-one.flagged / one.size, one.name)))


def _consistent(verdict: Verdict, counts: dict[str, int]) -> Check:
    """Does the verdict say one thing? A table without a finding under a summary that has some is not believed."""
    table, answer = verdict.table, verdict.summary["answer"]
    kind, suspicious = table["kind"], table["suspicious"]
    unread = table.filter(pc.not_equal(table["status"], str(Status.SCANNED)))
    planted = pc.sum(pc.equal(kind, KINDS[0])).as_py() or 0
    contradictions = {
        "some rows lack an id, a status or a kind": any(
            table[name].null_count for name in ("id", "status", "suspicious", "kind")
        ),
        "an id occurs twice": pc.count_distinct(table["id"], mode="all").as_py() != table.num_rows,
        "some items ended as nothing known": bool(counts.keys() - set(Status)),
        "the counts of the summary are not those of the table": counts != verdict.counts,
        "some samples are flagged as nothing known": bool(set(kind.to_pylist()) - {"", *KINDS}),
        "some samples are flagged and not suspicious, or the other way round": _any(
            pc.xor(suspicious, pc.not_equal(kind, ""))
        ),
        "some items were flagged without having been scanned": _any(unread["suspicious"]),
        "the summary and the table do not hold the same findings": answer["planted"] != planted
        or answer["poison_found"] is not (planted > 0),
    }
    wrong = [words for words, holds in contradictions.items() if holds]
    said = f"The verdict contradicts itself: {'; '.join(wrong)}." if wrong else "The verdict says one thing."
    return Check("consistent", not wrong, said)


def _any(column: pa.ChunkedArray) -> bool:
    return pc.any(column).as_py() is True


def _complete(policy: Policy, verdict: Verdict, counts: dict[str, int]) -> Iterator[Check]:
    """Is this the scan that the policy asks for, and did it look at everything?"""
    summary, scanned = verdict.summary, counts[Status.SCANNED]
    said = f"The scan is incomplete: {'; '.join(map(str, verdict.incomplete))}."
    yield Check("complete", not verdict.incomplete, said if verdict.incomplete else "The scan is complete.")
    yield Check(
        "samples", scanned > 0, f"{scanned:,} samples were scanned{'' if scanned else ', at least 1 expected'}."
    )
    run = [detector["name"] for detector in summary["detectors"]["run"]]
    if policy.require_detectors:
        missing = [name for name in policy.require_detectors if name not in run]
        said = f"Detectors that the policy requires did not run: {_joined(missing)}; those that ran: {_joined(run)}."
        yield Check("detectors", not missing, said if missing else "All detectors that the policy requires have run.")
    if policy.require_calibration:
        came, expected = str(summary["calibration"]["kind"]), policy.require_calibration
        said = f"The scan was calibrated on {came!r}, the policy requires {expected!r}."
        yield Check("calibration", came == expected, said)


def _age(policy: Policy, folder: Path) -> Iterator[Check]:
    """Is the verdict young enough? By the time of its manifest, see ``Policy``."""
    if policy.max_age_days is None:
        return
    days = (time.time() - (folder / MANIFEST).stat().st_mtime) / _DAY
    came = f"The verdict is {days:.3g} days old" if days >= 0 else "The verdict comes from the future"
    said = f"{came}, the policy allows {policy.max_age_days:g} days."
    yield Check("age", 0 <= days <= policy.max_age_days, said)


def _limits(policy: Policy, counts: dict[str, int], flagged: int, classes: tuple[ClassCount, ...]) -> Iterator[Check]:
    """Is there no more of anything than the policy allows?"""
    scanned, unreadable, refused = (counts[status] for status in (Status.SCANNED, Status.UNREADABLE, Status.REFUSED))
    claimed = max(1, scanned + unreadable + refused)
    allowed = f"the policy allows {_percent(policy.max_unreadable_fraction)}"
    said = f"{unreadable:,} of {claimed:,} items are unreadable ({_percent(unreadable / claimed)}), {allowed}."
    yield Check("unreadable", unreadable / claimed <= policy.max_unreadable_fraction, said)

    said = f"{refused:,} hostile items were refused, the policy allows {policy.max_refused:,}."
    yield Check("refused", refused <= policy.max_refused, said, ABOVE)

    share, allowed = flagged / max(1, scanned), f"the policy allows {_percent(policy.max_flagged_fraction)}"
    kinds = " or ".join(policy.fail_on) or "nothing"
    said = f"{flagged:,} of {scanned:,} samples are flagged as {kinds} ({_percent(share)}), {allowed}."
    yield Check("flagged", share <= policy.max_flagged_fraction, said, ABOVE)

    above = [f"{one.name!r} ({one.flagged:,} of {one.size:,})" for one in classes if one.above]
    limit = _percent(policy.max_flagged_fraction_per_class)
    said = f"In {len(above):,} of {len(classes):,} classes more is flagged than the {limit} that the policy allows"
    yield Check("flagged in a class", not above, f"{said}: {_joined(above)}." if above else f"{said}.", ABOVE)


def _tampering(names: list[str] | tuple[str, ...]) -> Check:
    said = f"The verdict folder is not as it was written: {_joined(names)}."
    return Check("verdict", not names, said if names else "The verdict folder is as it was written.")


def _joined(names: list[str] | tuple[str, ...]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return (", ".join(names[:NAMES_SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    """A share for people.

    >>> _percent(0.015), _percent(0.0)
    ('1.5 %', '0 %')
    """
    return f"{100 * share:.4g} %"


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    return f"{line[:1].upper()}{line[1:]}."
