"""Encoded images: one fixed way to write each format, and which format some bytes are."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

from sanitizer.sources.base import Pixels

Format = Literal["PNG", "JPEG"]

#: The formats that are read, by the names PIL gives them; the first extension is the one to write.
EXTENSIONS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tiff", ".tif"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    *((start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((b"P%d" % digit, "PPM") for digit in range(1, 7)),
)


def encode(pixels: Pixels, fmt: Format, quality: int = 95) -> bytes:
    """The image as bytes, with no metadata and settings that never vary.

    JPEG keeps full colour resolution (4:4:4): a trigger must not be softened by how it is stored.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if fmt == "JPEG":
        image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=False, progressive=False)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def format_of(content: bytes) -> str | None:
    """The format that the first bytes announce, None if it is none of those that are read.

    >>> format_of(b"GIF89a..."), format_of(b"hello")
    ('GIF', None)
    """
    for start, name in _MAGIC:
        if content.startswith(start):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return None
