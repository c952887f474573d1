"""A copy of the data without what was flagged, in the layout of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sanitizer.actions.dropping import KINDS, Row, flagged_ids, listed, rows_of, sound
from sanitizer.errors import VerdictError
from sanitizer.progress import SILENT, Advance, Progress
from sanitizer.sources.base import Change, Found, Source, Status, digest_of
from sanitizer.writing import refuse_inside, whole_folder


@dataclass(frozen=True)
class Applied:
    """What became of every item of the source."""

    dropped: tuple[str, ...]  # the ids of what was flagged
    not_scanned: Mapping[str, tuple[str, ...]]  # status -> ids of what nobody has judged
    new_ids: Mapping[str, str]  # old id -> id in the copy, of every sample that stayed

    @property
    def kept(self) -> int:
        """How many samples stayed."""
        return len(self.new_ids)

    def lines(self) -> list[str]:
        """In words, nothing left out silently.

        >>> Applied(("a.png",), {"unreadable": ("b.png",)}, {"c.png": "c.png"}).lines()
        ['1 kept, 1 dropped', '1 unreadable, left out: b.png']
        """
        lines = [f"{self.kept:,} kept, {len(self.dropped):,} dropped"]
        for status, ids in self.not_scanned.items():
            stays = "no samples; only shards keep them" if status == Status.IGNORED else "left out"
            lines += [f"{len(ids):,} {status}, {stays}: {listed(ids)}"] if ids else []
        return lines


def apply(
    folder: Path,
    source: Source,
    destination: Path,
    *,
    kinds: Sequence[str] = KINDS,
    progress: Progress = SILENT,
) -> Applied:
    """Write ``destination``, complete or not at all; the source stays as it is.

    Args:
        folder: The verdict folder of a scan of ``source``.
        source: The data as it was scanned; every sample's bytes are compared again while they are copied.
        destination: A new or empty folder, outside of the source and of the verdict folder.
        kinds: What to drop: "planted", "label", or both.
        progress: Shows how far the copy is.
    """
    for outside in (source.root, folder):
        refuse_inside(destination, outside)
    verdict = sound(folder, source)
    flagged = flagged_ids(verdict, kinds)
    rows = rows_of(verdict)
    _refuse_a_missing_class(rows, flagged)
    # The copy is moved to its name only after it was seen to be whole, whatever the layout does by itself.
    with whole_folder(destination) as copy, progress.stage("copying", len(rows)) as advance:
        change = _Change(
            {row["id"]: row["digest"] for row in rows if row["status"] == Status.SCANNED}, flagged, advance
        )
        new_ids = source.rewrite(copy, change)
        change.refuse_unmet()
    others = {status: tuple(row["id"] for row in rows if row["status"] == status) for status in Status}
    del others[Status.SCANNED]
    return Applied(tuple(sorted(flagged)), {str(status): ids for status, ids in others.items()}, new_ids)


class _Change:
    """Keeps what was scanned and not flagged, byte for byte; remembers what it was asked about."""

    def __init__(self, digests: Mapping[str, str], flagged: frozenset[str], advance: Advance) -> None:
        self._digests = digests
        self._flagged = flagged
        self._advance = advance
        self._unmet = set(digests)

    def __call__(self, found: Found) -> Change:
        self._advance(1)
        if found.id not in self._digests or found.content is None:
            return None  # nobody has judged it
        self._unmet.discard(found.id)
        if digest_of(found.content) != self._digests[found.id]:
            raise VerdictError(f"{found.id!r} changed while it was copied: scan again when nobody writes to the source")
        return None if found.id in self._flagged else (found.content, found.label)

    def refuse_unmet(self) -> None:
        """A sample that the source no longer had must not pass for one that was kept or dropped."""
        if self._unmet:
            raise VerdictError(f"expected every scanned sample in the source, missed {listed(self._unmet)}: scan again")


def _refuse_a_missing_class(rows: Sequence[Row], flagged: frozenset[str]) -> None:
    """Without one of its classes a set means something else: in many layouts all labels behind it would move up."""
    there = {row["label_name"] for row in rows if row["label_name"] is not None and row["status"] != Status.IGNORED}
    kept = {row["label_name"] for row in rows if row["status"] == Status.SCANNED and row["id"] not in flagged}
    for name in sorted(there - kept):
        raise VerdictError(
            f"expected some of every class in the copy, {name!r} would have none: repair it and scan again"
        )
