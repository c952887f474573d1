"""Work that is done ahead of whoever waits for it: in threads, as many as there are cores to spare."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

R = TypeVar("R")

#: More would wait for each other: what is between two images is Python.
MOST = 8


def cores() -> int:
    """How many this process may use; whoever says how many threads a library may have means threads like these too."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(told)) if told.isdecimal() and int(told) else allowed


@dataclass
class Ahead(Generic[R]):
    """Takes work and gives promises of its results; on one core nothing is done before somebody asks for it."""

    weigh: Callable[[R], int] = lambda result: 0
    threads: int = field(default_factory=lambda: min(cores(), MOST) if cores() > 1 else 0)
    _pool: ThreadPoolExecutor | None = None
    _free: threading.Event = field(default_factory=threading.Event)
    _finished: dict[int, int] = field(default_factory=dict)  # work -> bytes of its result, which nobody has taken yet
    _asked: int = 0

    @property
    def waiting(self) -> int:
        """Bytes of results that wait to be taken."""
        return sum(list(self._finished.values()))

    def __enter__(self) -> Ahead[R]:
        self._free.set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._free.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def ask(self, work: Callable[[], R]) -> Callable[[], R]:
        """What gives the result of some work, now or once it is done."""
        if not self.threads:
            return work
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "decoding")
        self._asked += 1
        return partial(self._taken, self._asked, self._pool.submit(self._when_free, self._asked, work))

    @contextmanager
    def resting(self, needed: bool = True) -> Iterator[None]:
        """Nothing more is begun meanwhile, where somebody needs every core."""
        if needed:
            self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _when_free(self, number: int, work: Callable[[], R]) -> R:
        self._free.wait()
        result = work()
        self._finished[number] = self.weigh(result)
        return result

    def _taken(self, number: int, promise: Future[R]) -> R:
        result = promise.result()
        del self._finished[number]
        return result
