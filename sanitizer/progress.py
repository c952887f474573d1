"""How long work reports its progress: stages with a name and a size; silent unless somebody listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Somebody who shows stages; the command line draws bars, the library stays silent."""

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """Announce a stage of ``total`` steps (None: unknown); yields what to call with each count of them."""
        ...


class Silent:
    """Nobody is looking."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002 - nobody looks
        """Say nothing."""
        yield lambda count: None


SILENT = Silent()
