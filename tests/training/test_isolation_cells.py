"""Neighbours by cells: exact while there are few cells, close to it beyond, and honest about distances always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from sanitizer.training.cells import CELL, PROBES, nearest_in_cells


def exact(rows: np.ndarray, k: int) -> np.ndarray:
    """Distances to the k nearest others, by comparing all pairs."""
    distances = cdist(rows, rows)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :k]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 600), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_few_cells_are_a_full_search(size: int, k: int, seed: int) -> None:
    """Distances of all pairs, none of them to oneself, and padding where there are fewer than asked for."""
    rows = np.random.default_rng(seed).normal(size=(size, 5)).astype(np.float32)
    found = nearest_in_cells(rows, k)
    width = min(k, size - 1)
    np.testing.assert_allclose(found.distances[:, :width], exact(rows, width), rtol=1e-6)
    assert (found.indices[:, :width] != np.arange(size)[:, None]).all()
    assert (found.indices[:, width:] == -1).all()
    assert np.isinf(found.distances[:, width:]).all()


@pytest.mark.parametrize("seed", range(2))
def test_many_cells_miss_few_neighbours(seed: int) -> None:
    """Five to six times the cells that a row is compared with: most are found, and no distance is wrong."""
    size = 3 * PROBES * CELL
    rows = np.random.default_rng(seed).normal(size=(size, 6)).astype(np.float32)
    found = nearest_in_cells(rows, 10)
    _, true = cKDTree(rows).query(rows, k=11)
    hits = [np.isin(mine, theirs).mean() for mine, theirs in zip(found.indices, true[:, 1:], strict=True)]
    assert np.mean(hits) > 0.9
    apart = np.linalg.norm(rows[:, None] - rows[found.indices], axis=2)
    np.testing.assert_allclose(found.distances, apart, rtol=1e-5)
    assert (np.diff(found.distances, axis=1) >= 0).all()


@pytest.mark.parametrize("size", [2, 300, 5000])
def test_copies_are_neighbours_at_no_distance(size: int) -> None:
    """Cells of copies cannot be told apart, and still nobody is a neighbour of its own."""
    found = nearest_in_cells(np.full((size, 3), 0.1), 1)
    assert (found.distances == 0).all()
    assert (found.indices[:, 0] != np.arange(size)).all()


def test_no_rows_have_no_neighbours() -> None:
    """Nothing asked, nothing found."""
    assert nearest_in_cells(np.zeros((0, 3)), 4).indices.shape == (0, 4)
