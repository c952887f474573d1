"""Cutting a line: two blobs are found, one cloud is no more than one cloud, in any units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.lines import LEAST_GROUP, cut_line, far_out, gap_of_one_cloud

SHARES = [0.5, 0.3, 0.1, 0.03, 0.01]
NUMBERS = arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e3, 1e3, width=32))


def blobs(low: int, high: int, *, apart: float = 20.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two groups on a line, shuffled; with who is in the upper one."""
    rng = np.random.default_rng(seed)
    upper = rng.permutation(np.repeat([False, True], [low, high]))
    return rng.normal(size=low + high) + apart * upper, upper


@pytest.mark.parametrize("share", SHARES)
def test_the_gap_of_one_cloud_is_what_a_large_cloud_shows(share: float) -> None:
    """Its upper share against the rest, in units of the spread within both."""
    ordered = np.sort(np.random.default_rng(0).normal(size=400_000))
    low, high = np.split(ordered, [round((1 - share) * len(ordered))])
    within = (low.var() * len(low) + high.var() * len(high)) / len(ordered)
    assert gap_of_one_cloud(share) == pytest.approx((high.mean() - low.mean()) / np.sqrt(within), rel=0.01)


@given(st.floats(0.001, 0.999))
def test_a_cloud_has_no_side(share: float) -> None:
    """Its upper share lies as far from the rest as its lower share does."""
    assert gap_of_one_cloud(share) == pytest.approx(gap_of_one_cloud(1 - share), rel=1e-9)


@pytest.mark.parametrize("high", [LEAST_GROUP, 10, 50])
@pytest.mark.parametrize("seed", range(3))
def test_two_blobs_are_two_groups(high: int, seed: int) -> None:
    """The smaller one is above, its distance is what it was made with, and far beyond what one cloud shows."""
    values, upper = blobs(100, high, seed=seed)
    found = cut_line(values)
    np.testing.assert_array_equal(found.above, upper)
    assert found.gap == pytest.approx(20, rel=0.2)
    assert found.excess > 4


def test_a_small_group_below_is_not_cut_off() -> None:
    """Only the upper side accuses."""
    values, upper = blobs(100, 10)
    assert not (cut_line(-values).above & upper).any()


@pytest.mark.parametrize("size", [30, 100, 1000, 20_000])
def test_one_cloud_has_an_excess_of_about_one(size: int) -> None:
    """However many samples it has: the choice of the widest gap adds little."""
    excesses = [cut_line(np.random.default_rng(seed).normal(size=size)).excess for seed in range(30)]
    assert np.median(excesses) == pytest.approx(1.1, abs=0.15)
    assert max(excesses) < 2


def test_the_excess_grows_with_the_distance() -> None:
    """The farther apart, the more."""
    excesses = [cut_line(blobs(200, 20, apart=apart)[0]).excess for apart in (0, 4, 8, 16, 64)]
    assert (np.diff(excesses) > 0).all()


@given(NUMBERS, st.floats(0.01, 100), st.floats(-100, 100), st.randoms())
def test_units_origin_and_order_do_not_matter(values: np.ndarray, scale: float, shift: float, random) -> None:  # type: ignore[no-untyped-def]
    """The gap is a number without units; the groups move with the samples."""
    values = np.round(values)
    order = np.array(random.sample(range(len(values)), len(values)), dtype=int)
    found, moved = cut_line(values), cut_line(scale * values[order] + shift)
    assert moved.gap == pytest.approx(found.gap, rel=1e-3, abs=1e-6)
    if found.gap < 1e3:  # beyond that nothing varies within the groups but rounding
        assert moved.excess == pytest.approx(found.excess, rel=1e-3, abs=1e-6)


@given(NUMBERS)
def test_the_group_is_above_the_rest_and_the_smaller_one(values: np.ndarray) -> None:
    """Four at least, half at most, equal values on one side; or nobody, without a gap."""
    found = cut_line(values)
    assert found.above.shape == values.shape
    if found.above.any():
        assert LEAST_GROUP <= found.above.sum() <= len(values) / 2
        assert values[found.above].min() > values[~found.above].max()
        assert found.gap > 0
    else:
        assert found.gap == found.excess == 0


@pytest.mark.parametrize("size", range(2 * LEAST_GROUP))
def test_too_few_are_not_cut(size: int) -> None:
    """Two groups of four are the least there can be."""
    found = cut_line(np.arange(size, dtype=float) ** 3)
    assert not found.above.any()
    assert (found.gap, found.excess) == (0, 0)


@pytest.mark.parametrize("value", [0.0, 1.0, -3e7, 1e-9, 0.1])
@pytest.mark.parametrize("size", [8, 9, 100])
def test_constants_are_not_cut(value: float, size: int) -> None:
    """Rounding is no gap."""
    found = cut_line(np.full(size, value))
    assert not found.above.any()
    assert found.excess == 0


@pytest.mark.parametrize("odd", [1, LEAST_GROUP - 1, LEAST_GROUP, 20])
def test_equal_values_stay_together(odd: int) -> None:
    """A few that differ from a hundred alike are a group if they are enough, and nobody otherwise."""
    values = np.repeat([0.1, 7.0], [100, odd])
    found = cut_line(values)
    np.testing.assert_array_equal(found.above, (values == 7) & (odd >= LEAST_GROUP))
    assert np.isfinite(found.excess)


@pytest.mark.parametrize("apart", [3.0, 5.0, 50.0])
def test_how_far_out_a_given_group_lies(apart: float) -> None:
    """Where all but its lowest quarter are, in units of the rest's spread, whatever units values come in."""
    values, upper = blobs(4000, 1000, apart=apart)
    found = far_out(values, upper)
    assert found == pytest.approx(apart - 0.6745, rel=0.05)
    assert far_out(3 * values - 8, upper) == pytest.approx(found)
    assert far_out(values[::-1], upper[::-1]) == pytest.approx(found)


def test_a_few_far_out_do_not_make_a_group_of_the_others() -> None:
    """Half of a random group sent to the moon changes little of where its lower quarter lies."""
    values, _ = blobs(400, 0)
    group = np.arange(400) < 40
    values[:20] += 1e6
    assert far_out(values, group) < 1


def test_who_lies_below_or_cannot_be_compared_is_not_far_out() -> None:
    """Never negative; and nothing where either group is too small, or the rest does not vary."""
    values, upper = blobs(100, 100)
    assert far_out(-values, upper) == 0
    assert far_out(values, np.arange(200) < LEAST_GROUP - 1) == 0
    assert far_out(values, np.arange(200) > LEAST_GROUP - 2) == 0
    assert far_out(np.ones(20), np.arange(20) < 10) == 0
