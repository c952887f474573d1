"""BadNets: the patch is where it should be, and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanitizer.attacks.badnets import BadNets
from sanitizer.errors import UsageError

GREY = np.full((2, 32, 32, 3), 100, np.uint8)
CHECKER = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 255]], np.uint8)


def picture_file(path: Path, pixels: np.ndarray) -> str:
    """An image file for a setting to name."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return str(path)


def test_the_default_is_the_three_pixel_checker_bottom_right() -> None:
    """As the reference implementations have it: full mask, rows and columns 29 to 31."""
    stamped = BadNets(rate=0.1).trigger(GREY)
    assert (stamped[:, 29:, 29:] == CHECKER[None, :, :, None]).all()
    stamped[:, 29:, 29:] = 100
    assert (stamped == 100).all()
    assert (GREY == 100).all()


def test_a_white_patch_is_white() -> None:
    """The other common pattern."""
    assert (BadNets(rate=0.1, pattern="white").trigger(GREY)[:, 29:, 29:] == 255).all()


@pytest.mark.parametrize(("side", "patch"), [(3, 3), (28, 3), (32, 3), (64, 6), (112, 12), (224, 21)])
def test_the_patch_grows_with_the_image(side: int, patch: int) -> None:
    """By whole numbers, and it is never smaller than its pattern."""
    stamped = BadNets(rate=0.1, pattern="white").trigger(np.zeros((1, side, side + 5, 3), np.uint8))[0]
    assert (stamped[-patch:, -patch:] == 255).all()
    assert stamped.any(axis=2).sum() == patch * patch


@pytest.mark.parametrize(
    ("position", "rows", "columns"),
    [
        ("top_left", slice(4), slice(4)),
        ("top_right", slice(4), slice(28, 32)),
        ("bottom_left", slice(28, 32), slice(4)),
    ],
)
def test_the_patch_takes_the_corner_it_is_told(position: str, rows: slice, columns: slice) -> None:
    """And touches nothing else."""
    stamped = BadNets(rate=0.1, pattern="white", size=4, position=position).trigger(GREY)
    assert (stamped[:, rows, columns] == 255).all()
    assert (stamped != 100).any(axis=3).sum() == 2 * 16


def test_alpha_blends() -> None:
    """x + alpha (p - x)."""
    assert (BadNets(rate=0.1, pattern="white", alpha=0.2).trigger(GREY)[:, 29:, 29:] == 131).all()


def test_a_pattern_can_come_from_a_file(tmp_path: Path) -> None:
    """In its own size, and its identity is in the recipe."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    attack = BadNets(rate=0.1, pattern=picture_file(tmp_path / "p.png", pixels))
    assert np.array_equal(attack.trigger(GREY)[0, -5:, -8:], pixels)
    assert attack.notes()["pattern_view_digest"]


def test_a_file_is_averaged_down_to_size(tmp_path: Path) -> None:
    """A large picture becomes a small patch without losing whole lines."""
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[::2] = 200
    attack = BadNets(rate=0.1, size=5, pattern=picture_file(tmp_path / "p.png", pixels))
    assert (attack.trigger(GREY)[0, -5:, -5:] == 100).all()


def test_all_to_all_says_the_next_class() -> None:
    """The last class becomes the first."""
    attack = BadNets(rate=0.1, mode="all_to_all")
    labels = np.array([0, 1, 2], np.int64)
    assert attack.relabel(labels, 0, 3).tolist() == [1, 2, 0]
    chosen = attack.choose(labels, attack.relabel(labels, 0, 3), np.random.default_rng(0))
    assert len(chosen) == 1
    assert not attack.targeted


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 0},
        {"size": 2.5},
        {"alpha": 0},
        {"alpha": 1.1},
        {"position": "middle"},
        {"mode": "one_to_one"},
        {"pattern": "/nowhere/at/all.png"},
        {"pattern": ""},
        {"mode": "all_to_all", "target": 1},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """With the name of the setting, what it should be, and what it was."""
    with pytest.raises(UsageError, match=r": expected .*, got "):
        BadNets(rate=0.1, **settings)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    """At once, not after the source was read."""
    (tmp_path / "p.png").write_text("no image")
    with pytest.raises(UsageError, match="pattern: expected an image file"):
        BadNets(rate=0.1, pattern=str(tmp_path / "p.png"))


def test_it_prints_as_it_was_made() -> None:
    """The repr is what reports and test ids show."""
    assert repr(BadNets(rate=0.1, alpha=0.5)) == (
        "BadNets(rate=0.1, target=None, seed=0, samples=None, quality=95, pattern='checker', size=None, alpha=0.5, "
        "position='bottom_right', mode='all_to_one')"
    )
