"""Cosine waves: nothing is lost by taking images apart, and a planted part does not set what is usual."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct

from sanitizer.embed.cosines import COLOURS, ROUNDING, TYPICAL, cosines, typical_rows, usual_size

SIDES = [1, 2, 3, 8, 17, 32, 224]


@pytest.mark.parametrize("side", SIDES)
def test_the_transform_is_orthonormal(side: int) -> None:
    """So no coefficient repeats what another says, and the transform's transpose undoes it."""
    waves = cosines(side)
    torch.testing.assert_close(waves @ waves.T, torch.eye(side), atol=2e-5, rtol=0)


@pytest.mark.parametrize("side", SIDES)
def test_it_is_the_cosine_transform_of_everybody(side: int) -> None:
    """The second type, as in JPEG."""
    expected = dct(np.eye(side), axis=0, norm="ortho")
    np.testing.assert_allclose(cosines(side).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("side", SIDES)
def test_a_constant_is_its_first_coefficient_alone(side: int) -> None:
    """What does not change has no frequency."""
    coefficients = cosines(side) @ torch.full((side,), 5.0)
    assert coefficients[0] == pytest.approx(5 * side**0.5, rel=1e-5)
    assert (coefficients[1:].abs() < 1e-4 * coefficients[0]).all()


def test_lightness_and_colour_say_different_things() -> None:
    """The three channels are orthonormal, and grey images have none of the last two."""
    torch.testing.assert_close(COLOURS @ COLOURS.T, torch.eye(3), atol=1e-6, rtol=0)
    assert (COLOURS @ torch.ones(3))[1:].abs().max() < 1e-6


def normal(count: int, width: int = 40) -> torch.Tensor:
    """Coefficients of clean images."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_the_usual_size_is_a_standard_deviation(scale: float) -> None:
    """Of normal coefficients, beside what rounding to 8 bits moves."""
    torch.testing.assert_close(
        usual_size(scale * normal(4000)) - ROUNDING, torch.full((40,), scale), rtol=0.1, atol=0.01
    )


@pytest.mark.parametrize("height", [10.0, 1e6])
def test_a_fifth_of_planted_images_does_not_set_what_is_usual(height: float) -> None:
    """However strong their pattern is, the usual size grows by no more than the ranks that they take up."""
    clean = normal(4000)
    poisoned = clean.clone()
    poisoned[:800] += height
    growth = usual_size(poisoned) / usual_size(clean)
    assert growth.min() > 1
    assert growth.max() < 1.4


@given(st.integers(0, 99))
def test_the_usual_size_does_not_see_signs_or_order(seed: int) -> None:
    """A size is of what is there, not of its direction."""
    rng = np.random.default_rng(seed)
    coefficients = normal(50)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (50, 40)).astype(np.float32))
    order = torch.from_numpy(rng.permutation(50))
    torch.testing.assert_close(usual_size((signs * coefficients)[order]), usual_size(coefficients), rtol=0, atol=0)


def test_what_never_occurs_is_as_large_as_rounding() -> None:
    """Nothing is divided by zero."""
    assert (usual_size(torch.zeros(20, 3)) == torch.tensor(ROUNDING)).all()


@pytest.mark.parametrize("count", [0, 1, 100, TYPICAL, TYPICAL + 500])
def test_typical_samples_are_drawn_by_content(count: int) -> None:
    """The same samples in the same order however they are listed, and no more than are needed."""
    rng = np.random.default_rng(count)
    keys = rng.permutation(10 * count).astype(np.uint64)[:count]
    order = rng.permutation(count)
    drawn = typical_rows(keys)
    assert len(drawn) == min(count, TYPICAL)
    np.testing.assert_array_equal(keys[drawn], np.sort(keys)[:TYPICAL])
    np.testing.assert_array_equal(order[typical_rows(keys[order])], drawn)
