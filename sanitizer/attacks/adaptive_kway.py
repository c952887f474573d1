"""Adaptive-k-way: training shows some of k tiny squares, a victim meets all (Qi et al. 2023, after Xie et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import is_whole
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.patch import NATIVE, times
from sanitizer.attacks.trigger import Image

_CELLS = 8  # a side: an image has 64 cells, and each square lies in one of its own


@dataclass(frozen=True, kw_only=True)
class AdaptiveKWay(CoveredAttack):
    """k squares, whose places and colours follow from the seed; half of them, rounded up, on each image of the set.

    Args:
        k: How many squares there are.
        size: Their side in an image of 32 pixels; larger images get it in whole multiples.
    """

    name: ClassVar[str] = "adaptive_kway"
    paper: ClassVar[str] = "Qi et al. 2023, arXiv:2205.13613"
    threat: ClassVar[str] = "adaptive backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Some of several tiny squares, some under right labels, make a model say the target class."

    rate: float = 0.003
    cover: float = 0.003
    k: int = 7
    size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("k", is_whole(self.k) and 1 <= self.k <= _CELLS**2, f"a whole number from 1 to {_CELLS**2}")
        self.expect("size", is_whole(self.size) and 1 <= self.size <= NATIVE // _CELLS, "pixels, from 1 to 4")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """Half of the squares."""
        return self._with(image, rng.choice(self.k, -(-self.k // 2), replace=False))

    def show(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """All of them."""
        return self._with(image, np.arange(self.k))

    def notes(self) -> dict[str, Any]:
        """Where the squares are, on a board of 8 x 8 cells, and their colours."""
        cells, colours = self._squares
        return {
            "squares": [
                {"row": int(cell // _CELLS), "column": int(cell % _CELLS), "rgb": (255 * colour).astype(int).tolist()}
                for cell, colour in zip(cells, colours, strict=True)
            ]
        }

    @cached_property
    def _squares(self) -> tuple[NDArray[np.int64], Image]:
        rng = np.random.default_rng(self.seed)
        cells = rng.choice(_CELLS**2, self.k, replace=False)
        return cells, rng.integers(0, 2, (self.k, 3)).astype(np.float32)

    def _with(self, image: Image, chosen: NDArray[np.int64]) -> Image:
        height, width = image.shape[:2]
        side = self.size * times(height, width)
        cells, colours = self._squares
        stamped = image.copy()
        for i in chosen:
            top, left = int(cells[i] // _CELLS) * height // _CELLS, int(cells[i] % _CELLS) * width // _CELLS
            stamped[top : top + side, left : left + side] = colours[i]
        return stamped
