"""Words as pixels: whatever they say, they fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.sources.base import Pixels
from sanitizer.sources.lettering import lettered

INK, PAPER = (0, 0, 0), (255, 255, 255)


def drawn(text: str, size: int = 13, most: int = 10_000) -> Pixels:
    """Black on white."""
    return lettered(text, size, most, ink=INK, paper=PAPER)


@given(st.text(max_size=60), st.integers(0, 300))
def test_no_text_is_wider_than_it_may_be(text: str, most: int) -> None:
    """Nor of another height than every line of that size: lines can be laid out before they are drawn."""
    picture = drawn(text, most=most)
    assert picture.shape[1] <= max(1, most + 1)
    assert picture.shape[0] == drawn("x").shape[0]
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)


def test_letters_are_ink_on_paper() -> None:
    """In the colours that were asked for, and nothing but paper where nothing is said."""
    picture = lettered("word", 20, 500, ink=(200, 0, 0), paper=(255, 255, 0))
    assert (picture.reshape(-1, 3).min(axis=0) == (200, 0, 0)).all()
    assert (picture[..., 2] == 0).all()
    assert (drawn(" ") == 255).all()


def test_a_long_text_keeps_its_start_and_its_end() -> None:
    """What is left out is in the middle, and dots stand for it."""
    name = "a" + "m" * 200 + "z.png"
    short, width = drawn(name, most=120), drawn("a").shape[1] - 1
    np.testing.assert_array_equal(short[:, :width], drawn(name)[:, :width])
    assert 100 < short.shape[1] <= 121


@pytest.mark.parametrize(
    ("text", "escaped"), [("né", "n\\xe9"), ("中", "\\u4e2d"), ("a\nb", "a\\nb"), ("\u202ex", "\\u202ex")]
)
def test_what_the_font_does_not_know_is_spelled_out(text: str, escaped: str) -> None:
    """Boxes would tell nothing, and controls could hide something."""
    np.testing.assert_array_equal(drawn(text), drawn(escaped))
