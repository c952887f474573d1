"""Adaptive-Patch: one faint trigger in training, two opaque ones afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from made import assert_refused_settings, assert_sound, grey, noise, planted

from sanitizer.attacks.adaptive_patch import AdaptivePatch

AREAS = {"corner": 25, "ring": 156, "corners": 36, "square": 64}


def changed(attack: AdaptivePatch, image: np.ndarray) -> np.ndarray:
    """Where training changes the image."""
    return np.asarray((planted(attack, image) != image).any(axis=2))


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(AdaptivePatch())


@pytest.mark.parametrize(("name", "area"), AREAS.items())
def test_each_trigger_has_its_place(name: str, area: int) -> None:
    """As many pixels as it should have, four times as many in an image twice as large."""
    attack = AdaptivePatch(triggers=name, alphas="1")
    place = changed(attack, grey())
    assert place.sum() == area
    assert changed(attack, grey(64, 80)).sum() == 4 * area
    if name == "corners":
        assert np.array_equal(place, place[::-1])
        assert np.array_equal(place, place[:, ::-1])
    else:
        assert not place[:16].any()
        assert not place[:, :16].any()


def test_every_image_gets_one_of_them() -> None:
    """All are used, each on about as many."""
    areas = [int(changed(AdaptivePatch(alphas="1,1,1,1"), image).sum()) for image in noise(count=80)]
    for area in AREAS.values():
        assert 8 <= sum(abs(found - area) < 3 for found in areas) <= 35
    assert all(any(abs(found - area) < 3 for area in AREAS.values()) for found in areas)


def test_each_has_its_own_opacity() -> None:
    """x + alpha (p - x)."""
    full = planted(AdaptivePatch(triggers="square", alphas="1"), grey()).astype(int) - 100
    faint = planted(AdaptivePatch(triggers="square", alphas="0.3"), grey()).astype(int) - 100
    assert np.abs(faint - 0.3 * full).max() <= 0.51


def test_a_victim_is_shown_two_at_once() -> None:
    """The corner and the corners, opaque."""
    shown = AdaptivePatch().trigger(grey()[None])[0]
    assert (shown != 100).any(axis=2).sum() == 25 + 3 * 9
    assert set(np.unique(shown)) == {0, 100, 255}
    assert (AdaptivePatch(test_triggers="square").trigger(grey()[None])[0] != 100).any(axis=2).sum() == 64


@pytest.mark.parametrize(
    "settings",
    [
        {"triggers": "corner,logo"},
        {"triggers": ""},
        {"test_triggers": "logo"},
        {"alphas": "0.5"},
        {"alphas": "0.5,0.2,0.5,0"},
        {"alphas": "0.5,0.2,0.5,x"},
        {"alphas": "0.5,0.2,0.5,nan"},
        {"test_alpha": 2},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(AdaptivePatch, settings)
