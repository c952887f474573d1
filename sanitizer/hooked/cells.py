"""What an image column holds in one row, as the digest of its pixels: stored bytes, a path, or a decoded image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels, digest_of, view_digest_of
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode, rgb_of
from sanitizer.sources.walk import read_regular


def view_digest_of_cell(cell: Any, known: Callable[[str], str | None]) -> str | None:
    """The view digest of the image in a row, None where there is no readable one.

    ``known`` tells the view digest of stored bytes that need not be decoded, by their digest.
    """
    if _is_stored(cell):
        content = _stored(cell)
        if content is not None and (view := known(digest_of(content))):
            return view
    pixels = pixels_of_cell(cell)
    return None if pixels is None else view_digest_of(pixels)


def pixels_of_cell(cell: Any) -> Pixels | None:
    """The image in a row as a scan sees it, None where there is no readable one."""
    try:
        if _is_stored(cell):
            content = _stored(cell)
            return None if content is None else decode(content, LIMITS)
        if hasattr(cell, "convert"):  # decoded by PIL; where the library decoded it, it is upright already
            return rgb_of(cell, LIMITS)
        return _from_array(cell)
    except (Unreadable, Refused):
        return None


def _is_stored(cell: Any) -> bool:
    return cell is None or isinstance(cell, Mapping | bytes | bytearray)


def _stored(cell: Any) -> bytes | None:
    """The bytes of an encoded image; local paths are the user's, and followed, as at fit."""
    if not isinstance(cell, Mapping):
        return None if cell is None else bytes(cell)
    content, path = cell.get("bytes"), cell.get("path")
    if content is not None:
        return bytes(content)
    if not isinstance(path, str) or "\0" in path:
        return None
    return read_regular(os.path.realpath(path), LIMITS.max_bytes)[0]


def _from_array(cell: Any) -> Pixels:
    """An image as the formats numpy and torch give it; which colours a palette or CMYK stood for is lost there."""
    pixels = np.asarray(cell)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        came = f"{type(cell).__name__} of {pixels.dtype}, {pixels.ndim} dimensions"
        raise UsageError(f"expected images as they are stored, or decoded to 8 bits, got {came}: map before transforms")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif type(cell).__module__.partition(".")[0] == "torch":
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., [0, 0, 0]]
