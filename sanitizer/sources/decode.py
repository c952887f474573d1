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
_SCAN = b"\xff\xda"
# What is larger is decoded apart, and searched without arrays as large as itself.
_SEARCHED_AT_ONCE = 2**20
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
    enough: int | None = (
        None  # pixels of the shorter side: a JPEG of twice as many is decoded at a fraction of its size
    )


#: What an image may cost unless somebody says otherwise.
LIMITS = Limits()


def view_of(enough: int | None) -> str:
    """What is done to an image under limits with so much detail, in words that manifests record."""
    if enough is None:
        return VIEW
    return f"{VIEW}, JPEGs decoded at the least of 1/8, 1/4, 1/2 that leaves {enough} pixels"


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
    if name == "JPEG" and scans_in(content) > _MAX_JPEG_SCANS:
        raise Refused(f"more than {_MAX_JPEG_SCANS} JPEG scans")
    try:
        with _quiet(), Image.open(io.BytesIO(content), formats=(name,)) as image:
            _expect_few_pixels(image, limits)
            if name == "JPEG" and limits.enough is not None:
                _shrink(image, limits.enough)
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
    _expect_few_pixels(image, limits)
    image.load()
    turned = _upright(image)
    if turned.mode == "F":
        raise Unreadable("floating-point pixels")
    if turned.mode.startswith("I"):
        turned = _eight_bits(turned)
    return np.array(turned if turned.mode == "RGB" else turned.convert("RGB"))


def scans_in(content: bytes) -> int:
    """How many JPEG scans may begin in it: ``content.count``, ten times as fast."""
    if not 4 <= len(content) <= _SEARCHED_AT_ONCE:
        return content.count(_SCAN)
    pairs = (np.frombuffer(content, "<u2", (len(content) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(some == int.from_bytes(_SCAN, "little"))) for some in pairs)


def _expect_few_pixels(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise Refused(f"more than {limits.max_pixels} pixels")


def _shrink(image: Image.Image, enough: int) -> None:
    """Have a JPEG that is not decoded yet decoded at a fraction of its size, both sides at least ``enough``."""
    if min(image.size) >= 2 * enough:
        image.draft("RGB", (enough, enough))


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
