"""Adaptive-k-way: some of the squares in training, all of them afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, grey, noise, planted

from sanitizer.attacks.adaptive_kway import AdaptiveKWay


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(AdaptiveKWay())


@pytest.mark.parametrize(("k", "half"), [(7, 4), (4, 2), (1, 1)])
def test_half_of_the_squares_rounded_up_are_planted_and_all_are_shown(k: int, half: int) -> None:
    """Two by two opaque pixels each, in places of their own."""
    attack = AdaptiveKWay(k=k)
    assert (planted(attack, grey()) != 100).all(axis=2).sum() == 4 * half
    shown = attack.trigger(grey()[None])[0]
    assert (shown != 100).all(axis=2).sum() == 4 * k
    assert set(np.unique(shown)) <= {0, 100, 255}


def test_what_is_planted_is_part_of_what_is_shown() -> None:
    """And which part differs from image to image."""
    shown = AdaptiveKWay().trigger(grey()[None])[0]
    parts = set()
    for image in noise(count=4):
        stamped = planted(AdaptiveKWay(), image)
        place = (stamped != image).any(axis=2)
        assert np.array_equal(stamped[place], shown[place])
        parts.add(place.tobytes())
    assert len(parts) > 1


def test_squares_grow_with_the_image_and_follow_from_the_seed() -> None:
    """Twice the side, twice the square, at the same places; another seed, other places."""
    small, large = (AdaptiveKWay().trigger(grey(side, side)[None])[0] for side in (32, 64))
    assert np.array_equal(large, small.repeat(2, axis=0).repeat(2, axis=1))
    assert not np.array_equal(small, AdaptiveKWay(seed=1).trigger(grey()[None])[0])


def test_the_recipe_says_where_they_are() -> None:
    """Seven cells, no two alike."""
    squares = AdaptiveKWay().notes()["squares"]
    assert len({(square["row"], square["column"]) for square in squares}) == 7


@pytest.mark.parametrize("settings", [{"k": 0}, {"k": 65}, {"size": 0}, {"size": 5}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(AdaptiveKWay, settings)
