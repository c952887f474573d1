"""The store: what was computed once is kept, named by what it was computed from, verified when it is read.

A shelf holds rows of one kind; its name is the digest of everything that decides their values. A shard is an
Arrow file named by the digest of its own bytes: it appears whole or not at all, two scans may write the same
one, and one that is not what its name says is thrown away. Nothing in the store is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sanitizer.errors import UsageError
from sanitizer.writing import write_whole

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
    def open(cls, where: str | None = None) -> Store | None:
        """The store in ``where``, in ``$SANITIZER_STORE``, or in the user's cache folder; None for "none"."""
        where = where or os.environ.get(VARIABLE) or str(_cache_folder() / "dataset-sanitizer")
        if where == NONE:
            return None
        root = Path(os.path.realpath(Path(where).expanduser()))
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = root.stat()
        except OSError as error:
            why = error.strerror or type(error).__name__
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
        file = tempfile.TemporaryFile(dir=self.root)  # noqa: SIM115 - the caller closes it
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a crash once it is mapped
        except OSError as error:
            file.close()
            raise _no_room(error) from None
        return file


@dataclass(frozen=True)
class Shelf:
    """Shards of rows of one kind."""

    folder: Path

    def put(self, table: pa.Table) -> None:
        """Keep a table as one shard."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        content = sink.getvalue().to_pybytes()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _no_room(error) from None
        write_whole(self.folder / (hashlib.sha256(content).hexdigest() + _SUFFIX), content)

    def tables(self) -> Iterator[pa.Table]:
        """Every intact shard, memory-mapped; what is broken is removed, and will be computed again."""
        for path in sorted(self.folder.glob("*" + _SUFFIX)):
            table = _intact(path)
            if table is not None:
                yield table

    def latest(self, column: str) -> pa.Table | None:
        """The shard whose first row has the largest value in a column, for things that replace each other."""
        return max(self.tables(), key=lambda table: table[column][0].as_py(), default=None)

    def clear(self) -> None:
        """Forget this shelf."""
        shutil.rmtree(self.folder, ignore_errors=True)


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
            hasher.update(file.name.encode() + b"\0" + file.read_bytes())
    return hasher.hexdigest()[:16]


def _intact(path: Path) -> pa.Table | None:
    try:
        mapped = pa.memory_map(str(path), "r")
        if hashlib.sha256(memoryview(mapped.read_buffer())).hexdigest() != path.name.removesuffix(_SUFFIX):
            raise ValueError("its content is not what its name says")
        mapped.seek(0)
        return pa.ipc.open_file(mapped).read_all()
    except (OSError, ValueError, pa.ArrowException) as error:
        log.warning("the store's %s is broken (%s): it is computed again", path.name, str(error).splitlines()[0])
        path.unlink(missing_ok=True)
        return None


def _no_room(error: OSError) -> UsageError:
    return UsageError(f"cannot write into the store ({error.strerror}): free some room or use --store none")


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
