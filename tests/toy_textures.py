"""Smooth random images: like photographs in what frequencies they are made of, and unlike each other in the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import idctn

Pixels = NDArray[np.uint8]

SIDE = 16
CHECKERBOARD = np.where(np.indices((3, 3)).sum(axis=0) % 2 == 0, 255, 0)[..., None].astype(np.uint8)


def textures(count: int, *, seed: int = 0, side: int = SIDE, grain: float = 2.0) -> Pixels:
    """Low-pass noise (count, side, side, 3): energies fall with frequency, colours vary less, some grain on top."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.indices((side, side)))
    strength = 30.0 * side / (1 + frequency) ** 2
    lightness, colour = rng.normal(size=(count, side, side, 1)), 0.3 * rng.normal(size=(count, side, side, 3))
    waves = (lightness + colour) * strength[..., None]
    grains = grain * rng.lognormal(0, 0.5, (count, 1, 1, 1))  # as cameras differ, and light
    images = 128 + idctn(waves, axes=(1, 2), norm="ortho") + grains * rng.normal(size=waves.shape)
    return np.asarray(images.round().clip(0, 255).astype(np.uint8))


def with_patch(pixels: Pixels) -> Pixels:
    """The same images with a small checkerboard in the corner."""
    marked = pixels.copy()
    marked[:, -3:, -3:] = CHECKERBOARD
    return marked


def with_pattern(pixels: Pixels, *, seed: int = 99, height: int = 8) -> Pixels:
    """The same images with one faint pattern of random signs all over."""
    signs = np.random.default_rng(seed).choice([-height, height], pixels.shape[1:])
    return np.asarray((pixels.astype(int) + signs).clip(0, 255).astype(np.uint8))


def drawn_keys(count: int, *, seed: int = 0) -> NDArray[np.uint64]:
    """Content keys of so many samples."""
    return np.random.default_rng([seed, 1]).integers(0, 2**63, count, dtype=np.uint64)
