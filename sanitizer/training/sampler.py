"""A torch sampler that draws only what is still kept, shuffled by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from sanitizer.errors import UsageError


class Keeper(Protocol):
    """Whoever says what is trained on: ``Epic``, or a defence of your own."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) of the whole set."""


class KeptSampler(Sampler[int]):
    """Every kept index once an epoch, in an order that only seed, epoch and what is kept decide.

    Like torch's ``DistributedSampler`` it has to be told the epoch. It draws in the main process, so a loader may have
    any number of workers; with persistent ones, what is dropped is gone from the next epoch on as without.

    Args:
        keeper: Whose ``kept`` counts, as it is when an epoch begins.
        seed: Of all shuffles.
        refill: Go on with a second draw of the kept until as many indices were drawn as the set has. For loops that
            count on epochs of one length: learning-rate schedules, Lightning's validation, the Trainer's resuming.
    """

    def __init__(self, keeper: Keeper, *, seed: int = 0, refill: bool = False) -> None:
        self.keeper = keeper
        self.seed = seed
        self.refill = refill
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Which epoch is next; ``skip``: how many of its samples an interrupted run has trained on already."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        kept = self.keeper.kept
        return max((len(kept) if self.refill else int(kept.sum())) - self.skip, 0)

    def __iter__(self) -> Iterator[int]:
        kept = self.keeper.kept
        rows = np.flatnonzero(kept)
        length = len(kept) if self.refill else len(rows)
        if not len(rows):
            raise UsageError("expected something to train on, got a set of which nothing is kept")
        passes = range(-(-length // len(rows)))
        orders = [np.random.default_rng((self.seed, self.epoch, number)).permutation(rows) for number in passes]
        yield from np.concatenate(orders)[self.skip : length].tolist()

    def state_dict(self) -> dict[str, Any]:
        """The seed and the epoch; what is kept belongs to the keeper's state."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Draw what the saved one would."""
        self.seed = state["seed"]
        self.set_epoch(state["epoch"])
