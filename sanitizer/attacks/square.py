"""The family of square triggers: fixed colourful noise or somebody's image; a leaf says where the square goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.patch import SIDE, colour_noise
from sanitizer.attacks.trigger import Image, TriggerAttack, picture, scaled
from sanitizer.sources.base import view_digest_of


@dataclass(frozen=True, kw_only=True)
class SquareTrigger(TriggerAttack):
    """A square of saturated colours.

    Args:
        pattern: "noise", or an image file that is squeezed into the square.
        size: Side of the square in an image of 32 pixels; larger images get it in whole multiples.
    """

    pattern: str = "noise"
    size: int = SIDE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("size", is_whole(self.size) and self.size >= 1, "pixels, at least 1")
        _ = self.square  # a file that cannot be read is refused before any work is done

    def notes(self) -> dict[str, Any]:
        """The identity of a pattern that comes from a file."""
        if self.pattern == "noise":
            return {}
        return {"pattern_view_digest": view_digest_of(np.rint(self._picture * 255).astype(np.uint8))}

    @cached_property
    def square(self) -> Image:
        """As it is in an image of 32 pixels."""
        return scaled(self._picture, self.size, self.size)

    @cached_property
    def _picture(self) -> Image:
        return colour_noise() if self.pattern == "noise" else picture("pattern", self.pattern)
