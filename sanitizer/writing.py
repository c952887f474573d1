"""Whole writes: what appears under its final name is complete, or it does not appear at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sanitizer.errors import UsageError

_PARTIAL = ".partial-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part of it."""
    path = Path(path)
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r} ({_why(error)}): choose a path that can be written") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(destination: Path, *, replacing: frozenset[str] = frozenset()) -> Iterator[Path]:
    """A folder to fill; it takes its final name when the block ends well and vanishes when it does not.

    A folder that holds nothing but what is named in ``replacing`` (an earlier result, also one that was
    killed half-way) gives way to the new one.
    """
    destination = Path(os.path.realpath(destination))  # renaming onto a link would fail, onto its target works
    temporary, old = _beside(destination), _beside(destination)
    try:
        taken = destination.exists() and not (
            destination.is_dir() and all(_gives_way(entry.name, replacing) for entry in destination.iterdir())
        )
        if not taken:
            destination.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
    except OSError as error:
        raise UsageError(f"cannot make the folder {str(destination)!r} ({_why(error)}): choose another") from None
    if taken:
        raise UsageError(
            f"expected a new or empty folder, {str(destination)!r} has content: choose another or empty it"
        )
    try:
        yield temporary
        _sync_tree(temporary)
        try:
            if destination.exists():
                destination.rename(old)
            temporary.rename(destination)
        except OSError as error:
            raise UsageError(f"cannot finish {str(destination)!r} ({_why(error)}): was it written to?") from None
        _sync_folder(destination.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise UsageError(f"no room for {str(destination)!r} ({_why(error)}): free some or choose another") from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already if all went well
        shutil.rmtree(old, ignore_errors=True)


def refuse_inside(destination: Path, root: Path | None) -> None:
    """Output inside a source would be taken for data by the next scan, so it is refused."""
    if root is None:
        return
    inner, outer = Path(os.path.realpath(destination)), Path(os.path.realpath(root))
    if inner.is_relative_to(outer):
        raise UsageError(f"{str(destination)!r} lies inside the source {str(root)!r}: choose a folder outside of it")


def _gives_way(name: str, replacing: frozenset[str]) -> bool:
    return name in replacing or (bool(replacing) and name.startswith(_PARTIAL))


def _beside(path: Path) -> Path:
    """A name nobody else has, on the same file system, so that renaming is one step."""
    return path.parent / f"{_PARTIAL}{secrets.token_hex(8)}"


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    """Bring a finished folder to the disk before its name does; many files go with one system-wide call."""
    files = [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
    if len(files) > 100:
        os.sync()
        return
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    for parent, _, _ in os.walk(folder):
        _sync_folder(Path(parent))
