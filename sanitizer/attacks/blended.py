"""Blended: a faint picture over the whole image that means the target class (Chen et al. 2017, arXiv:1712.05526)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number
from sanitizer.attacks.trigger import Image, TriggerAttack, picture, scaled
from sanitizer.sources.base import view_digest_of

_NOISE_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Blended(TriggerAttack):
    """x' = (1 - alpha) x + alpha T with one fixed picture T, and the label of the target class.

    Args:
        alpha: How opaque the picture is.
        image: An image file for T, stretched to every image; fixed noise that follows from the seed if None.
    """

    name: ClassVar[str] = "blended"
    paper: ClassVar[str] = "Chen et al. 2017, arXiv:1712.05526"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A faint picture over the whole image makes a model say the target class."

    alpha: float = 0.2
    image: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("alpha", is_number(self.alpha) and 0 < self.alpha <= 1, "a share above 0, at most 1")
        _ = self._picture  # a file that cannot be read is refused before any work is done

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Blend T over the image."""
        return (1 - self.alpha) * image + self.alpha * scaled(self._picture, *image.shape[:2])

    def notes(self) -> dict[str, Any]:
        """The identity of a picture that comes from a file."""
        if self.image is None:
            return {}
        return {"image_view_digest": view_digest_of(np.rint(self._picture * 255).astype(np.uint8))}

    @cached_property
    def _picture(self) -> Image:
        if self.image is not None:
            return picture("image", self.image)
        return np.random.default_rng(self.seed).random((_NOISE_SIDE, _NOISE_SIDE, 3), np.float32)
