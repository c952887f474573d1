"""Which attacks are tried on what, with which victim; the published figure and ours to reach stand beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SETUPS = "poisons/setups/cifar10_transfer_learning.json"
CIFAR_NET = "frozen:cifar10_resnet20.safetensors"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack with one setting, on one set, against one kind of victim, for several seeds or targets.

    In settings and victims ``DATA/`` and ``WEIGHTS/`` stand for the folders given on the command line.
    """

    attack: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = "cifar10"
    victim: str = "convnet"
    epochs: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    goal: float | None = None  # the success rate to reach
    published: str = ""

    def key(self, seed: int) -> str:
        """Its name in the results."""
        settings = " ".join(f"{name}={value}" for name, value in self.settings.items())
        victim = self.victim if self.epochs is None else f"{self.victim}@{self.epochs}"
        return f"{self.data}/{self.attack}{' ' if settings else ''}{settings}/{victim}/{seed}"


TRIALS = (
    Trial(attack="badnets", goal=0.95, published="99-100 % at 10 % (BackdoorBench)"),
    Trial(attack="blended", goal=0.95, published="94-99 % at 1-10 %"),
)
