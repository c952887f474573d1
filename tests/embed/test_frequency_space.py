"""What images are made of: every kind of change shows in the columns that are there for it, and nothing else counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.fft import idctn
from toy_textures import SIDE, Pixels, drawn_keys, textures, with_patch

from sanitizer.embed.frequency import BANDS, LEVELS, frequency

EACH = 60
CELLS = 3 * BANDS * BANDS
NOISE = 4 * 3 * len(LEVELS)
ODD: dict[str, Callable[[], Pixels]] = {
    "black": lambda: np.zeros((20, SIDE, SIDE, 3), np.uint8),
    "white": lambda: np.full((20, SIDE, SIDE, 3), 255, np.uint8),
    "8 x 8": lambda: textures(20, side=8),
    "odd side": lambda: textures(20, side=13),
    "one image": lambda: textures(1),
    "copies": lambda: np.repeat(textures(1), 20, axis=0),
    "one that is not black": lambda: np.concatenate([np.zeros((19, SIDE, SIDE, 3), np.uint8), noise(1)]),
}


def made_of(pixels: Pixels, labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The space, made on the CPU."""
    return frequency(pixels, labels, keys, torch.device("cpu"))


def noise(count: int) -> Pixels:
    """As loud as 8 bits can be."""
    return np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (count, SIDE, SIDE, 3))


def described(pixels: Pixels, *, seed: int = 0) -> np.ndarray:
    """The space of images of one class, in full precision."""
    return made_of(pixels, np.zeros(len(pixels), np.int64), drawn_keys(len(pixels), seed=seed)).astype(np.float32)


def changed(change: Callable[[Pixels], np.ndarray]) -> np.ndarray:
    """By how much each column grows in ten images of sixty if something is done to these, on average."""
    pixels = textures(EACH)
    after = pixels.copy()
    after[:10] = np.clip(np.round(change(pixels[:10].astype(float))), 0, 255)
    return np.asarray((described(after) - described(pixels))[:10].mean(axis=0))


def kinds_and_levels(rows: np.ndarray) -> np.ndarray:
    """The columns of noise by (kind, level, colour)."""
    return rows[:NOISE].reshape(4, len(LEVELS), 3)


def test_listing_images_in_another_order_permutes_the_rows() -> None:
    """What is usual is taken from samples drawn by content."""
    pixels, keys, labels = textures(EACH), drawn_keys(EACH), np.arange(EACH) % 3
    order = np.random.default_rng(1).permutation(EACH)
    np.testing.assert_allclose(
        made_of(pixels[order], labels[order], keys[order]).astype(float),
        made_of(pixels, labels, keys)[order].astype(float),
        atol=0.01,
    )


def test_labels_do_not_matter() -> None:
    """An image is made of the same stuff whatever it is called."""
    pixels, keys = textures(EACH), drawn_keys(EACH)
    without, some = np.full(EACH, -1), np.random.default_rng(0).integers(0, 9, EACH)
    np.testing.assert_array_equal(made_of(pixels, without, keys), made_of(pixels, some, keys))


@pytest.mark.parametrize("name", ODD)
def test_rows_are_finite_and_far_from_the_limits_of_half_precision(name: str) -> None:
    """Whatever the images are: 468 numbers that half precision can tell apart."""
    pixels = ODD[name]()
    rows = made_of(pixels, np.zeros(len(pixels), np.int64), drawn_keys(len(pixels)))
    assert rows.shape == (len(pixels), NOISE + 2 * CELLS) == (len(pixels), 468)
    assert rows.dtype == np.float16
    assert np.isfinite(rows).all()
    assert np.abs(rows.astype(float)).max() < 64


def test_copies_have_equal_rows() -> None:
    """Nothing depends on the company within a batch."""
    rows = described(np.concatenate([textures(30), np.repeat(textures(1, seed=5), 5, axis=0)]))
    np.testing.assert_allclose(rows[30:], np.repeat(rows[30:31], 5, axis=0), atol=0.01)


@pytest.mark.parametrize("strength", [6, 20])
def test_dense_noise_raises_every_column_of_noise(strength: int) -> None:
    """On average over images: no kind and no level becomes rarer."""
    growth = kinds_and_levels(
        changed(lambda images: images + np.random.default_rng(0).normal(0, strength, images.shape))
    )
    assert growth.min() > -0.02
    assert growth.mean(axis=(1, 2)).min() > 0.2


def test_noisier_images_have_more_of_it() -> None:
    """The mean over the columns of noise grows with the noise."""
    means = [
        kinds_and_levels(
            changed(lambda images, s=strength: images + np.random.default_rng(0).normal(0, s, images.shape))  # type: ignore[misc]
        ).mean()
        for strength in (0, 2, 4, 8, 16, 32)
    ]
    assert means[0] == 0
    assert (np.diff(means) > 0).all()


def test_sparse_noise_shows_in_high_levels_and_dense_noise_in_low_ones() -> None:
    """A few loud pixels and many faint ones of the same energy are told apart."""
    rng = np.random.default_rng(0)
    few = rng.random((10, SIDE, SIDE, 1)) < 0.02
    sparse = kinds_and_levels(changed(lambda images: np.where(few, images + 120, images))).mean(axis=(0, 2))
    dense = kinds_and_levels(changed(lambda images: images + rng.choice([-4, 4], images.shape))).mean(axis=(0, 2))
    assert sparse.argmax() >= LEVELS.index(32)
    assert dense.argmax() <= LEVELS.index(16)
    assert sparse[-1] > dense[-1]
    assert sparse[0] < dense[0]


def test_a_patch_shows_where_it_is() -> None:
    """Of the energies by place, those of its corner grow most, in lightness."""
    there = changed(with_patch_of_floats)[NOISE + CELLS :].reshape(3, BANDS, BANDS)[0]
    corner = {(row, column) for row in (6, 7) for column in (6, 7)}
    loudest = [divmod(int(cell), BANDS) for cell in np.argsort(-there, axis=None)[:3]]
    assert set(loudest) <= corner
    assert there[7, 7] > there[:5, :5].max() + 1


def with_patch_of_floats(images: np.ndarray) -> np.ndarray:
    """The patch, for images that are being changed."""
    return with_patch(images.astype(np.uint8)).astype(float)


def test_a_loud_wave_does_not_drown_where_the_rest_is() -> None:
    """Beyond five usual sizes, energies by place do not follow; energies by frequency do."""
    spectrum = np.zeros((SIDE, SIDE))
    spectrum[SIDE - 2, SIDE - 2] = 6 * SIDE
    wave = idctn(spectrum, norm="ortho")[..., None]
    loud, louder = (changed(lambda images, s=times: images + s * wave) for times in (1, 3))  # type: ignore[misc]
    np.testing.assert_allclose(louder[NOISE + CELLS :], loud[NOISE + CELLS :], atol=0.2)
    assert (louder - loud)[NOISE : NOISE + CELLS].max() > 1.5


@pytest.mark.parametrize("band", [(0, 5), (3, 3), (7, 7)])
def test_a_wave_shows_in_its_band(band: tuple[int, int]) -> None:
    """Of the energies by frequency, the one of its own band grows most, and in all colours alike in grey."""
    spectrum = np.zeros((SIDE, SIDE))
    spectrum[band[0] * SIDE // BANDS, band[1] * SIDE // BANDS] = 25 * SIDE
    wave = idctn(spectrum, norm="ortho")[..., None]
    energies = changed(lambda images: images + wave)[NOISE : NOISE + CELLS].reshape(3, BANDS, BANDS)
    assert np.unravel_index(energies[0].argmax(), (BANDS, BANDS)) == band
    assert energies[0].max() > 1
