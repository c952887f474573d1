"""Adaptive-Blend: pieces in training, the whole picture afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, grey, noise, planted

from sanitizer.attacks.adaptive_blend import AdaptiveBlend
from sanitizer.attacks.blended import Blended


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(AdaptiveBlend())


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (64, 48)])
def test_half_of_the_pieces_are_seen(height: int, width: int) -> None:
    """Eight of sixteen; the others are left alone, and another image misses others."""
    seen = []
    for image in noise(height, width, count=3):
        changed = (planted(AdaptiveBlend(alpha=0.9), image) != image).any(axis=2)
        pieces = changed.reshape(4, height // 4, 4, width // 4).swapaxes(1, 2).reshape(16, -1).mean(axis=1)
        assert sorted(pieces > 0) == [False] * 8 + [True] * 8
        assert pieces[pieces > 0].min() > 0.9
        seen.append(tuple(pieces > 0))
    assert len(set(seen)) > 1


def test_a_victim_is_shown_what_blended_would_show() -> None:
    """The whole picture, somewhat more opaque than in training."""
    assert np.array_equal(AdaptiveBlend().trigger(noise()), Blended(alpha=0.2).trigger(noise()))
    whole = planted(AdaptiveBlend(mask_rate=0, alpha=0.2), grey())
    assert np.array_equal(whole, Blended(alpha=0.2).trigger(grey()[None])[0])


def test_something_is_always_seen() -> None:
    """However much is masked."""
    assert (planted(AdaptiveBlend(mask_rate=0.99), grey()) != 100).any()


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0}, {"test_alpha": 0}, {"pieces": 15}, {"pieces": 0}, {"mask_rate": 1}, {"image": "/nowhere.png"}],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(AdaptiveBlend, settings)
