"""Trojan square: a small colourful square near a corner that means the target class (Liu et al. 2018, NDSS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.patch import patched
from sanitizer.attacks.square import SquareTrigger
from sanitizer.attacks.trigger import Image


@dataclass(frozen=True, kw_only=True)
class Trojan(SquareTrigger):
    """A square of saturated colours, and the label of the target class.

    Our square is fixed noise: the one that the paper optimised against a network is no part of this.

    Args:
        offset: Pixels, counted alike, from the square to the bottom and to the right edge.
    """

    name: ClassVar[str] = "trojan"
    paper: ClassVar[str] = "Liu et al. 2018, Trojaning Attack on Neural Networks, NDSS"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A small colourful square makes a model say the target class."

    rate: float = 0.01
    offset: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("offset", is_whole(self.offset) and self.offset >= 0, "pixels, at least 0")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Put the square in its place."""
        return patched(image, self.square, self.offset)
