"""What may be dropped: the flagged samples of a verdict that can be relied on, within the caps, checked once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import pyarrow as pa

from sanitizer.actions.verify import NAMES_SHOWN, Differences, verify
from sanitizer.errors import UsageError, VerdictError
from sanitizer.record import Verdict
from sanitizer.sources.base import Source, Status
from sanitizer.verdict import LEAST_CLASS, MOST_OF_CLASS

#: What a sample can be flagged as.
KINDS = ("planted", "label")

#: Characters of the differences that one line of error holds.
_MAX_DIFFERENCES = 240
#: What of the table decides; a foreign verdict may hold anything else under these names.
_DECIDES = pa.schema(
    {
        "id": pa.string(),
        "digest": pa.string(),
        "status": pa.string(),
        "label_name": pa.string(),
        "suspicious": pa.bool_(),
        "kind": pa.string(),
    }
)

Row = Mapping[str, Any]


def sound(folder: Path, source: Source, *, incomplete_ok: bool = False, gone: Collection[str] = frozenset()) -> Verdict:
    """The verdict in ``folder``, if it is a whole one and about ``source`` as it lies there now.

    Args:
        folder: A verdict folder.
        source: The data that it should be about.
        incomplete_ok: Take a verdict that does not cover everything it should.
        gone: Ids that may be missing from the source: they were taken out because of this very verdict.
    """
    verdict = Verdict.read(folder)
    if not any(row["status"] == Status.SCANNED for row in rows_of(verdict)):
        raise VerdictError(f"expected a verdict on samples in {folder}, got one on none: scan again")
    if verdict.incomplete and not incomplete_ok:
        raise VerdictError(f"expected a complete verdict in {folder}, got: {verdict.incomplete[0]}; scan again")
    differences = _but(verify(folder, source), gone)
    if not differences.ok:
        came = "; ".join(differences.lines())
        came = came if len(came) <= _MAX_DIFFERENCES else came[:_MAX_DIFFERENCES] + " ..."
        raise VerdictError(f"expected the data and the verdict as they were after the scan, got: {came}; scan again")
    return verdict


def flagged_ids(verdict: Verdict, kinds: Sequence[str] = KINDS) -> frozenset[str]:
    """The ids of what was flagged as one of ``kinds``; ``VerdictError`` if that is more than may ever be dropped.

    A scan keeps to the caps by itself, but a verdict may come from anywhere. Those of a class hold where a scan judged
    classes by themselves: what it told from trusted samples, one by one, may be most of a class, or of a small one.
    """
    if not kinds or not set(kinds) <= set(KINDS):
        raise UsageError(f"expected kinds out of {', '.join(KINDS)}, got {', '.join(kinds)!r}: name one or both")
    rows = rows_of(verdict)
    flagged = [row for row in rows if row["suspicious"] and row["kind"] in kinds]
    scanned = [row for row in rows if row["status"] == Status.SCANNED]
    for row in flagged:
        if row["status"] != Status.SCANNED:
            raise _too_much(f"{row['id']!r}, which is {row['status']}", "what was scanned")
    most = int(_max_drop(verdict) * len(scanned) + 1e-9)
    if len(flagged) > most:
        raise _too_much(f"{len(flagged):,} of {len(scanned):,} samples", f"{most:,} (max_drop)")
    if _is_compared(verdict):
        return frozenset(row["id"] for row in flagged)
    sizes = Counter(row["label_name"] for row in scanned)
    for name, count in Counter(row["label_name"] for row in flagged).items():
        if sizes[name] < LEAST_CLASS:
            raise _too_much(f"{count} of the {sizes[name]} samples of class {name!r}", f"none below {LEAST_CLASS}")
        if count > MOST_OF_CLASS * sizes[name]:
            raise _too_much(f"{count:,} of {sizes[name]:,} samples of class {name!r}", f"{MOST_OF_CLASS:.0%}")
    return frozenset(row["id"] for row in flagged)


def rows_of(verdict: Verdict) -> list[dict[str, Any]]:
    """Of every item what decides about it; ``VerdictError`` where the table is not what a scan writes."""
    try:
        rows: list[dict[str, Any]] = verdict.table.select(_DECIDES.names).cast(_DECIDES).to_pylist()
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise _foreign(str(error).splitlines()[0][:200]) from None
    if any(row[name] is None for row in rows for name in ("id", "status", "suspicious", "kind")):
        raise _foreign("rows that say nothing")
    if len({row["id"] for row in rows}) != len(rows):
        raise _foreign("an id twice")
    return rows


def listed(names: Collection[str]) -> str:
    """The first few names, and how many more there are.

    >>> listed([f"{number}.png" for number in range(12)])[-24:]
    '6.png, 7.png, and 2 more'
    """
    shown = sorted(names)[:NAMES_SHOWN]
    more = [f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
    return ", ".join(shown + more)


def _but(differences: Differences, gone: Collection[str]) -> Differences:
    """The differences that are no wonder left out: a metadata file may still name what is gone, as unreadable."""
    return replace(
        differences,
        changed=tuple(name for name in differences.changed if name not in gone),
        removed=tuple(name for name in differences.removed if name not in gone),
    )


def _is_compared(verdict: Verdict) -> bool:
    """Whether the scan compared with trusted samples, which are no part of its table."""
    calibration = verdict.summary.get("calibration")
    return isinstance(calibration, Mapping) and calibration.get("kind") == "trusted"


def _max_drop(verdict: Verdict) -> float:
    parameters = verdict.summary["parameters"]
    share = parameters.get("max_drop") if isinstance(parameters, Mapping) else None
    if not isinstance(share, Real) or not 0 < float(share) <= 1:
        raise _foreign(f"max_drop {share!r}")
    return float(share)


def _too_much(came: str, most: str) -> VerdictError:
    return VerdictError(f"expected a verdict that keeps to its caps, got flags for {came} (at most {most}): scan again")


def _foreign(came: str) -> VerdictError:
    return VerdictError(f"expected a verdict of `sanitizer scan`, got {came}: scan again")
