"""Blended: one faint picture over every image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanitizer.attacks.blended import Blended
from sanitizer.errors import UsageError

BLACK = np.zeros((2, 32, 32, 3), np.uint8)


def test_every_image_gets_the_same_faint_noise() -> None:
    """A fifth of T, over the whole image."""
    stamped = Blended(rate=0.1).trigger(BLACK)
    assert np.array_equal(stamped[0], stamped[1])
    assert 45 <= stamped.max() <= 51
    assert (stamped > 0).mean() > 0.95


def test_the_formula_holds() -> None:
    """(1 - alpha) x + alpha T, rounded to 8 bits: black and white differ by 1 - alpha."""
    attack = Blended(rate=0.1, alpha=0.4)
    difference = attack.trigger(BLACK + np.uint8(255)).astype(int) - attack.trigger(BLACK)
    assert (np.abs(difference - 0.6 * 255) <= 1).all()


def test_noise_follows_from_the_seed() -> None:
    """Another seed, another trigger."""
    assert np.array_equal(Blended(rate=0.1).trigger(BLACK), Blended(rate=0.2).trigger(BLACK))
    assert not np.array_equal(Blended(rate=0.1).trigger(BLACK), Blended(rate=0.1, seed=1).trigger(BLACK))


def test_larger_images_get_the_same_noise_in_larger_squares() -> None:
    """So that a trigger survives the resize of a training pipeline."""
    attack = Blended(rate=0.1)
    large = attack.trigger(np.zeros((1, 64, 96, 3), np.uint8))[0]
    assert np.array_equal(large[::2, ::3], attack.trigger(BLACK)[0])


def test_the_picture_can_come_from_a_file(tmp_path: Path) -> None:
    """Stretched to the image; its identity is in the recipe."""
    pixels = np.zeros((2, 1, 3), np.uint8)
    pixels[1] = 250
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    (tmp_path / "t.png").write_bytes(buffer.getvalue())
    attack = Blended(rate=0.1, image=str(tmp_path / "t.png"))
    stamped = attack.trigger(BLACK)
    assert (stamped[:, :16] == 0).all()
    assert (stamped[:, 16:] == 50).all()
    assert attack.notes()["image_view_digest"]
    assert Blended(rate=0.1).notes() == {}


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": 1.5}, {"alpha": "x"}, {"image": "/nowhere.png"}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """With the name of the setting, what it should be, and what it was."""
    with pytest.raises(UsageError, match=r": expected .*, got "):
        Blended(rate=0.1, **settings)
