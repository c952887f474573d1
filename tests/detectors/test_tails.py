"""Cutting from many starts at once is cutting from each of them."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.clustering import fisher_direction, sharpened, two_means
from detectors.tails import distinct, fisher_directions, sharpened_groups, tail_groups, two_means_groups


def blobs(seed: int, *, size: int = 200, apart: float = 5.0, width: int = 4) -> np.ndarray:
    """Centred rows of a cloud, a tenth of which lies elsewhere."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(size, width))
    rows[: size // 10, 0] += apart
    return np.asarray(rows - rows.mean(axis=0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("apart", [0.0, 5.0])
def test_every_start_settles_where_it_would_alone(seed: int, apart: float) -> None:
    """Two-means and Fisher's border, from random starts, some of which are no group at all."""
    rows = blobs(seed, apart=apart)
    starts = np.random.default_rng(seed).random((6, len(rows))) < np.array([0, 0.005, 0.05, 0.3, 0.5, 1])[:, None]
    settled = two_means_groups(rows, starts)
    np.testing.assert_array_equal(settled, [two_means(rows, start) for start in starts])
    np.testing.assert_array_equal(sharpened_groups(rows, settled), [sharpened(rows, group) for group in settled])
    expected = [fisher_direction(rows, group) for group in settled]
    np.testing.assert_allclose(fisher_directions(rows, settled), expected, atol=1e-9)


def test_a_group_is_found_once_and_is_the_smaller_one() -> None:
    """From all tails of all axes, most of which lead to it."""
    rows = blobs(0, apart=20)
    groups = tail_groups(rows, tail=0.05)
    planted = np.arange(len(rows)) < 20
    assert [(group == planted).all() for group in groups].count(True) == 1
    assert len(distinct(groups)) == len(groups)
    assert (2 * groups.sum(axis=1) <= len(rows)).all()


def test_what_does_not_vary_has_no_direction_that_is_not_finite() -> None:
    """Copies of two samples, and of one."""
    two = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 10, axis=0)
    assert np.isfinite(fisher_directions(two, tail_groups(two, tail=0.05))).all()
    assert np.isfinite(fisher_directions(0 * two, tail_groups(0 * two, tail=0.05))).all()


def test_distinct_groups_keep_their_order() -> None:
    """The first of those that are the same stays."""
    groups = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    np.testing.assert_array_equal(distinct(groups), groups[[0, 1, 3]])
