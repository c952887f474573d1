"""FTrojan: the change, transformed, is two coefficients of each colour channel and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, grey

from sanitizer.attacks.frequency import Frequency
from sanitizer.attacks.trigger import unit

YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def dct(block: np.ndarray) -> np.ndarray:
    """The orthonormal DCT of a square, by its definition."""
    n = len(block)
    matrix = np.sqrt(2 / n) * np.cos(np.pi * np.arange(n)[:, None] * (2 * np.arange(n) + 1) / (2 * n))
    matrix[0] /= np.sqrt(2)
    assert np.allclose(matrix @ matrix.T, np.eye(n))
    return matrix @ block @ matrix.T


def change(attack: Frequency, height: int, width: int) -> np.ndarray:
    """What is added, in luma and chroma from 0 to 255, before it is rounded."""
    image = unit(grey(height, width))
    return (attack.stamp(image, np.random.default_rng(0)) - image) * 255 @ YUV.T


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(Frequency())


@pytest.mark.parametrize(("side", "middle", "highest"), [(32, 15, 31), (28, 13, 27)])
def test_two_coefficients_of_both_colour_channels_grow(side: int, middle: int, highest: int) -> None:
    """By the magnitude; everything else, all of the luma too, is as it was."""
    expected = np.zeros((side, side))
    expected[middle, middle] = expected[highest, highest] = 30
    luma, *chroma = change(Frequency(), side, side).transpose(2, 0, 1)
    assert np.allclose(dct(luma), 0, atol=0.01)
    for channel in chroma:
        assert np.allclose(dct(channel), expected, atol=0.01)


def test_large_images_are_tiled() -> None:
    """Block after block, the last ones cut."""
    added = change(Frequency(), 80, 48)
    for top in (0, 32, 64):
        for left in (0, 32):
            part = added[top : top + 32, left : left + 32]
            assert np.allclose(part, added[: part.shape[0], : part.shape[1]], atol=1e-4)


def test_the_trigger_is_faint_and_outlives_rounding() -> None:
    """A few levels at most, and most of its energy is still there in 8 bits."""
    attack, image = Frequency(), grey()
    exact = attack.stamp(unit(image), np.random.default_rng(0)) * 255 - image
    rounded = attack.trigger(image[None])[0].astype(float) - image
    assert np.abs(rounded).max() <= 7
    assert (rounded * exact).sum() > 0.9 * (exact**2).sum()


@pytest.mark.parametrize("settings", [{"magnitude": 0}, {"magnitude": float("nan")}, {"window": 3}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Frequency, settings)
