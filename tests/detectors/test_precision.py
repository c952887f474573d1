"""Widening: faster than numpy's, and to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.precision import widened

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("values", [EVERY_HALF, EVERY_HALF[np.isfinite(EVERY_HALF)]], ids=["all", "finite"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_half_keeps_its_value(values: np.ndarray, dtype: type) -> None:
    """Subnormal, negative and infinite ones too; what is no number stays none."""
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(widened(values.reshape(-1, 8), dtype), values.reshape(-1, 8).astype(dtype))


def test_zero_keeps_its_sign() -> None:
    """Nobody divides by it here, but a copy is a copy."""
    np.testing.assert_array_equal(np.signbit(widened(np.array([0.0, -0.0], np.float16))), [False, True])


@pytest.mark.parametrize(("stored", "computed"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), (">f2", "f4")])
def test_nothing_is_computed_in_fewer_bits_than_it_is_stored_in(stored: str, computed: str) -> None:
    """And in no more than are needed."""
    rows = np.arange(6).reshape(3, 2).astype(stored)
    assert widened(rows).dtype == computed
    np.testing.assert_array_equal(widened(rows), rows)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3,), (2, 3, 4), (300_000, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_any_shape_is_widened_into_a_copy(shape: tuple[int, ...], dtype: type) -> None:
    """Whoever centres it in place changes no evidence."""
    rows = np.ones(shape, dtype)
    wide = widened(rows)
    np.testing.assert_array_equal(wide, rows)
    assert not np.shares_memory(wide, rows)


def test_what_is_no_block_of_memory_is_widened_too() -> None:
    """Every second column, and rows backwards."""
    rows = np.arange(24, dtype=np.float16).reshape(4, 6)[::-1, ::2]
    np.testing.assert_array_equal(widened(rows), rows.astype(np.float32))
