"""Trojan square: in its place at every size, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, grey, png

from sanitizer.attacks.patch import colour_noise
from sanitizer.attacks.trojan import Trojan
from sanitizer.errors import UsageError


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(Trojan())


def test_the_square_is_fixed_and_colourful() -> None:
    """Whatever the seed: many of the eight saturated colours."""
    assert set(np.unique(colour_noise())) == {0, 1}
    assert len(np.unique(colour_noise().reshape(-1, 3), axis=0)) >= 6
    first, second = (Trojan(seed=seed).trigger(grey()[None]) for seed in (0, 1))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (32, 32, slice(21, 29), slice(21, 29)),
        (28, 28, slice(17, 25), slice(17, 25)),
        (64, 80, slice(42, 58), slice(58, 74)),
    ],
)
def test_the_square_lies_three_pixels_from_the_edges(height: int, width: int, rows: slice, columns: slice) -> None:
    """Rows and columns 21 to 28 of 32; square and distance grow with the image."""
    image = np.full((height, width, 3), 100, np.uint8)
    stamped = Trojan().trigger(image[None])[0]
    times = (rows.stop - rows.start) // 8
    assert np.array_equal(stamped[rows, columns][::times, ::times], 255 * colour_noise().astype(np.uint8))
    stamped[rows, columns] = 100
    assert np.array_equal(stamped, image)


def test_a_pattern_can_come_from_a_file(tmp_path: Path) -> None:
    """Squeezed into the square; its identity is in the recipe."""
    (tmp_path / "p.png").write_bytes(png(np.full((100, 40, 3), 250, np.uint8)))
    attack = Trojan(pattern=str(tmp_path / "p.png"), size=4, offset=0)
    stamped = attack.trigger(grey()[None])[0]
    assert (stamped[28:, 28:] == 250).all()
    assert (stamped != 100).sum() == 4 * 4 * 3
    assert attack.notes()["pattern_view_digest"]
    assert Trojan().notes() == {}


def test_an_image_that_is_too_small_is_refused() -> None:
    """With its size and the patch's."""
    with pytest.raises(UsageError, match="got 10x12 pixels for one of 8x8, 3 from the edges"):
        Trojan().trigger(np.zeros((1, 12, 10, 3), np.uint8))


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"size": 2.5}, {"offset": -1}, {"pattern": "/nowhere.png"}, {"pattern": ""}], ids=str
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Trojan, settings)
