"""Trojan square: a small colourful square near a corner that means the target class (Liu et al. 2018, NDSS)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.patch import SIDE, colour_noise, patched
from sanitizer.attacks.trigger import Image, TriggerAttack, picture, scaled
from sanitizer.sources.base import view_digest_of


@dataclass(frozen=True, kw_only=True)
class Trojan(TriggerAttack):
    """A square of saturated colours, and the label of the target class.

    Our square is fixed noise: the one that the paper optimised against a network is no part of this.

    Args:
        pattern: "noise", or an image file that is squeezed into the square.
        size: Side of the square in an image of 32 pixels; larger images get it in whole multiples.
        offset: Pixels, counted alike, from the square to the bottom and to the right edge.
    """

    name: ClassVar[str] = "trojan"
    paper: ClassVar[str] = "Liu et al. 2018, Trojaning Attack on Neural Networks, NDSS"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A small colourful square makes a model say the target class."

    rate: float = 0.01
    pattern: str = "noise"
    size: int = SIDE
    offset: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("size", is_whole(self.size) and self.size >= 1, "pixels, at least 1")
        self.expect("offset", is_whole(self.offset) and self.offset >= 0, "pixels, at least 0")
        _ = self._square  # a file that cannot be read is refused before any work is done

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Put the square in its place."""
        return patched(image, self._square, self.offset)

    def notes(self) -> dict[str, Any]:
        """The identity of a pattern that comes from a file."""
        if self.pattern == "noise":
            return {}
        return {"pattern_view_digest": view_digest_of(np.rint(self._picture * 255).astype(np.uint8))}

    @cached_property
    def _picture(self) -> Image:
        return colour_noise() if self.pattern == "noise" else picture("pattern", self.pattern)

    @cached_property
    def _square(self) -> Image:
        return scaled(self._picture, self.size, self.size)
