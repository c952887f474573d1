"""Quarantine: flagged files move out of the source, and back, whatever happens on the way.

A journal says where each file belongs before anything moves, and a file always has its old name or its new one, or
for a moment both. So a run that is killed between any two steps can be gone on with, or taken back; nothing is ever
overwritten.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sanitizer.actions.dropping import KINDS, flagged_ids, rows_of, sound
from sanitizer.actions.journal import ITEMS, JOURNAL, Entry, begin, note, read_journal
from sanitizer.actions.moving import exchanged, is_intact, put, settle, sync_homes, unfinished_of
from sanitizer.errors import UsageError, VerdictError
from sanitizer.sources.base import Source, Status
from sanitizer.sources.folder import FolderSource
from sanitizer.sources.metadata import NAMES
from sanitizer.sources.walk import Ids, printable, walk
from sanitizer.writing import refuse_inside


@dataclass(frozen=True)
class Quarantined:
    """What was moved, or would be."""

    moved: tuple[str, ...]  # ids, by this run
    before: tuple[str, ...]  # ids, by an earlier one
    named_in: tuple[str, ...]  # metadata files of the source, which still name what was moved


@dataclass(frozen=True)
class Restored:
    """What came back."""

    back: tuple[str, ...]  # ids
    left: tuple[tuple[str, str], ...]  # id and why it is still in quarantine, or lost
    removed: bool  # the quarantine is gone, too


def quarantine(
    folder: Path, source: Source, to: Path, *, kinds: Sequence[str] = KINDS, dry_run: bool = False
) -> Quarantined:
    """Move what was flagged out of ``source`` into ``to``; or go on with that, where ``to`` was begun before.

    Args:
        folder: The verdict folder of a scan of ``source``.
        source: A folder with one file for each item; other layouts have no files to move.
        to: A new folder, outside of the source and of the verdict folder.
        kinds: What to move: "planted", "label", or both.
        dry_run: Only say what would be moved.
    """
    root, to = _root_of(source), Path(os.path.realpath(to))
    for outside in (root, folder):
        refuse_inside(to, outside)
    begun = read_journal(to) if (to / JOURNAL).exists() else None
    moved = [entry for entry in begun.entries.values() if _is_moved(entry, root, to)] if begun else []
    gone = frozenset(entry.id for entry in moved)
    verdict = sound(folder, source, gone=gone)
    if begun and (begun.root, begun.verdict) != (root, verdict.digest):
        raise UsageError(
            f"expected a new folder, {str(to)!r} holds other things in quarantine: restore it or choose another"
        )
    flagged = flagged_ids(verdict, kinds)
    digests = {row["id"]: row["digest"] for row in rows_of(verdict)}
    places, named_in = _places(root, flagged - gone)
    entries = [_entry(name, root, path, digests[name]) for name, path in sorted(places.items())]
    if entries and not dry_run:
        with _speaking(to):
            if not begun:
                begin(to, root, verdict.digest)
            note(to, entries)
            _move(entries, root, to / ITEMS)
    return Quarantined(tuple(entry.id for entry in entries), tuple(sorted(flagged & gone)), named_in)


def restore(to: Path) -> Restored:
    """Put everything in quarantine back where it was, byte for byte, with mode and time of change.

    Where that place is taken by something else, the item stays in quarantine; when all is back, ``to`` is removed.
    """
    to = Path(os.path.realpath(to))
    journal = read_journal(to)
    root, items, entries = Path(os.path.realpath(journal.root)), to / ITEMS, list(journal.entries.values())
    if not root.is_dir():
        raise UsageError(f"expected the source at {str(root)!r}, there is none: put its folder back first")
    with _speaking(to):
        why_not = {entry: _returned(entry, root, items) for entry in entries}
        back = [entry for entry in entries if not why_not[entry]]
        sync_homes(back, root)
        for entry in back:
            (items / entry.path).unlink(missing_ok=True)
        for path in (top / entry.path for entry in entries for top in (root, items)):
            with suppress(FileNotFoundError, NotADirectoryError):
                unfinished_of(path).unlink()  # by a run that was killed
        left = tuple((entry.id, why_not[entry]) for entry in entries if why_not[entry])
        return Restored(tuple(sorted(entry.id for entry in back)), left, not left and _remove(to))


def _root_of(source: Source) -> Path:
    if not isinstance(source, FolderSource):
        raise UsageError(
            f"expected a folder with one file for each item, {source.uri!r} is none: "
            "write a copy without what was flagged with `sanitizer apply`"
        )
    return source.root


def _places(root: Path, wanted: Collection[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The path of every wanted item below the root, and the metadata files that name items; links are refused."""
    ids, places, named_in = Ids(), {}, []
    for entry in walk(str(root)):
        name = ids.take(entry.name)  # as the source does
        if Path(entry.name).name in NAMES:
            named_in.append(printable(entry.name))
        if name not in wanted:
            continue
        if entry.status is not Status.SCANNED or os.path.realpath(root / entry.name) != str(root / entry.name):
            raise UsageError(f"expected a file to move, {name!r} is a link or no file: use `sanitizer apply`")
        places[name] = entry.name
    for name in sorted(set(wanted) - places.keys()):
        raise VerdictError(f"expected {name!r} in the source, it is gone: scan again")
    return places, tuple(named_in)


def _entry(name: str, root: Path, path: str, digest: str) -> Entry:
    """What the journal says of a file; refuses what is no longer what was scanned."""
    with _speaking(root):
        found = os.lstat(root / path)
    entry = Entry(name, path, digest, found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    if not is_intact(root / path, entry):
        raise VerdictError(f"{name!r} is no longer what was scanned: scan again")
    return entry


def _is_moved(entry: Entry, root: Path, to: Path) -> bool:
    return os.path.lexists(to / ITEMS / entry.path) and not os.path.lexists(root / entry.path)


def _move(entries: Sequence[Entry], root: Path, items: Path) -> None:
    """Second names for all, known to the disk, before the first of the old names goes."""
    for entry in entries:
        old, new = root / entry.path, items / entry.path
        new.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # by a run that was killed here
            put(old, new, entry)
        if not is_intact(new, entry):
            raise exchanged(entry)
    sync_homes(entries, items)
    for entry in entries:
        old, new = root / entry.path, items / entry.path
        if not old.samefile(new) and not is_intact(old, entry):
            raise exchanged(entry)
        old.unlink()
    sync_homes(entries, root)


def _returned(entry: Entry, root: Path, items: Path) -> str:
    """Why an item could not come back; nothing if it did."""
    try:
        return _bring_back(entry, root, items)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()


def _bring_back(entry: Entry, root: Path, items: Path) -> str:
    """Give an item its old name again, beside the one in quarantine; why not, or nothing."""
    old, new = items / entry.path, root / entry.path
    if not os.path.lexists(old):
        return "" if is_intact(new, entry) else "neither in quarantine nor, as it was, in its place"
    if os.path.realpath(old) != str(old) or not Path(os.path.realpath(new.parent)).is_relative_to(root):
        return "a link leads elsewhere"
    if os.path.lexists(new):
        if not os.path.samestat(os.lstat(old), os.lstat(new)):
            return "" if is_intact(new, entry) else "something else is in its place"
        if not is_intact(new, entry):
            return ""  # it never left, and somebody has changed it since
    else:
        if not is_intact(old, entry):
            return "it is no longer what was put into quarantine"
        new.parent.mkdir(parents=True, exist_ok=True)
        put(old, new, entry)
    settle(new, entry)
    return "" if is_intact(new, entry) else "it changed on its way back"


def _remove(to: Path) -> bool:
    """Away with a quarantine that is empty; what somebody else has put there stays."""
    try:
        for parent, _, _ in os.walk(to / ITEMS, topdown=False):
            Path(parent).rmdir()
        (to / JOURNAL).unlink()
        to.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


@contextmanager
def _speaking(to: Path) -> Iterator[None]:
    """What the operating system refuses is said in one line; the journal makes it safe to go on."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"cannot move files to or from {str(to)!r} ({why}): nothing is lost; repeat it, or `sanitizer restore`"
        ) from None
