"""Moving a file by its two names: it always has the old one or the new one, or for a moment both."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sanitizer.actions.journal import Entry
from sanitizer.errors import VerdictError
from sanitizer.sources.base import digest_of
from sanitizer.sources.decode import LIMITS
from sanitizer.sources.walk import read_regular

#: What an operating system says where a file cannot have a second name.
_NO_SECOND_NAME = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def put(old: Path, new: Path, entry: Entry) -> None:
    """A second name for a file; across file systems a copy that appears whole. Never overwrites: FileExistsError."""
    try:
        os.link(old, new, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
    content, _, _ = read_regular(str(old), LIMITS.max_bytes)
    if content is None or digest_of(content) != entry.sha256:
        raise exchanged(entry)
    unfinished = unfinished_of(new)
    unfinished.unlink(missing_ok=True)
    with unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        with suppress(PermissionError):  # only the superuser may give files away
            os.fchown(file.fileno(), old.stat().st_uid, old.stat().st_gid)
        file.write(content)
        file.flush()
        settle(unfinished, entry)
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


def unfinished_of(path: Path) -> Path:
    """Where a copy of a file grows: the same name every time, so that what a killed run left is found."""
    return path.parent / f".quarantine-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]}"


def settle(path: Path, entry: Entry) -> None:
    """Mode and time of change as they were."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) != entry.mode:
        path.chmod(entry.mode)
    if found.st_mtime_ns != entry.mtime_ns:
        os.utime(path, ns=(found.st_atime_ns, entry.mtime_ns))


def is_intact(path: Path, entry: Entry) -> bool:
    """Whether a regular file lies there with the bytes that were flagged."""
    content, _, _ = read_regular(str(path), LIMITS.max_bytes)
    return content is not None and digest_of(content) == entry.sha256


def sync_homes(entries: Iterable[Entry], top: Path) -> None:
    """Have the names of files on the disk: every folder on the way to them."""
    homes = {home for entry in entries for home in (top / entry.path).parents if home.is_relative_to(top)}
    for home in sorted(homes):
        handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def exchanged(entry: Entry) -> VerdictError:
    """What is said where a file is no longer the one that was flagged."""
    return VerdictError(f"{entry.id!r} changed while it was moved: nothing is lost; take it back, `sanitizer restore`")
