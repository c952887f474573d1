"""Recall: the verdict of an earlier scan of the very same data with the very same settings, from the store."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sanitizer.errors import VerdictError
from sanitizer.record import VERSIONED, Verdict, version_of
from sanitizer.sources.census import Census
from sanitizer.store import Shelf, Store, implementation
from sanitizer.writing import write_whole

#: Beside those that a verdict names: what else can change a file of it.
_ALSO_VERSIONED = ("scipy", "faiss-gpu", "faiss-gpu-cuvs", "jinja2")


@dataclass(frozen=True)
class Recall:
    """The shelf where the verdict of this very scan lies, if it was ever made; without one, nothing is remembered."""

    shelf: Shelf | None

    @classmethod
    def of(cls, store: Store | None, census: Census, decisive: dict[str, Any] | None) -> Recall:
        """Where the verdict on this data lies; ``decisive`` is everything else that decides it."""
        if store is None or decisive is None:
            return cls(None)
        versions = {name: version_of(name) for name in (*VERSIONED, *_ALSO_VERSIONED)}
        versions["python"] = platform.python_version()
        code = implementation("sanitizer", "detectors")
        return cls(store.shelf("verdicts", data=_identity(census), versions=versions, code=code, **decisive))

    @property
    def known(self) -> bool:
        """Whether there is a verdict to recall."""
        return any(True for _ in self.shelf.tables()) if self.shelf else False

    def into(self, folder: Path) -> Verdict | None:
        """Put the remembered verdict folder into ``folder``; None if there is none."""
        for table in self.shelf.tables() if self.shelf else ():
            for name, content in zip(table["name"].to_pylist(), table["content"].to_pylist(), strict=True):
                write_whole(folder / Path(name).name, content)
            try:
                return replace(Verdict.read(folder), recalled=True)
            except VerdictError:  # of another version of ours: overwritten by the scan that follows
                continue
        return None

    def keep(self, verdict: Verdict, folder: Path) -> None:
        """Remember a verdict folder, unless it might be different the next time."""
        if self.shelf is None or verdict.incomplete:
            return
        files = sorted(folder.iterdir())
        content = pa.array([file.read_bytes() for file in files], pa.large_binary())
        self.shelf.put(pa.table({"name": [file.name for file in files], "content": content}))


def _identity(census: Census) -> str:
    """Everything found: names, contents, labels, statuses."""
    hasher = hashlib.sha256(repr(census.class_names).encode())
    for sample in census.samples:
        hasher.update(f"{sample.id!r} {sample.digest} {sample.label}\n".encode())
    for other in census.others:
        hasher.update(f"{other.id!r} {other.status} {other.label} {other.reason!r}\n".encode())
    return hasher.hexdigest()
