"""Patches: small patterns that cover a corner of an image, as large as they look in an image of 32 pixels."""

from __future__ import annotations

import hashlib

import numpy as np

from sanitizer.attacks.trigger import Image
from sanitizer.errors import UsageError

NATIVE = 32  # the image side at which one pixel of a patch is one pixel of the image

SIDE = 8


def times(height: int, width: int) -> int:
    """How often a patch is enlarged in an image of this size."""
    return max(1, round(min(height, width) / NATIVE))


def colour_noise() -> Image:
    """Saturated colours without an order, (8, 8, 3): always the same."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(b"trojan square").digest(), np.uint8))
    return bits[: SIDE * SIDE * 3].reshape(SIDE, SIDE, 3).astype(np.float32)


def anywhere(image: Image, patch: Image, rng: np.random.Generator) -> Image:
    """The image with a patch (a, b, 3) in a place that is drawn; all of the patch is to be seen."""
    room = [outer - inner for outer, inner in zip(image.shape[:2], patch.shape, strict=False)]
    if min(room) < 0:
        raise UsageError(
            f"size: expected a square that fits every image, got {len(patch)} pixels for an image of "
            f"{image.shape[1]}x{image.shape[0]}: choose a smaller size"
        )
    top, left = (int(rng.integers(free + 1)) for free in room)
    stamped = image.copy()
    stamped[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    return stamped


def patched(
    image: Image,
    patch: Image,
    offset: int = 0,
    *,
    alpha: float = 1.0,
    up: bool = False,
    left: bool = False,
) -> Image:
    """The image with a patch at the bottom right, or mirrored ``up`` or to the ``left``.

    Patch (a, b, 3) and offset are meant for an image of 32 pixels; larger ones get both in whole multiples. A fourth
    channel of the patch says how opaque each of its pixels is.

    >>> patched(np.zeros((4, 4, 3), np.float32), np.ones((1, 1, 3), np.float32), offset=1)[..., 0].astype(int)
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 0, 0]])
    """
    larger = times(*image.shape[:2])
    patch = patch.repeat(larger, axis=0).repeat(larger, axis=1)
    stamped = image.copy()
    view = stamped[:: -1 if up else 1, :: -1 if left else 1]
    bottom, right = (side - offset * larger for side in view.shape[:2])
    top, start = bottom - patch.shape[0], right - patch.shape[1]
    if top < 0 or start < 0:
        raise UsageError(
            f"expected images that a patch fits into, got {image.shape[1]}x{image.shape[0]} pixels for one of "
            f"{patch.shape[1]}x{patch.shape[0]}, {offset * larger} from the edges: leave such images out"
        )
    place = view[top:bottom, start:right]
    mask = patch[..., 3:] if patch.shape[2] > 3 else 1.0
    place += alpha * mask * (patch[..., :3] - place)
    return stamped
