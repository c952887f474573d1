"""The journal of a quarantine: where each file belongs, on the disk before anything moves.

The first line names the source and the verdict, every other one a file. A line without its end is of a run that was
killed before it did anything about it; so it counts for nothing, and is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sanitizer.errors import UsageError
from sanitizer.writing import whole_folder

JOURNAL = "journal.jsonl"
ITEMS = "items"


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
class Journal:
    """What the journal of a quarantine says."""

    root: Path  # of the source
    verdict: str  # digest
    entries: dict[str, Entry]  # by path; the last one counts


def begin(to: Path, root: Path, verdict: str) -> None:
    """An empty quarantine, whole or not there; nobody else may look into it."""
    header = {"quarantine": 1, "root": str(root), "verdict": verdict}
    with whole_folder(to) as new:
        (new / ITEMS).mkdir(mode=0o700)
        (new / JOURNAL).write_bytes(_line(header))


def note(to: Path, entries: Iterable[Entry]) -> None:
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


def read_journal(to: Path) -> Journal:
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
        return Journal(Path(header["root"]), header["verdict"], {entry.path: entry for entry in entries})
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        came = (error.strerror if isinstance(error, OSError) else str(error).splitlines()[0][:120]) or "nothing"
        raise UsageError(
            f"expected a quarantine with its {JOURNAL} at {str(to)!r}, got: {came}: name its folder"
        ) from None


def _line(said: Any) -> bytes:
    return json.dumps(said, sort_keys=True).encode() + b"\n"  # names that are no text are escaped, and come back


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
