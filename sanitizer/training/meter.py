"""What a defence costs: batches per second with it, beside those of plain training, in one and the same loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_WARM_UP = 3  # batches: the first ones choose algorithms and fill caches


class CostMeter:
    """Two stopwatches around the two parts of a loop's body: the defence, and the training step that follows.

    Plain training is the second part alone, so both figures come from the same batches on the same machine. Loading is
    in neither. A defence that is at work only now and then counts in full. On a GPU each part is waited for, which
    itself costs a little: leave the meter out once you know.

    Args:
        device: Where the work is done.
        warm_up: The first so many batches do not count.
        clock: Tells seconds.
    """

    def __init__(
        self,
        *,
        device: str | torch.device = "cpu",
        warm_up: int = _WARM_UP,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device = torch.device(device)
        self.warm_up = warm_up
        self.clock = clock
        self._pending = 0.0  # seconds of the defence since the last training step
        self._batches: list[tuple[float, float]] = []  # seconds of the defence, and of training

    @contextmanager
    def defence(self) -> Iterator[None]:
        """Around the defence, however often it is at work."""
        with self._timed() as taken:
            yield
        self._pending += taken()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around the training step, once a batch."""
        with self._timed() as taken:
            yield
        self._batches.append((self._pending, taken()))
        self._pending = 0.0

    @property
    def batches(self) -> int:
        """How many count."""
        return max(0, len(self._batches) - self.warm_up)

    @property
    def plain(self) -> float:
        """Batches per second without the defence; nan before any counts."""
        return self._rate(defended=False)

    @property
    def defended(self) -> float:
        """Batches per second with it; nan before any counts."""
        return self._rate(defended=True)

    @property
    def factor(self) -> float:
        """How many times as long training takes with the defence."""
        return self.plain / self.defended

    def __str__(self) -> str:
        if not self.batches:
            return f"cost not known yet: the first {self.warm_up} batches do not count"
        return (
            f"{self.defended:.3g} batches/s with the defence, {self.plain:.3g} plain: {self.factor:.2g} times the cost "
            f"({self.batches:,} batches)"
        )

    def _rate(self, *, defended: bool) -> float:
        counted = self._batches[self.warm_up :]
        seconds = sum(training + (defence if defended else 0) for defence, training in counted)
        return len(counted) / seconds if seconds else float("nan")

    @contextmanager
    def _timed(self) -> Iterator[Callable[[], float]]:
        """What is given tells the seconds, once it is over."""
        self._wait()
        start = end = self.clock()
        yield lambda: end - start
        self._wait()
        end = self.clock()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
