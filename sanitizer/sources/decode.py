"""Bounded decoding: the only place where PIL meets bytes that nobody vouches for."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (registers the two that PIL loads late)

from sanitizer.sources.base import Pixels
from sanitizer.sources.encode import EXTENSIONS, format_of

FORMATS = tuple(EXTENSIONS)

#: What ``decode`` and ``fit`` do to an image, in words that manifests record.
VIEW = "RGB8, EXIF orientation applied, squashed bilinear"

# More scans than any encoder writes: each one costs a pass over the whole image (libjpeg's own fuzzers stop here too).
_MAX_JPEG_SCANS = 500
_ORIENTATION = 0x0112
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one image may cost."""

    max_bytes: int = 256 * 2**20
    max_pixels: int = 64_000_000


#: What an image may cost unless somebody says otherwise.
LIMITS = Limits()


class Unreadable(Exception):
    """The bytes cannot be decoded; the reason holds nothing from the file."""


class Refused(Exception):
    """The bytes cost more than an image may."""


def decode(content: bytes, limits: Limits) -> Pixels:
    """The image as 8-bit RGB; raises Unreadable or Refused and nothing else."""
    if len(content) > limits.max_bytes:
        raise Refused(f"larger than {limits.max_bytes} bytes")
    name = format_of(content)
    if name is None:
        if content.startswith(_LFS_POINTER):
            raise Unreadable("a Git LFS pointer in place of the file: run `git lfs pull`")
        raise Unreadable(f"not one of {', '.join(FORMATS)}")
    if name == "JPEG" and content.count(b"\xff\xda") > _MAX_JPEG_SCANS:
        raise Refused(f"more than {_MAX_JPEG_SCANS} JPEG scans")
    try:
        with _quiet(), Image.open(io.BytesIO(content), formats=(name,)) as image:
            return rgb_of(image, limits)
    except (Unreadable, Refused):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(f"more than {limits.max_pixels} pixels") from None
    except MemoryError:
        raise Refused("does not fit into memory") from None
    except Exception as error:  # PIL's plugins raise whatever their parsing trips over; all of it means one thing
        if "out of memory" in str(error):  # as PIL says it without a MemoryError
            raise Refused("does not fit into memory") from None
        raise Unreadable(f"{'truncated' if 'truncated' in str(error) else 'broken'} {name} data") from None


def fit(pixels: Pixels, size: int) -> Pixels:
    """The image as a square, squashed with antialiasing; itself if it is that already."""
    if pixels.shape == (size, size, 3):
        return pixels
    return np.array(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def rgb_of(image: Image.Image, limits: Limits) -> Pixels:
    """The colours of an image, upright: what a scan looks at, whoever opened it."""
    if image.width * image.height > limits.max_pixels:
        raise Refused(f"more than {limits.max_pixels} pixels")
    image.load()
    turned = _upright(image)
    if turned.mode == "F":
        raise Unreadable("floating-point pixels")
    if turned.mode.startswith("I"):
        turned = _eight_bits(turned)
    return np.array(turned if turned.mode == "RGB" else turned.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says; broken EXIF turns nothing and hides nothing."""
    marked = image.format == "TIFF" or any("exif" in str(key) or "xmp" in str(key) for key in image.info)
    if not marked:
        return image
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are fine, and a training loop that reads no EXIF would use them as they are
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey, its upper byte kept; PIL's own conversion would clip everything above 255 to white."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise Unreadable("32-bit pixels")
    return Image.fromarray((values >> 8).astype(np.uint8))


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PIL's warnings from the caller, except the bomb warning, which becomes an error.

    Warning filters belong to the whole process: the first thread in sets them, the last one out restores them.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
