"""Recurring patterns: what is planted in a tenth of a class stands out in images that had no part in finding it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from toy_textures import SIDE, Pixels, drawn_keys, textures, with_patch, with_pattern

from sanitizer.embed.recurrence import LEAST_HALF, PATTERNS, recurrence

EACH, CLASSES, PLANTED = 150, 3, 15
LABELS = np.repeat(np.arange(CLASSES), EACH)
IS_PLANTED = np.arange(len(LABELS)) < PLANTED  # in class 0
STANDS_OUT = 6.0
STAMPS: dict[str, Callable[[Pixels], Pixels]] = {"patch": with_patch, "faint pattern": with_pattern}


def recurring(pixels: Pixels, labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The space, made on the CPU."""
    return recurrence(pixels, labels, keys, torch.device("cpu"))


def poisoned(stamp: Callable[[Pixels], Pixels], *, seed: int = 0, rows: np.ndarray = IS_PLANTED) -> Pixels:
    """Three classes of unlike images, some of which share something."""
    pixels = textures(len(LABELS), seed=seed)
    pixels[rows] = stamp(pixels[rows])
    return pixels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STAMPS)
def test_a_planted_pattern_is_the_first_that_is_found(name: str, seed: int) -> None:
    """All who have it stand out along the first pattern of their class, and nearly nobody else along any class's."""
    found = recurring(poisoned(STAMPS[name], seed=seed), LABELS, drawn_keys(len(LABELS), seed=seed))
    assert found.shape == (len(LABELS), PATTERNS)
    assert found[IS_PLANTED, 0].min() > 2 * STANDS_OUT
    assert (found[~IS_PLANTED, 0] > STANDS_OUT).mean() < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_unlike_images_share_nothing(seed: int) -> None:
    """Without a pattern, nearly nobody stands out."""
    found = recurring(textures(len(LABELS), seed=seed), LABELS, drawn_keys(len(LABELS), seed=seed))
    assert (found[:, 0] > STANDS_OUT).mean() < 0.01


def test_a_pattern_is_measured_in_those_who_had_no_part_in_finding_it() -> None:
    """What recurs in one half of a class alone is not looked for in that half."""
    keys = drawn_keys(len(LABELS))
    by_key = np.argsort(keys, kind="stable")
    one_half = by_key[LABELS[by_key] == 0][0::2][:PLANTED]
    found = recurring(poisoned(with_patch, rows=np.isin(np.arange(len(LABELS)), one_half)), LABELS, keys)
    assert np.median(found[one_half, 0]) < STANDS_OUT / 2


def test_listing_images_in_another_order_permutes_the_rows() -> None:
    """Halves, and what is usual, are drawn by content."""
    pixels, keys = poisoned(with_patch), drawn_keys(len(LABELS))
    order = np.random.default_rng(1).permutation(len(LABELS))
    listed = recurring(pixels[order], LABELS[order], keys[order])
    np.testing.assert_allclose(listed, recurring(pixels, LABELS, keys)[order], rtol=1e-3, atol=1e-2)


def test_the_numbers_of_classes_do_not_matter() -> None:
    """Only who is in one class with whom."""
    pixels, keys = poisoned(with_patch), drawn_keys(len(LABELS))
    numbered = np.array([7, -1, 3])[LABELS]
    first, renumbered = recurring(pixels, LABELS, keys), recurring(pixels, numbered, keys)
    np.testing.assert_allclose(renumbered[:, 0], first[:, 0], rtol=0.2, atol=0.5)
    assert renumbered[IS_PLANTED, 0].min() > 2 * STANDS_OUT


@pytest.mark.parametrize("side", [8, SIDE, 21])
def test_a_single_class_is_measured_by_itself(side: int) -> None:
    """There are no others to compare with, whatever the size of the images."""
    pixels = textures(EACH, side=side)
    pixels[:PLANTED] = with_patch(pixels[:PLANTED])
    found = recurring(pixels, np.zeros(EACH, np.int64), drawn_keys(EACH))
    assert found[:PLANTED, 0].min() > STANDS_OUT
    assert (found[PLANTED:, 0] > STANDS_OUT).mean() < 0.02


@pytest.mark.parametrize(("size", "shows"), [(1, False), (2 * LEAST_HALF - 1, False), (2 * LEAST_HALF, True)])
def test_a_small_class_shows_no_pattern(size: int, shows: bool) -> None:
    """Fewer than twelve in a half cannot tell a pattern from chance; the larger class beside it is not affected."""
    labels = np.repeat([0, 1], [size, 80])
    found = recurring(textures(len(labels)), labels, drawn_keys(len(labels)))
    assert found[:size].any() == shows
    assert found[size:].any()


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_images_are_nothing_to_tell_apart(value: int) -> None:
    """No pattern, and no division by zero."""
    pixels = np.full((60, SIDE, SIDE, 3), value, np.uint8)
    found = recurring(pixels, np.repeat([0, 1], 30), drawn_keys(60))
    np.testing.assert_allclose(found, 0, atol=1e-3)


def test_a_class_of_copies_shows_no_pattern() -> None:
    """They cannot be cut in two, beside classes that can."""
    pixels, labels = textures(90), np.repeat([0, 1, 2], 30)
    pixels[labels == 1] = pixels[30]
    found = recurring(pixels, labels, drawn_keys(90))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[labels == 1], 0, atol=1e-2)


def test_fainter_images_say_the_same() -> None:
    """Loudness is divided out: at half the contrast the same images stand out."""
    pixels = poisoned(with_patch)
    found = recurring((pixels // 2 + 60).astype(np.uint8), LABELS, drawn_keys(len(LABELS)))
    assert found[IS_PLANTED, 0].min() > STANDS_OUT
    assert (found[~IS_PLANTED, 0] > STANDS_OUT).mean() < 0.01
