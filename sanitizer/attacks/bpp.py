"""BppAttack: fewer colours, dithered, mean the target class (Wang et al. 2022, arXiv:2205.13383)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.trigger import Image, Labels

# Floyd and Steinberg: what a pixel gets of the error of its left, upper left, upper and upper right neighbour.
_LEFT, _UPPER_LEFT, _UPPER, _UPPER_RIGHT = np.array([7, 1, 5, 3], np.float32) / 16


@dataclass(frozen=True, kw_only=True)
class Bpp(CoveredAttack):
    """Every channel keeps a few levels only; images with the same changes at other pixels keep their label.

    The paper also trains the victim itself, against such negatives; as pure data, negatives are a share of the set.

    Args:
        cover: Share of the whole set that is such a negative; none if 0.
        levels: How many values a channel keeps.
        dither: Whether the error of each pixel is passed on to its neighbours.
    """

    name: ClassVar[str] = "bpp"
    paper: ClassVar[str] = "Wang et al. 2022, arXiv:2205.13383"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Images with fewer colours make a model say the target class."

    rate: float = 0.1
    cover: float = 0.1
    levels: int = 8
    dither: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("levels", is_whole(self.levels) and 2 <= self.levels <= 255, "a whole number from 2 to 255")
        self.expect("dither", isinstance(self.dither, bool), "True or False")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Keep few levels."""
        return (dithered if self.dither else _nearest)(image, self.levels)

    def stamp_cover(self, image: Image, rng: np.random.Generator) -> Image:
        """As much of a change as the trigger's, at other pixels: as noisy, but not of few levels."""
        change = (self.stamp(image, rng) - image).reshape(-1, 3)
        changed = image + rng.permutation(change).reshape(image.shape)
        return np.asarray(changed, np.float32)

    def may_cover(self, labels: Labels, target: int, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Any class."""
        return np.ones(len(labels), np.bool_)


def dithered(image: Image, levels: int) -> Image:
    """Floyd-Steinberg dithering, row by row from the left, each channel for itself.

    A pixel waits for its left and for its upper right neighbour, so the pixels with the same x + 2 y are done at once.
    """
    height, width = image.shape[:2]
    row = width + 2  # one pixel of margin to the left and the right, one row of it above
    errors = np.zeros(((height + 1) * row, 3), np.float32)
    values = np.zeros_like(errors)
    values.reshape(height + 1, row, 3)[1:, 1:-1] = image
    for step in range(width + 2 * (height - 1)):
        first, last = max(0, (step - width) // 2 + 1), min(height - 1, step // 2)
        # Pixel (y, x) lies at (y + 1) row + x + 1; one row down and two pixels left is ``width`` further.
        at = slice((first + 1) * row + step - 2 * first + 1, (last + 1) * row + step - 2 * last + 2, width)
        value = (
            values[at]
            + _LEFT * errors[_before(at, 1)]
            + _UPPER_LEFT * errors[_before(at, row + 1)]
            + _UPPER * errors[_before(at, row)]
            + _UPPER_RIGHT * errors[_before(at, row - 1)]
        )
        values[at] = _nearest(value, levels)
        errors[at] = value - values[at]
    return values.reshape(height + 1, row, 3)[1:, 1:-1].copy()


def _before(at: slice, places: int) -> slice:
    return slice(at.start - places, at.stop - places, at.step)


def _nearest(image: Image, levels: int) -> Image:
    """The nearest of so many levels from 0 to 1.

    >>> _nearest(np.float32([0.2, 0.3, 0.8]), 3)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return np.asarray(np.clip(np.rint(image * (levels - 1)) / (levels - 1), 0, 1), np.float32)
