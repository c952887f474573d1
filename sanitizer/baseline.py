"""A baseline: what an earlier verdict has found already, so that a scan can tell what is new since then.

A finding is known if the same content was flagged under the same label; where it lies now does not matter, but each
copy counts: more of what is known is new. The verdict itself stays whole: the baseline decides what is reported and
what the exit code says, never what is flagged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from sanitizer.actions.manifest import read_manifest
from sanitizer.actions.verify import tampered
from sanitizer.errors import VerdictError
from sanitizer.record import Verdict

T = TypeVar("T")

#: What makes an item the same one: content and label where it was read, its place where it was refused; and a finding:
#: what was found besides. A label that was in doubt is no excuse for poison.
Item = tuple[str, str | None]
Finding = tuple[str, str | None, str]


@dataclass(frozen=True)
class Baseline:
    """What an earlier verdict found, and everything that it saw; each copy counts."""

    known: Counter[Finding]
    seen: Counter[Item]

    @classmethod
    def read(cls, folder: Path) -> Baseline:
        """The findings of a verdict folder; ``VerdictError`` unless it is complete and as it was written."""
        verdict = Verdict.read(folder)
        if changed := tampered(folder, read_manifest(folder)):
            raise VerdictError(
                f"--baseline: expected a verdict as it was written, got another {changed[0]} in {folder}"
            )
        if verdict.incomplete:
            raise VerdictError(f"--baseline: expected a complete verdict in {folder}, got: {verdict.incomplete[0]}")
        findings, found = _findings(verdict.table), _found(verdict.table)
        return cls(Counter(compress(findings, found)), Counter(_items(verdict.table)))

    def new(self, table: pa.Table) -> pa.Table:
        """The rows that were flagged or refused, and were not before."""
        found = _found(table)
        fresh = _beyond(self.known, list(compress(_findings(table), found)))
        kept = iter(fresh)
        return table.filter(pa.array([flag and next(kept) for flag in found], pa.bool_()))

    def exit_code(self, verdict: Verdict) -> int:
        """That of the verdict, if there were nothing to find but what is new."""
        if verdict.exit_code != 1:
            return verdict.exit_code
        new = self.new(verdict.table)
        return int("planted" in new["kind"].to_pylist() or "refused" in new["status"].to_pylist())

    def says(self, table: pa.Table) -> str:
        """What is new, for people."""
        new = self.new(table)
        kinds, statuses = new["kind"].to_pylist(), new["status"].to_pylist()
        counts = {
            "look planted": kinds.count("planted"),
            "have a label in doubt": kinds.count("label"),
            "were refused": statuses.count("refused"),
        }
        added = sum(_beyond(self.seen, _items(table)))
        found = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return f"New since the baseline: {added:,} items; {found or 'nothing was found'} that it does not know."


def _items(table: pa.Table) -> list[Item]:
    columns = (table[name].to_pylist() for name in ("digest", "id", "label_name"))
    return [(digest or name, label if digest else None) for digest, name, label in zip(*columns, strict=True)]


def _findings(table: pa.Table) -> list[Finding]:
    return [(*item, kind) for item, kind in zip(_items(table), table["kind"].to_pylist(), strict=True)]


def _found(table: pa.Table) -> list[bool]:
    """Which rows were flagged, or refused."""
    rows = zip(table["suspicious"].to_pylist(), table["status"].to_pylist(), strict=True)
    return [suspicious or status == "refused" for suspicious, status in rows]


def _beyond(known: Counter[T], findings: list[T]) -> list[bool]:
    """Which of these are more than are known of the same."""
    left, fresh = known.copy(), []
    for finding in findings:
        fresh.append(left[finding] <= 0)
        left[finding] -= 1
    return fresh
