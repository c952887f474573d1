"""The store: what was computed once is kept, named by what it was computed from, verified when it is read.

A shelf holds rows of one kind; its name is the digest of everything that decides their values. A shard is an
Arrow file named by the digest of its own bytes: it appears whole or not at all, two scans may write the same
one, and one that is not what its name says is thrown away. Nothing in the store is ever unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sanitizer.errors import UsageError
from sanitizer.writing import refuse_inside, write_whole

log = logging.getLogger(__name__)

#: Names the folder instead of the default one; ``NONE`` keeps nothing.
VARIABLE = "SANITIZER_STORE"
NONE = "none"
_SUFFIX = ".arrow"


@dataclass(frozen=True)
class Store:
    """A private folder of shelves."""

    root: Path

    @classmethod
    def open(cls, where: str | None = None, *, outside: Iterable[Path | None] = ()) -> Store | None:
        """The store in ``where``, in ``$SANITIZER_STORE``, or in the user's cache folder; None for "none".

        It is refused, and not made, inside the folders that it must lie ``outside`` of.
        """
        named = where or os.environ.get(VARIABLE)
        if named == NONE:
            return None
        try:
            return cls._made(named or str(Path(_cache_folder()) / "dataset-sanitizer"), outside)
        except UsageError as error:
            if named:
                raise
            log.warning("going on without a store: %s", error)  # nobody asked for one
            return None

    @classmethod
    def _made(cls, where: str, outside: Iterable[Path | None]) -> Store:
        try:
            root = Path(os.path.realpath(Path(where).expanduser()))
            for source in outside:
                refuse_inside(root, source)
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = root.stat()
        except (OSError, RuntimeError, ValueError) as error:  # pathlib: RuntimeError where nobody has a home
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UsageError(f"cannot keep a store at {where!r} ({why}): name another with --store") from None
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(
                f"expected a store that only you can write, others can write {where!r}: chmod 700 it, name another "
                "with --store, or use --store none"
            )
        return cls(root)

    def shelf(self, kind: str, **key: Any) -> Shelf:
        """The shelf for values that depend on ``key`` and on nothing else; ``key`` is plain JSON."""
        name = hashlib.sha256(json.dumps([kind, key], sort_keys=True).encode()).hexdigest()
        return Shelf(self.root / kind / name[:40])

    def scratch(self, size: int) -> IO[bytes]:
        """A file on the store's disk that has no name and vanishes when it is closed: memory that can be paged out."""
        file = None
        try:
            file = tempfile.TemporaryFile(dir=self.root)  # noqa: SIM115 - the caller closes it
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a crash once it is mapped
        except OSError as error:
            if file:
                file.close()
            raise _no_room(error) from None
        return file


@dataclass(frozen=True)
class Shelf:
    """Shards of rows of one kind."""

    folder: Path

    def put(self, table: pa.Table) -> Path:
        """Keep a table as one shard; returns its file."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        content = sink.getvalue()  # a buffer: nothing is copied
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _no_room(error) from None
        path = self.folder / (hashlib.sha256(content).hexdigest() + _SUFFIX)
        write_whole(path, content)
        return path

    def replace(self, table: pa.Table) -> None:
        """Keep a table as the only shard."""
        earlier = set(self._files())
        for path in earlier - {self.put(table)}:
            _remove(path)

    def tables(self) -> Iterator[pa.Table]:
        """Every intact shard, memory-mapped; what is broken is removed, and will be computed again."""
        for path in self._files():
            table = _intact(path)
            if table is not None:
                yield table

    def latest(self, column: str) -> pa.Table | None:
        """The shard whose first row has the largest value in a column, for things that replace each other."""
        return max(self.tables(), key=lambda table: table[column][0].as_py(), default=None)

    def clear(self) -> None:
        """Forget every shard; the folder stays, for another scan may be writing into it."""
        for path in self._files():
            _remove(path)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*" + _SUFFIX))


@functools.cache
def implementation(*modules: str) -> str:
    """The identity of our own code in these modules and packages, read, not imported: new code, new values."""
    hasher = hashlib.sha256()
    for module in modules:
        found = find_spec(module)
        assert found is not None, module
        home = Path(str(found.origin))
        files: Sequence[Path] = sorted(home.parent.rglob("*.py")) if found.submodule_search_locations else [home]
        for file in files:
            content = file.read_bytes()
            hasher.update(f"{file.relative_to(home.parent)}\0{len(content)}\0".encode() + content)
    return hasher.hexdigest()[:16]


def _intact(path: Path) -> pa.Table | None:
    """The table in a file that is what its name says; any other is removed."""
    try:
        mapped = pa.memory_map(str(path), "r")
        if hashlib.sha256(memoryview(mapped.read_buffer())).hexdigest() != path.name.removesuffix(_SUFFIX):
            raise ValueError("its content is not what its name says")
        mapped.seek(0)
        return pa.ipc.open_file(mapped).read_all()
    except FileNotFoundError:  # another scan has just forgotten it
        return None
    except OSError as error:  # it cannot be read just now: too many files are open, the disk fails
        log.warning("the store's %s cannot be read (%s): it is computed again", path.name, _first_line(error))
        return None
    except (ValueError, pa.ArrowException) as error:
        log.warning("the store's %s is broken (%s): it is computed again", path.name, _first_line(error))
        _remove(path)
        return None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _no_room(error: OSError) -> UsageError:
    return UsageError(f"cannot write into the store ({error.strerror}): free some room or use --store none")


def _cache_folder() -> str:
    given = os.environ.get("XDG_CACHE_HOME")
    return given if given and Path(given).is_absolute() else "~/.cache"
