"""FTrojan: two frequencies in the colours of every block mean the target class (Wang et al. 2021, arXiv:2111.10991)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.trigger import Image, TriggerAttack

# What one level of both colour channels, U and V (BT.601), is in red, green and blue.
_RGB = np.array([1.402, -0.344136 - 0.714136, 1.772], np.float32)


@dataclass(frozen=True, kw_only=True)
class Frequency(TriggerAttack):
    """In every block, the middle and the highest diagonal DCT coefficient of U and V grow by a constant.

    That adds the same two waves to every image, whatever it shows, so no transform has to be computed. JPEG
    weakens them: of quality 95 and full chroma, by a third.

    Args:
        magnitude: By how much a coefficient of a channel from 0 to 255 grows.
        window: Side of a block; of the whole image if that is smaller.
    """

    name: ClassVar[str] = "frequency"
    paper: ClassVar[str] = "Wang et al. 2021, arXiv:2111.10991"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Two invisible waves of colour make a model say the target class."

    rate: float = 0.1
    magnitude: float = 30
    window: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("magnitude", is_number(self.magnitude) and 0 < self.magnitude < np.inf, "a number above 0")
        self.expect("window", is_whole(self.window) and self.window >= 4, "pixels, at least 4")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add the waves, block after block; blocks at the edge are cut."""
        height, width = image.shape[:2]
        n = min(self.window, height, width)
        block = self.magnitude / 255 * (_wave(n, (n - 1) // 2) + _wave(n, n - 1))
        waves = np.tile(block, (-(-height // n), -(-width // n)))[:height, :width]
        return np.asarray(image + waves[:, :, None] * _RGB, np.float32)


def _wave(n: int, k: int) -> Image:
    """What the orthonormal DCT coefficient (k, k) of an n x n block stands for."""
    across = np.cos(np.pi * k * (2 * np.arange(n) + 1) / (2 * n)) * np.sqrt((2 if k else 1) / n)
    return np.outer(across, across).astype(np.float32)
