"""Halves are drawn by content, and what is no larger than its error is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.halves import beyond_chance, evenly_halved

KEYS = arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 2**64 - 1), unique=True)
DIFFERENCES = arrays(np.float64, st.integers(0, 20), elements=st.floats(-1e6, 1e6))


@given(KEYS)
def test_halves_are_even(keys: np.ndarray) -> None:
    """They differ by one sample at most."""
    half = evenly_halved(keys)
    assert half.shape == keys.shape
    assert 0 <= (~half).sum() - half.sum() <= 1


@given(KEYS, st.randoms())
def test_a_sample_keeps_its_half_wherever_it_is_listed(keys: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    """Content decides, not order."""
    order = np.array(random.sample(range(len(keys)), len(keys)), dtype=int)
    np.testing.assert_array_equal(evenly_halved(keys[order]), evenly_halved(keys)[order])


def test_halves_know_nothing_of_a_group() -> None:
    """Of any group chosen without looking at keys, about half is in either."""
    keys = np.random.default_rng(0).integers(0, 2**63, 2000, dtype=np.uint64)
    assert evenly_halved(keys)[:400].mean() == pytest.approx(0.5, abs=0.08)


@given(DIFFERENCES, st.floats(0, 1e6))
def test_differences_shrink_by_their_error_and_never_turn(differences: np.ndarray, error: float) -> None:
    """Smaller ones become nothing, larger ones keep their sign."""
    found = beyond_chance(differences, error)
    np.testing.assert_allclose(np.abs(found), np.maximum(np.abs(differences) - error, 0))
    assert (found * differences >= 0).all()


@given(DIFFERENCES)
def test_without_error_nothing_changes(differences: np.ndarray) -> None:
    """And the opposite difference shrinks to the opposite."""
    np.testing.assert_array_equal(beyond_chance(differences, 0.0), differences)
    np.testing.assert_array_equal(beyond_chance(-differences, 2.0), -beyond_chance(differences, 2.0))


def test_chance_leaves_little() -> None:
    """Of pure noise with its own standard error, a third stays, and less than a tenth of its energy."""
    noise = np.random.default_rng(1).normal(size=10_000)
    found = beyond_chance(noise, 1.0)
    assert (found != 0).mean() == pytest.approx(0.317, abs=0.02)
    assert (found**2).sum() < 0.2 * (noise**2).sum()
