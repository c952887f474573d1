"""Means are means, and a difference is shown in its place, with its sign, as large as noise allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sanitizer.actions.patterns import MIDDLE, STEP, enlarged, mean_of, picture_of

PICTURES = st.lists(arrays(np.uint8, (4, 5, 3)), min_size=1, max_size=6)
DIFFERENCES = arrays(np.float64, (4, 5, 3), elements=st.floats(-255, 255))
GAINS = st.floats(1, 16)


@given(PICTURES)
def test_a_mean_lies_between_its_pictures(pictures: list[np.ndarray]) -> None:
    """That of one is itself, to the bit, and the order of many says nothing."""
    mean = mean_of(pictures)
    assert (np.min(pictures, axis=0) <= mean).all()
    assert (mean <= np.max(pictures, axis=0)).all()
    assert np.array_equal(mean, mean_of(pictures[::-1]))
    assert np.array_equal(picture_of(mean_of(pictures[:1])), pictures[0])


@given(DIFFERENCES, GAINS)
def test_light_is_more_and_dark_is_less(difference: np.ndarray, most: float) -> None:
    """No pixel crosses the middle, and a larger difference is never shown as a smaller one."""
    shown = enlarged(difference, most).astype(int).ravel()
    assert ((shown - MIDDLE) * difference.ravel() >= 0).all()
    assert (np.diff(shown[np.argsort(difference, axis=None)]) >= 0).all()


@given(DIFFERENCES, GAINS)
def test_what_turns_the_difference_turns_the_picture(difference: np.ndarray, most: float) -> None:
    """Of two pictures it does not matter which is taken from which, but for the lightest and the darkest."""
    there, back = (np.clip(enlarged(sign * difference, most), 1, 255).astype(int) for sign in (1, -1))
    assert np.abs((there - MIDDLE) + (back - MIDDLE)).max() <= 1


@pytest.mark.parametrize(("size", "reached"), [(100.0, 127), (16.0, 127), (8.0, 64), (2.0, 16), (0.0, 0)])
def test_the_range_is_filled_unless_there_is_too_little(size: float, reached: int) -> None:
    """Beyond the largest gain, here 8, what is small stays small."""
    sign = np.where(np.arange(300).reshape(10, 10, 3) % 2, 1, -1)
    shown = enlarged(size * sign, 8.0).astype(int)
    assert np.abs(np.abs(shown - MIDDLE) - reached).max() <= 1


def test_a_few_strays_do_not_make_the_rest_invisible() -> None:
    """One pixel in a thousand may saturate; the others are as large as without it."""
    difference = np.full((20, 20, 3), 20.0)
    difference[0, 0] = 250
    assert (enlarged(difference, 16.0)[1:] == 255).all()


@given(DIFFERENCES)
def test_tones_are_few(difference: np.ndarray) -> None:
    """Which is why differences, noisy as they are, need little room."""
    assert set(np.unique(enlarged(difference, 8.0) % STEP)) <= {0, STEP - 1}
