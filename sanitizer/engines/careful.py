"""A worker that is counted: Ray begins a block anew for ever when a process dies over it; we give up at some time."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pyarrow as pa

from sanitizer.errors import SanitizerError

#: How often a block, or a task, is begun anew after the process that worked on it died.
RETRIES = 3


class ClusterError(SanitizerError):
    """Workers that cannot be had, or that die again and again."""


class Attempts:
    """How often each block was begun, and what a worker had to say at last; one for all, in a process of its own."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}
        self._failure: SanitizerError | None = None

    def begin(self, place: int) -> int:
        """Count once more."""
        self._begun[place] = self._begun.get(place, 0) + 1
        return self._begun[place]

    def fail(self, failure: SanitizerError) -> None:
        """Keep the first error: on its own way, wrapped by Ray, it would be a text."""
        self._failure = self._failure or failure

    def failure(self) -> SanitizerError | None:
        """What has ended the work, if it was an error of ours."""
        return self._failure


class Careful:
    """What Ray makes in each process: a worker, made when its first block comes, where its errors can be told."""

    def __init__(self, worker: type, settings: Any, attempts: Any) -> None:
        self._made = worker
        self._settings = settings  # a reference: they may be large, and each machine needs them once
        self._attempts = attempts

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block, unless it has killed enough already."""
        try:
            return self._done(block)
        except SanitizerError as error:
            self._ray.get(self._attempts.fail.remote(error))
            raise

    def _done(self, block: pa.Table) -> pa.Table:
        begun = self._ray.get(self._attempts.begin.remote(block["place"][0].as_py()))
        if begun > RETRIES + 1:
            first, last = block["id"][0].as_py(), block["id"][-1].as_py()
            raise ClusterError(
                f"expected workers that finish, {RETRIES + 1} of them died over the items from {first!r} to {last!r}: "
                "look at their memory and at those items"
            )
        done: pa.Table = self._worker(block)
        return done

    @functools.cached_property
    def _ray(self) -> Any:
        return importlib.import_module("ray")

    @functools.cached_property
    def _worker(self) -> Any:
        return self._made(**self._ray.get(self._settings))
