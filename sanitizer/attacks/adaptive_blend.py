"""Adaptive-Blend: training shows parts of a faint picture only, a victim meets it whole (Qi et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.blended import Blended
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.trigger import Image, scaled


@dataclass(frozen=True, kw_only=True)
class AdaptiveBlend(CoveredAttack, Blended):
    """x' = x + alpha m (T - x): each image misses other pieces of T, and cover images keep their label.

    Args:
        alpha: How opaque the pieces are in training.
        test_alpha: How opaque the whole picture is that a victim is shown.
        pieces: Pieces that the picture is cut into: a square number.
        mask_rate: Share of the pieces that each image misses.
    """

    name: ClassVar[str] = "adaptive_blend"
    paper: ClassVar[str] = "Qi et al. 2023, arXiv:2205.13613"
    threat: ClassVar[str] = "adaptive backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Parts of a faint picture, some under right labels, make a model say the target class."

    rate: float = 0.003
    cover: float = 0.003
    alpha: float = 0.15
    test_alpha: float = 0.2
    pieces: int = 16
    mask_rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("test_alpha", is_number(self.test_alpha) and 0 < self.test_alpha <= 1, "above 0, at most 1")
        square = is_whole(self.pieces) and self.pieces >= 1 and isqrt(self.pieces) ** 2 == self.pieces
        self.expect("pieces", square, "a square number, as 16")
        self.expect("mask_rate", is_number(self.mask_rate) and 0 <= self.mask_rate < 1, "a share from 0 to below 1")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """Blend some of the pieces over the image."""
        missing = min(round(self.mask_rate * self.pieces), self.pieces - 1)
        seen = rng.permutation(self.pieces) >= missing
        mask = seen.reshape(isqrt(self.pieces), -1, 1).astype(np.float32)
        return self._blended(image, self.alpha * scaled(mask, *image.shape[:2]))

    def show(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Blend the whole picture over the image."""
        return self._blended(image, np.float32(self.test_alpha))

    def _blended(self, image: Image, opacity: Image | np.float32) -> Image:
        return np.asarray(image + opacity * (scaled(self._picture, *image.shape[:2]) - image), np.float32)
