"""WaNet: a slight warp of the whole image means the target class (Nguyen and Tran 2021, arXiv:2102.10369)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.trigger import Image, Labels


@dataclass(frozen=True, kw_only=True)
class WaNet(CoveredAttack):
    """One fixed smooth warp; images that are warped by noise besides keep their label, so that the very warp counts.

    Args:
        cover: Share of the whole set that is warped with noise and keeps its label; none if 0.
        grid: Control points of the warp along each side.
        strength: How far it moves things: on average a quarter of a pixel at 0.5, whatever the size of the image.
    """

    name: ClassVar[str] = "wanet"
    paper: ClassVar[str] = "Nguyen and Tran 2021, arXiv:2102.10369"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A slight warp of the whole image makes a model say the target class."

    rate: float = 0.1
    cover: float = 0.2
    grid: int = 4
    strength: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("grid", is_whole(self.grid) and self.grid >= 2, "a whole number, at least 2")
        self.expect("strength", is_number(self.strength) and 0 < self.strength < np.inf, "a number above 0")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Warp."""
        return _sampled(image, self._places(image))

    def stamp_cover(self, image: Image, rng: np.random.Generator) -> Image:
        """Warp, and shake every pixel on top."""
        height, width = image.shape[:2]
        shaken = torch.from_numpy(rng.uniform(-1, 1, (height, width, 2)).astype(np.float32))
        return _sampled(image, self._places(image) + shaken / torch.tensor([width, height]))

    def may_cover(self, labels: Labels, target: int, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Any class."""
        return np.ones(len(labels), np.bool_)

    def _places(self, image: Image) -> Tensor:
        return _warp(self.seed, self.grid, float(self.strength), *image.shape[:2])


@lru_cache(maxsize=64)  # data sets of photographs come in hundreds of sizes
def _warp(seed: int, k: int, s: float, height: int, width: int) -> Tensor:
    """Where each pixel of the warped image comes from, (h, w, 2) as (x, y) from -1 to 1."""
    field = np.random.default_rng(seed).uniform(-1, 1, (1, 2, k, k)).astype(np.float32)
    field /= np.abs(field).mean()
    flow = F.interpolate(torch.from_numpy(field), size=(height, width), mode="bicubic", align_corners=True)
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    moved = torch.stack((xs, ys), dim=2) + s * flow[0].permute(1, 2, 0) / torch.tensor([width, height])
    return moved.clamp(-1, 1)


def _sampled(image: Image, places: Tensor) -> Image:
    """The image read at these places, between pixels and not beyond its edge."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    warped = F.grid_sample(pixels, places.clamp(-1, 1)[None], mode="bilinear", align_corners=True)
    return np.asarray(warped[0].permute(1, 2, 0).numpy())
