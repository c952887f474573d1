"""Diversity: copies have none, a group that varies like its class has all of it, in any units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.diversity import ENOUGH, diversity

SIZE, MEMBERS, WIDTH = 200, 20, 30
GROUP = np.arange(SIZE) < MEMBERS


def described(within: float, *, seed: int = 0) -> np.ndarray:
    """Details of a class, in which a group lies elsewhere and varies so much as the rest does."""
    rows = np.random.default_rng(seed).normal(size=(SIZE, WIDTH)) * np.geomspace(100, 0.01, WIDTH)
    rows[GROUP] = within * rows[GROUP] + 300
    return rows


def test_copies_are_not_diverse() -> None:
    """They agree in everything."""
    assert diversity(described(0), GROUP) < 1e-9


@pytest.mark.parametrize("within", [1.0, 3.0])
def test_a_group_as_varied_as_its_class_is_diverse(within: float) -> None:
    """Wherever it lies."""
    assert diversity(described(within), GROUP) == 1


def test_diversity_grows_with_variation() -> None:
    """From nothing to all, in between by variance."""
    found = [diversity(described(within), GROUP) for within in (0, 0.01, 0.1, 0.3, 0.5)]
    assert (np.diff(found) > 0).all()
    assert found[3] / found[2] == pytest.approx(9)


def test_enough_is_enough() -> None:
    """A group with a part of the variance of its class is as diverse as it needs to be."""
    rows = np.concatenate([np.sqrt(ENOUGH) * np.array([[-1.001], [1.001]]), [[-1.0], [1.0]]])
    assert diversity(rows, np.array([True, True, False, False])) == 1
    assert diversity(rows * [[0.9], [0.9], [1], [1]], np.array([True, True, False, False])) == pytest.approx(0.81, 0.01)


@given(st.integers(0, 99), st.floats(0.001, 1000), st.floats(-100, 100))
def test_units_origin_and_order_do_not_matter(seed: int, scale: float, shift: float) -> None:
    """Neither of all details nor of each, and samples may be listed in any order."""
    rng = np.random.default_rng(seed)
    rows, order = described(0.3, seed=seed), rng.permutation(SIZE)
    columns = rng.permutation(WIDTH)
    units = scale * rng.uniform(0.5, 2, WIDTH)
    moved = (rows * units + shift)[order][:, columns]
    assert diversity(moved, GROUP[order]) == pytest.approx(diversity(rows, GROUP), rel=1e-5)


def test_one_varied_detail_does_not_make_a_group_diverse() -> None:
    """Frames of one film differ in something; a tenth of the details has to vary."""
    rows = described(0)
    rows[GROUP, 0] = 1000 * np.random.default_rng(1).normal(size=MEMBERS)
    assert diversity(rows, GROUP) < 0.1


def test_what_never_varies_does_not_count() -> None:
    """Details that are the same throughout the class say nothing of a group."""
    rows = described(0.3)
    padded = np.hstack([rows, np.ones((SIZE, 50))])
    assert diversity(padded, GROUP) == pytest.approx(diversity(rows, GROUP))


@pytest.mark.parametrize("members", [0, 1])
def test_a_single_sample_is_no_diverse_group(members: int) -> None:
    """Nor is nobody."""
    assert diversity(described(1), np.arange(SIZE) < members) == 0


@pytest.mark.filterwarnings("error")
def test_a_class_of_copies_is_as_diverse_as_it_can_be() -> None:
    """Where nothing varies in the rest, there is nothing to compare with."""
    assert diversity(np.ones((SIZE, WIDTH)), GROUP) == 1
