"""Strong augmentation as a defence: what was optimised to the last bit does not survive being mixed or cut.

Cheap, and to be tried first. Every transform takes a batch and its labels and gives both back; labels come back as
shares of classes where images were mixed, for ``soft_cross_entropy``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sanitizer.errors import UsageError
from sanitizer.sources.decode import LIMITS, decode
from sanitizer.sources.encode import encode
from sanitizer.training.draws import Seeded
from sanitizer.training.scale import Channels, batch_of, images_of


@dataclass(frozen=True, kw_only=True)
class BatchTransform(Seeded, ABC):
    """A batch (b, c, h, w) with its labels -> another one; the given one is left as it is."""

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch to train on in place of this one."""


@dataclass(frozen=True, kw_only=True)
class Mixing(BatchTransform):
    """The family of those that mix every image with another one of the batch, and their labels alike.

    Args:
        classes: How many there are.
        alpha: Shares come from Beta(alpha, alpha): evenly spread at 1, mostly small and large ones below.
    """

    classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not (self.classes >= 1 and self.alpha > 0):
            raise UsageError(
                f"expected at least one class and an alpha above 0, got classes={self.classes}, alpha={self.alpha}"
            )

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The mixed images, and shares of classes (b, classes)."""
        partners = torch.from_numpy(self.draws.permutation(len(x))).to(x.device)
        mixed, kept = self.mix(x, x[partners], float(self.draws.beta(self.alpha, self.alpha)))
        labels = soft(y, self.classes)
        return mixed, kept * labels + (1 - kept) * labels[partners]

    @abstractmethod
    def mix(self, x: Tensor, others: Tensor, kept: float) -> tuple[Tensor, float]:
        """The images with about a share of ``kept`` of their own, and what that share came to."""


@dataclass(frozen=True, kw_only=True)
class Mixup(Mixing):
    """Every image is blended with another one (Zhang et al. 2018, arXiv:1710.09412)."""

    def mix(self, x: Tensor, others: Tensor, kept: float) -> tuple[Tensor, float]:
        """By weights."""
        return kept * x + (1 - kept) * others, kept


@dataclass(frozen=True, kw_only=True)
class CutMix(Mixing):
    """A box of every image shows another one (Yun et al. 2019, arXiv:1905.04899)."""

    def mix(self, x: Tensor, others: Tensor, kept: float) -> tuple[Tensor, float]:
        """By pixels: the box may stick out of the image, and what is left of it counts."""
        height, width = x.shape[2:]
        side = (1 - kept) ** 0.5
        rows, columns = (_stretch(length, side * length, self.draws) for length in (height, width))
        mixed = x.clone()
        mixed[:, :, rows, columns] = others[:, :, rows, columns]
        covered = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, 1 - covered / (height * width)


@dataclass(frozen=True, kw_only=True)
class Cutout(BatchTransform):
    """A square of every image is blanked (DeVries and Taylor 2017, arXiv:1708.04552).

    Args:
        side: Of the square, as a share of the image's; it may stick out.
        fill: What is put there; 0 is the mean colour of a normalised batch.
    """

    side: float = 0.5
    fill: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.side <= 1:
            raise UsageError(f"side: expected a share above 0, at most 1, got {self.side}")

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The labels stay."""
        cut = x.clone()
        for image in cut:
            rows, columns = (_stretch(length, self.side * length, self.draws) for length in x.shape[2:])
            image[:, rows, columns] = self.fill
        return cut, y


@dataclass(frozen=True, kw_only=True)
class Jpeg(BatchTransform):
    """Every image goes through JPEG, by the encoder of ``sanitizer purify``; nothing is drawn.

    Args:
        quality: 1 (coarse) to 100 (fine), as libjpeg counts.
        mean: As the batches are normalised, per channel or one for all.
        std: Likewise.
    """

    quality: int = 75
    mean: Channels = 0.0
    std: Channels = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality: expected 1 to 100, got {self.quality}: try 75")

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The labels stay."""
        images = images_of(x, self.mean, self.std)
        if images.shape[1] != 3:
            raise UsageError(f"expected images in three colours, got {images.shape[1]} channels: convert them")
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        seen = [decode(encode(image, "JPEG", self.quality), LIMITS) for image in pixels]
        made = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).to(x.device).float() / 255 if seen else images
        return batch_of(made, x, self.mean, self.std), y


def soft(labels: Tensor, classes: int) -> Tensor:
    """Labels (b,) as shares of classes (b, classes); shares are left as they are.

    >>> soft(torch.tensor([1, 0]), 2)
    tensor([[0., 1.],
            [1., 0.]])
    """
    return labels if labels.ndim == 2 else F.one_hot(labels, classes).float()


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy under labels (b,) or shares of classes (b, classes), in full precision under autocast too.

    >>> float(soft_cross_entropy(torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 0.0, 0.0]])).exp().round())
    4.0
    """
    return F.cross_entropy(logits.float(), labels.float() if labels.ndim == 2 else labels)


def _stretch(length: int, size: float, draws: np.random.Generator) -> slice:
    """So much of a side around a place that is drawn, as far as it lies within."""
    centre, half = int(draws.integers(length)), size / 2
    return slice(max(0, round(centre - half)), min(length, round(centre + half)))
