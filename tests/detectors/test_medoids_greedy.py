"""Greedy by gains that are kept: what it picks is what trying everybody picks, and nothing of a gain is left behind."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.facility import Similarities, pick_medoids
from detectors.gains import Gains
from detectors.greedy import LEAST_GAIN


@st.composite
def graphs(draw: st.DrawFn) -> Similarities:
    """Small graphs of few different similarities, so that ties abound and sums are exact; some lists are padded."""
    size, k = draw(st.integers(1, 24)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([2, 8, 1024]))
    values = np.sort(rng.integers(1, steps + 1, (size, k)) / steps, axis=1)[:, ::-1]
    others = [rng.permutation(np.delete(np.arange(size), row))[:k] for row in range(size)]
    known = np.arange(k) < min(k, size - 1) - rng.integers(0, 2, (size, 1))
    columns = np.repeat(np.arange(size)[:, None], k, axis=1)
    columns[:, : others[0].size] = np.where(known[:, : others[0].size], np.array(others), columns[:, : others[0].size])
    values = np.where(known, values, 0)
    floor = np.where(known.all(axis=1), values[:, -1], 0) * rng.integers(0, 2, size)
    return Similarities(values, columns, floor)


def matrix(known: Similarities) -> np.ndarray:
    """What each row is offered by each candidate."""
    size = len(known.values)
    offered = np.zeros((size, size))
    np.maximum.at(offered, (np.arange(size)[:, None], known.columns), known.values)
    np.fill_diagonal(offered, 1)
    return offered


def by_trying_everybody(known: Similarities, count: int) -> list[int]:
    """The definition: the largest gain of all, summed anew for every pick."""
    offered, best, picked = matrix(known), known.floor, list[int]()
    while len(picked) < count:
        gains = np.maximum(offered - best[:, None], 0).sum(axis=0)
        if gains.max() < LEAST_GAIN:
            break
        picked.append(int(gains.argmax()))
        best = np.maximum(best, offered[:, picked[-1]])
    return picked


@settings(deadline=None)
@given(graphs(), st.integers(0, 24))
def test_the_picks_are_those_of_trying_everybody(known: Similarities, count: int) -> None:
    """Whatever the lists, ties and floors: the same candidates in the same order."""
    assert pick_medoids(known, count).tolist() == by_trying_everybody(known, count)


@settings(deadline=None)
@given(graphs(), st.integers(0, 24))
def test_the_first_picks_are_those_of_a_smaller_count(known: Similarities, count: int) -> None:
    """How many will be asked for decides nothing before."""
    np.testing.assert_array_equal(pick_medoids(known, count), pick_medoids(known, 24)[:count])


def test_a_short_list_is_renewed_as_often_as_it_takes() -> None:
    """More candidates than a list holds, all of them picked in the end."""
    rng = np.random.default_rng(0)
    size, k = 400, 5
    columns = np.array([rng.permutation(np.delete(np.arange(size), row))[:k] for row in range(size)])
    known = Similarities(rng.integers(1, 1024, (size, k)) / 1024, columns, np.zeros(size))
    assert pick_medoids(known, size).tolist() == by_trying_everybody(known, size)


@settings(deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_kept_gains_are_exactly_those_summed_anew(known: Similarities, seed: int) -> None:
    """Similarities of any length in bits: after all are taken not a rounding error is left."""
    rng = np.random.default_rng(seed)
    values = known.values * rng.uniform(0.5, 1, known.values.shape)
    gains = Gains(values, known.columns, known.floor / 2)
    for candidate in rng.permutation(len(values)):
        gains.take(int(candidate))
        assert (gains.left >= 0).all()
        assert gains.left[candidate] == 0
    assert (gains.left == 0).all()
