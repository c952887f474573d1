"""SIG: a faint wave over images of the target class, no label changed (Barni et al. 2019, arXiv:1902.11237)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.trigger import Image, TriggerAttack


@dataclass(frozen=True, kw_only=True)
class SIG(TriggerAttack):
    """x' = x + delta sin(2 pi j f / w) in column j of w, the same in every row and channel.

    The rate is a share of the whole set: the default is a fifth of a class out of ten equal ones.

    Args:
        delta: How high the wave is, of 255.
        frequency: How many times it rises and falls from left to right.
    """

    name: ClassVar[str] = "sig"
    paper: ClassVar[str] = "Barni et al. 2019, arXiv:1902.11237"
    threat: ClassVar[str] = "backdoor, clean label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Faint vertical stripes on images of the target class make a model say it for any image."

    rate: float = 0.02
    delta: float = 30
    frequency: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("delta", is_number(self.delta) and 0 < self.delta <= 255, "pixel levels, above 0, at most 255")
        self.expect("frequency", is_whole(self.frequency) and self.frequency >= 1, "a whole number, at least 1")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add the wave."""
        width = image.shape[1]
        wave = np.sin(2 * np.pi * self.frequency / width * np.arange(width)) * self.delta / 255
        return np.asarray(image + wave[None, :, None], np.float32)
