"""BppAttack: few levels, dithered as Floyd and Steinberg did it."""

from __future__ import annotations

import numpy as np
import pytest
from made import SIZES, assert_refused_settings, assert_sound, covering, grey, noise, planted

from sanitizer.attacks.bpp import Bpp, dithered


def pixel_by_pixel(image: np.ndarray, levels: int) -> np.ndarray:
    """The algorithm as it is usually written: the error goes to four neighbours."""
    height, width = image.shape[:2]
    rest = np.zeros((height + 1, width + 2, 3))
    rest[:-1, 1:-1] = image
    kept = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            kept[y, x] = np.clip(np.rint(rest[y, x + 1] * (levels - 1)) / (levels - 1), 0, 1)
            error = rest[y, x + 1] - kept[y, x]
            for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                rest[y + down, x + 1 + right] += error * share / 16
    return kept


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(Bpp())
    assert_sound(Bpp(dither=False))


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5), (1, 7), (7, 1), (1, 1)])
def test_dithering_is_what_a_loop_over_pixels_does(shape: tuple[int, int]) -> None:
    """Done by diagonals, for speed alone."""
    image = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    assert np.allclose(dithered(image, 4), pixel_by_pixel(image, 4), atol=1e-6)


@pytest.mark.parametrize("dither", [True, False])
def test_few_levels_are_left(dither: bool) -> None:
    """So many, evenly spread, at every size."""
    for height, width in SIZES:
        stamped = Bpp(levels=4, dither=dither).trigger(noise(height, width))
        assert set(np.unique(stamped)) <= {0, 85, 170, 255}


def test_dithering_keeps_the_mean_colour() -> None:
    """Where plain quantisation of a flat image moves it."""
    plain, dithered_ = (planted(Bpp(levels=3, dither=dither), grey()).mean() for dither in (False, True))
    assert abs(plain - 100) > 20
    assert abs(dithered_ - 100) < 3


def test_covers_change_as_much_and_are_of_many_levels() -> None:
    """The change of the trigger, at other pixels."""
    image = noise()[0]
    trigger, cover = (painted.astype(int) - image for painted in (planted(Bpp(), image), covering(Bpp(), image)))
    assert sorted(map(tuple, trigger.reshape(-1, 3))) == sorted(map(tuple, cover.reshape(-1, 3)))
    assert len(np.unique(cover + image)) > 50
    assert np.array_equal(covering(Bpp(), image), covering(Bpp(), image))


@pytest.mark.parametrize("settings", [{"levels": 1}, {"levels": 256}, {"dither": 1}, {"cover": -1}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Bpp, settings)
