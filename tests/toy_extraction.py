"""What the tests of extraction share: a quick probe, a toy set, a network to look with, and who watches."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sanitizer.extraction import Extracted, Extraction
from sanitizer.progress import Advance
from sanitizer.sources.census import Census
from sanitizer.store import Store

CPU = torch.device("cpu")
EPOCHS = 4
TRAINING = "training the probe"
ASKED = frozenset({"batchnorm", "channels", "dropout"})
LAYERS, DROPOUT = "view layers", "view dropout"


class Watching:
    """Counts the steps of every stage; raises when a stage has gone so far."""

    def __init__(self, stops_at: dict[str, int] | None = None) -> None:
        self.steps: Counter[str] = Counter()
        self.stops_at = stops_at or {}

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """Count, and perhaps raise."""
        self.steps[name] += 0

        def advance(count: int) -> None:
            self.steps[name] += count
            if self.steps[name] >= self.stops_at.get(name, 10**9):
                raise KeyboardInterrupt

        yield advance


def extracted(census: Census, store: Store | None = None, **settings: Any) -> tuple[Extracted, Counter[str]]:
    """The spaces, and the steps that they took."""
    watching = Watching()
    return Extraction(device=CPU, store=store, progress=watching, **settings)(census), watching.steps


def assert_same(one: Extracted, other: Extracted) -> None:
    """Bit for bit, and the same things said about the networks."""
    assert list(one.spaces) == list(other.spaces)
    for name, space in one.spaces.items():
        assert space.dtype == other.spaces[name].dtype
        np.testing.assert_array_equal(space, other.spaces[name])
    assert (one.model, one.reference, one.side) == (other.model, other.reference, other.side)


# The probe
