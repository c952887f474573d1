"""A book of hostile inputs: each page is a function that makes one kind, under its own name."""

from __future__ import annotations

import os
import random
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Page(Generic[Made]):
    """One kind of hostile input, and what it has to come to."""

    name: str
    make: Made
    outcome: str


@dataclass
class Book(Generic[Made]):
    """Kinds in the order in which they were written down."""

    pages: dict[str, Page[Made]] = field(default_factory=dict)

    def kind(self, outcome: str) -> Callable[[Made], Made]:
        """Enter a function; its name is the name of the kind."""

        def entered(make: Made) -> Made:
            self.add(make.__name__, make, outcome)
            return make

        return entered

    def add(self, name: str, make: Made, outcome: str) -> None:
        """Enter a kind under a name of its own."""
        assert name not in self.pages, name
        self.pages[name] = Page(name, make, outcome)

    def __iter__(self) -> Iterator[Page[Made]]:
        return iter(self.pages.values())

    def __len__(self) -> int:
        return len(self.pages)


def dice(name: str) -> random.Random:
    """Chance that depends on a name alone."""
    return random.Random(zlib.crc32(name.encode()))


def state_of(root: Path) -> dict[Path, tuple[Any, ...]]:
    """Everything that can be seen of a tree without following a link: what must not change."""
    seen: dict[Path, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in folders + files):
            try:
                found = path.lstat()
            except OSError:  # deeper than a path may be
                continue
            link = path.readlink() if stat.S_ISLNK(found.st_mode) else None
            seen[path] = (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino, found.st_nlink, link)
    return seen
