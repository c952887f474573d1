"""WaNet: one smooth warp for all, and noise besides for those that keep their label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import SIZES, assert_refused_settings, assert_sound, books, covering, grey, noise, planted, source_of

from sanitizer.attacks.wanet import WaNet, _warp


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(WaNet())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_things_move_by_a_quarter_of_a_pixel(height: int, width: int) -> None:
    """About, along both axes; twice as far at twice the strength, and never out of the image."""
    still, once, twice = (
        _warp(0, 4, strength, height, width).numpy() * np.array([width - 1, height - 1]) / 2
        for strength in (1e-9, 0.5, 1)
    )
    assert 0.15 < np.abs(once - still).mean() < 0.35
    inside = slice(2, -2), slice(2, -2)
    assert np.allclose((twice - still)[inside], 2 * (once - still)[inside], atol=1e-3)
    assert np.abs(_warp(0, 4, 50.0, height, width).numpy()).max() <= 1


def test_a_warp_of_no_strength_changes_nothing() -> None:
    """Every pixel is where it was, at every size."""
    for height, width in SIZES:
        images = noise(height, width)
        assert np.array_equal(WaNet(strength=1e-6).trigger(images), images)


def test_a_flat_image_stays_flat() -> None:
    """Nothing is added: pixels only move, and nothing comes in from outside."""
    assert (WaNet(strength=5).trigger(grey()[None]) == 100).all()


def test_the_change_is_small_on_a_smooth_image() -> None:
    """A ramp of four levels a pixel moves by a level or two on average."""
    ramp = np.repeat((np.arange(32, dtype=np.uint8) * 4)[None, :, None], 32, 0).repeat(3, 2)
    assert 0 < np.abs(planted(WaNet(), ramp).astype(int) - ramp).mean() < 3


def test_the_warp_follows_from_the_seed() -> None:
    """And is the same for every image."""
    image = noise()[0]
    assert np.array_equal(planted(WaNet(), image), planted(WaNet(rate=0.2), image))
    assert not np.array_equal(planted(WaNet(), image), planted(WaNet(seed=1), image))


def test_covers_are_warped_by_noise_of_their_own(tmp_path: Path) -> None:
    """Any class, twice as many as poisons, each shaken in its own way."""
    poisoned = WaNet(cover=0.5).poison(source_of(tmp_path / "source"), tmp_path / "out")
    covers = books(poisoned, "cover")
    assert poisoned.recipe["counts"] == {"samples": 40, "clean": 16, "poison": 4, "cover": 20, "left_out": 0}
    assert all(row["label"] == row["original_label"] for row in covers)
    assert "ant" in {row["label"] for row in covers}
    image = noise()[0]
    assert not np.array_equal(covering(WaNet(), image), planted(WaNet(), image))
    assert np.array_equal(covering(WaNet(), image), covering(WaNet(), image))


@pytest.mark.parametrize(
    "settings", [{"grid": 1}, {"grid": 2.5}, {"strength": 0}, {"strength": float("inf")}, {"cover": 2}], ids=str
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(WaNet, settings)
