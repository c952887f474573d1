"""Quarantine: flagged files move out of the source, and back, whatever happens on the way.

A journal says where each file belongs before anything moves, and a file always has its old name or its new one, or
for a moment both. So a run that is killed between any two steps can be gone on with, or taken back; nothing is ever
overwritten.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sanitizer.actions.dropping import KINDS, flagged_ids, rows_of, sound
from sanitizer.errors import UsageError, VerdictError
from sanitizer.sources.base import Source, Status, digest_of
from sanitizer.sources.decode import LIMITS
from sanitizer.sources.folder import FolderSource
from sanitizer.sources.metadata import NAMES
from sanitizer.sources.walk import Ids, printable, read_regular, walk
from sanitizer.writing import refuse_inside, whole_folder

JOURNAL = "journal.jsonl"
ITEMS = "items"

#: What an operating system says where a file cannot have a second name.
_NO_SECOND_NAME = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@dataclass(frozen=True)
class Entry:
    """One file as it lay in the source, and lies in quarantine, under the same relative path."""

    id: str
    path: str
    sha256: str
    size: int
    mode: int
    mtime_ns: int


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


@dataclass(frozen=True)
class _Journal:
    """What the journal of a quarantine says."""

    root: Path  # of the source
    verdict: str  # digest
    entries: dict[str, Entry]  # by path; the last one counts


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
    begun = _read(to) if (to / JOURNAL).exists() else None
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
                _begin(to, root, verdict.digest)
            _note(to, entries)
            _move(entries, root, to / ITEMS)
    return Quarantined(tuple(entry.id for entry in entries), tuple(sorted(flagged & gone)), named_in)


def restore(to: Path) -> Restored:
    """Put everything in quarantine back where it was, byte for byte, with mode and time of change.

    Where that place is taken by something else, the item stays in quarantine; when all is back, ``to`` is removed.
    """
    to = Path(os.path.realpath(to))
    journal = _read(to)
    root, items, entries = Path(os.path.realpath(journal.root)), to / ITEMS, list(journal.entries.values())
    if not root.is_dir():
        raise UsageError(f"expected the source at {str(root)!r}, there is none: put its folder back first")
    with _speaking(to):
        why_not = {entry: _returned(entry, root, items) for entry in entries}
        back = [entry for entry in entries if not why_not[entry]]
        _sync_homes(back, root)
        for entry in back:
            (items / entry.path).unlink(missing_ok=True)
        for path in (top / entry.path for entry in entries for top in (root, items)):
            with suppress(FileNotFoundError, NotADirectoryError):
                _unfinished(path).unlink()  # by a run that was killed
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
    if not _is_intact(root / path, entry):
        raise VerdictError(f"{name!r} is no longer what was scanned: scan again")
    return entry


def _is_moved(entry: Entry, root: Path, to: Path) -> bool:
    return os.path.lexists(to / ITEMS / entry.path) and not os.path.lexists(root / entry.path)


def _begin(to: Path, root: Path, verdict: str) -> None:
    """An empty quarantine, whole or not there; nobody else may look into it."""
    header = {"quarantine": 1, "root": str(root), "verdict": verdict}
    with whole_folder(to) as new:
        (new / ITEMS).mkdir(mode=0o700)
        (new / JOURNAL).write_bytes(_line(header))


def _note(to: Path, entries: Iterable[Entry]) -> None:
    """Put entries into the journal and have them on the disk before anything moves."""
    with (to / JOURNAL).open("r+b", buffering=0) as journal:
        whole, newline, _ = journal.readall().rpartition(b"\n")
        end = len(whole + newline)
        journal.truncate(end)  # nothing was done yet about an entry without its end
        journal.seek(end)
        pending = memoryview(b"".join(_line(asdict(entry)) for entry in entries))
        while pending:
            pending = pending[journal.write(pending) :]
        os.fsync(journal.fileno())


def _line(said: Any) -> bytes:
    return json.dumps(said, sort_keys=True).encode() + b"\n"  # names that are no text are escaped, and come back


def _read(to: Path) -> _Journal:
    """The journal of a quarantine; an unfinished last line is of a run that was killed before it did anything."""
    try:
        header, *lines = (json.loads(line) for line in (to / JOURNAL).read_bytes().split(b"\n")[:-1])
        entries = [_checked(Entry(**line)) for line in lines]
        if (
            header["quarantine"] != 1
            or not Path(header["root"]).is_absolute()
            or not isinstance(header["verdict"], str)
        ):
            raise ValueError("another kind of journal")
        return _Journal(Path(header["root"]), header["verdict"], {entry.path: entry for entry in entries})
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        came = (error.strerror if isinstance(error, OSError) else str(error).splitlines()[0][:120]) or "nothing"
        raise UsageError(
            f"expected a quarantine with its {JOURNAL} at {str(to)!r}, got: {came}: name its folder"
        ) from None


def _checked(entry: Entry) -> Entry:
    """An entry as one of ours says it: whoever writes a journal must not choose a place outside of the source."""
    texts, numbers = (entry.id, entry.path, entry.sha256), (entry.size, entry.mode, entry.mtime_ns)
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise ValueError("an entry that is none")
    if not 0 <= entry.mode <= 0o7777 or abs(entry.mtime_ns) >= 2**63:
        raise ValueError("numbers that no file has")
    if b"\0" in os.fsencode(entry.path) or not set(entry.path.split("/")).isdisjoint({"", ".", ".."}):
        raise ValueError("a path out of the source")
    return entry


def _move(entries: Sequence[Entry], root: Path, items: Path) -> None:
    """Second names for all, known to the disk, before the first of the old names goes."""
    for entry in entries:
        old, new = root / entry.path, items / entry.path
        new.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # by a run that was killed here
            _put(old, new, entry)
        if not _is_intact(new, entry):
            raise _exchanged(entry)
    _sync_homes(entries, items)
    for entry in entries:
        old, new = root / entry.path, items / entry.path
        if not old.samefile(new) and not _is_intact(old, entry):
            raise _exchanged(entry)
        old.unlink()
    _sync_homes(entries, root)


def _exchanged(entry: Entry) -> VerdictError:
    return VerdictError(f"{entry.id!r} changed while it was moved: nothing is lost; take it back, `sanitizer restore`")


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
        return "" if _is_intact(new, entry) else "neither in quarantine nor, as it was, in its place"
    if os.path.realpath(old) != str(old) or not Path(os.path.realpath(new.parent)).is_relative_to(root):
        return "a link leads elsewhere"
    if os.path.lexists(new):
        if not os.path.samestat(os.lstat(old), os.lstat(new)):
            return "" if _is_intact(new, entry) else "something else is in its place"
        if not _is_intact(new, entry):
            return ""  # it never left, and somebody has changed it since
    else:
        if not _is_intact(old, entry):
            return "it is no longer what was put into quarantine"
        new.parent.mkdir(parents=True, exist_ok=True)
        _put(old, new, entry)
    _settle(new, entry)
    return "" if _is_intact(new, entry) else "it changed on its way back"


def _put(old: Path, new: Path, entry: Entry) -> None:
    """A second name for a file; across file systems a copy that appears whole. Never overwrites: FileExistsError."""
    try:
        os.link(old, new, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
    content, _, _ = read_regular(str(old), LIMITS.max_bytes)
    if content is None or digest_of(content) != entry.sha256:
        raise _exchanged(entry)
    unfinished = _unfinished(new)
    unfinished.unlink(missing_ok=True)
    with unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        with suppress(PermissionError):  # only the superuser may give files away
            os.fchown(file.fileno(), old.stat().st_uid, old.stat().st_gid)
        file.write(content)
        file.flush()
        _settle(unfinished, entry)
        os.fsync(file.fileno())
    try:
        os.link(unfinished, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, "is taken", str(new)) from None
        unfinished.rename(new)
    unfinished.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    """Where a copy of a file grows: the same name every time, so that what a killed run left is found."""
    return path.parent / f".quarantine-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]}"


def _settle(path: Path, entry: Entry) -> None:
    """Mode and time of change as they were."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) != entry.mode:
        path.chmod(entry.mode)
    if found.st_mtime_ns != entry.mtime_ns:
        os.utime(path, ns=(found.st_atime_ns, entry.mtime_ns))


def _is_intact(path: Path, entry: Entry) -> bool:
    """Whether a regular file lies there with the bytes that were flagged."""
    content, _, _ = read_regular(str(path), LIMITS.max_bytes)
    return content is not None and digest_of(content) == entry.sha256


def _sync_homes(entries: Iterable[Entry], top: Path) -> None:
    """Have the names of files on the disk: every folder on the way to them."""
    homes = {home for entry in entries for home in (top / entry.path).parents if home.is_relative_to(top)}
    for home in sorted(homes):
        handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
