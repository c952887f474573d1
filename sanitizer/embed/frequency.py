"""What an image is made of, whatever it shows: how strong each frequency is, where, and how its noise is distributed.

A trigger that is invisible as a thing (a warp, dithering, a pattern of noise) changes these, and a network that
looks for content does not look there. Logarithms, because energies vary by orders of magnitude between images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.embed.cosines import COLOURS, cosines, typical_rows, usual_size

#: Bands of frequencies, and places, a side.
BANDS = 8
#: Grey levels: how many of an image's pixels are noisier than each tells dense noise from sparse.
LEVELS = (1, 2, 4, 8, 16, 32, 64)
#: No coefficient counts for more than so many of its usual sizes, where energy is located.
CLIPPED = 5.0

_CHUNK = 1024


def frequency(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], keys: NDArray[np.uint64], device: torch.device
) -> NDArray[np.float16]:
    """Log energies of frequency bands, log energies by place, and amounts of four kinds of noise, (n, 468)."""
    del labels  # what an image is made of is the same under any label
    transform = _Transform(pixels, keys, device)
    rows = np.arange(len(pixels))
    parts = [transform.describe(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)]
    return np.concatenate(parts)


class _Transform:
    """Images in units of how large each cosine coefficient is in a typical image."""

    def __init__(self, pixels: NDArray[np.uint8], keys: NDArray[np.uint64], device: torch.device) -> None:
        self._pixels, self._device = pixels, device
        self._cosines, self._colours = cosines(pixels.shape[1]).to(device), COLOURS.to(device)
        rows = typical_rows(keys)
        parts = [self._coefficients(self._channels(rows[i : i + _CHUNK])) for i in range(0, len(rows), _CHUNK)]
        self._size = usual_size(torch.cat(parts))

    def describe(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        channels = self._channels(rows)
        white = self._coefficients(channels) / self._size
        there = self._cosines.T @ white.clamp(-CLIPPED, CLIPPED) @ self._cosines
        parts = [*_noise(channels), _energies(white), _energies(there)]
        return np.asarray(torch.cat(parts, dim=1).half().cpu().numpy())

    def _channels(self, rows: NDArray[np.int64]) -> Tensor:
        images = torch.from_numpy(self._pixels[rows]).to(self._device).float()
        return torch.einsum("bhwc,dc->bdhw", images, self._colours)

    def _coefficients(self, channels: Tensor) -> Tensor:
        return self._cosines @ channels @ self._cosines.T


def _energies(planes: Tensor) -> Tensor:
    """Log mean squares of BANDS x BANDS cells of each plane, (b, 3 * BANDS * BANDS)."""
    cells = torch.nn.functional.adaptive_avg_pool2d(planes.square(), BANDS)
    return (cells.flatten(1) + 1e-3).log()


def _noise(channels: Tensor) -> list[Tensor]:
    """Log shares of pixels that their neighbours do not explain: across, down, both, and around corners."""
    across = channels[..., :-2] - 2 * channels[..., 1:-1] + channels[..., 2:]
    down = channels[..., :-2, :] - 2 * channels[..., 1:-1, :] + channels[..., 2:, :]
    both = across[..., :-2, :] - 2 * across[..., 1:-1, :] + across[..., 2:, :]
    corner = channels[..., :-1, :-1] - channels[..., 1:, :-1] - channels[..., :-1, 1:] + channels[..., 1:, 1:]
    kinds = [noise.abs().flatten(2) for noise in (across, down, both, corner)]
    return [((noise > level).float().mean(dim=2) + 1 / noise.shape[2]).log() for noise in kinds for level in LEVELS]
