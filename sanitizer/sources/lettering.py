"""Words as pixels, in the one font that PIL brings along; it lives here because no other room may meet PIL."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sanitizer.sources.base import Pixels

Colour = tuple[int, int, int]

_DOTS = "..."


def lettered(text: str, size: int, most: int, *, ink: Colour, paper: Colour) -> Pixels:
    """One line of text, as wide as it is and as high as every line of that size.

    Args:
        text: What the font has no letter for is written as an escape.
        size: Pixels from one line to the next, about.
        most: Pixels that it may be wide: the middle of a longer text gives way to dots.
        ink: The colour of the letters.
        paper: The colour around them.
    """
    font = _font(size)
    shown = _fitted(_ascii(text), font, most)
    height = sum(font.getmetrics())
    image = Image.new("RGB", (max(1, math.ceil(font.getlength(shown))), height), paper)
    ImageDraw.Draw(image).text((0, 0), shown, fill=ink, font=font)
    return np.array(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # PIL gives its bitmap font only where no size is asked for
    return font


def _ascii(text: str) -> str:
    """All that the font can draw.

    >>> _ascii("né\\n")
    'n\\\\xe9\\\\n'
    """
    return "".join(letter if letter.isascii() and letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _fitted(text: str, font: ImageFont.FreeTypeFont, most: int) -> str:
    """Start and end of a text that is too wide."""
    whole = font.getlength(text)
    if whole <= most:
        return text
    for kept in range(min(len(text), int(len(text) * most / whole)), 0, -1):
        tail = kept // 3
        short = text[: kept - tail] + _DOTS + text[len(text) - tail :]
        if font.getlength(short) <= most:
            return short
    return ""
