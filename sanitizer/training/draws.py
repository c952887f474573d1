"""Draws that follow from a seed and go on where a checkpoint left them; global random state is never touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """Something that draws anew for every batch: in the training loop, not in the workers of a loader.

    Args:
        seed: Of all that is drawn.
    """

    seed: int = 0

    @cached_property
    def draws(self) -> np.random.Generator:
        """Where the draws are."""
        return np.random.default_rng(self.seed)

    def state_dict(self) -> dict[str, Any]:
        """What to keep beside the model, so that a resumed training draws what it would have drawn."""
        return {"draws": json.dumps(self.draws.bit_generator.state)}  # as text: its numbers are too large for most

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.draws.bit_generator.state = json.loads(state["draws"])
