"""How the numbers of a batch are scaled: from what a loader normalised to images between 0 and 1, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sanitizer.errors import UsageError

#: One number for every channel, or one each, as ``Normalize`` takes them.
Channels = float | Sequence[float]

_SLACK = 0.01  # what rounding to 16 bits moves a pixel that lies on the edge


def per_channel(values: Channels, device: torch.device) -> Tensor:
    """As (1, c, 1, 1), to be taken with a batch of images."""
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(1, -1, 1, 1)


def images_of(batch: Tensor, mean: Channels, std: Channels) -> Tensor:
    """The images (b, c, h, w) between 0 and 1 that ``(images - mean) / std`` made the batch from."""
    if batch.ndim != 4 or not batch.is_floating_point():
        raise UsageError(
            f"expected a batch of images as floating point numbers (b, c, h, w), got {batch.dtype} of shape "
            f"{tuple(batch.shape)}: convert it before"
        )
    images = batch.detach().float() * per_channel(std, batch.device) + per_channel(mean, batch.device)
    low, high = (float(edge) for edge in torch.aminmax(images)) if len(images) else (0.0, 0.0)
    if low < -_SLACK or high > 1 + _SLACK:
        raise UsageError(
            f"expected pixels from 0 to 1 once mean={mean} and std={std} are taken back, got {low:.2f} to {high:.2f}: "
            "give the mean and std that the batch was normalised with"
        )
    return images.clamp(0, 1)


def batch_of(images: Tensor, like: Tensor, mean: Channels, std: Channels) -> Tensor:
    """Such images scaled, typed and laid out in memory as a batch is."""
    scaled = (images - per_channel(mean, images.device)) / per_channel(std, images.device)
    return torch.empty_like(like, requires_grad=False).copy_(scaled)
