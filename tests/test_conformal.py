"""Conformal calibration: valid whatever the scores, flagged as Benjamini and Hochberg say, and honest on its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sanitizer.conformal import Floats, benjamini_hochberg, conformal_p, smallest_visible

#: Few values, so that ties are common.
TIED = arrays(np.float64, st.integers(0, 30), elements=st.integers(0, 5).map(float))


def draw_normal(rng: np.random.Generator, size: int) -> Floats:
    """Scores without ties."""
    return rng.normal(size=size)


def draw_heavy(rng: np.random.Generator, size: int) -> Floats:
    """Scores with tails that no normal law has."""
    return rng.standard_cauchy(size)


def draw_tied(rng: np.random.Generator, size: int) -> Floats:
    """Scores of which most are equal."""
    return rng.poisson(0.5, size).astype(float)


DRAWS = [draw_normal, draw_heavy, draw_tied]


@given(TIED, TIED)
def test_a_p_value_is_its_definition(scores: Floats, trusted: Floats) -> None:
    """One more than the trusted that score at least as high, of one more than all of them."""
    expected = [(1 + sum(score <= other for other in trusted)) / (1 + len(trusted)) for score in scores]
    np.testing.assert_allclose(conformal_p(scores, trusted), expected, rtol=1e-12)


@given(TIED.filter(len), st.integers(1, 29), st.floats(0, 1))
def test_p_values_are_valid_in_every_pool(pool: Floats, trusted: int, level: float) -> None:
    """Exactly: if any of the others might have been the suspect, at most ``level`` of them get such a p-value."""
    assume(trusted < len(pool))
    counted = pool[: trusted + 1]
    p = [conformal_p(counted[[one]], np.delete(counted, one))[0] for one in range(len(counted))]
    assert np.mean(np.array(p) <= level) <= level + 1e-12


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("trusted", [19, 200])
def test_p_values_of_clean_samples_are_no_smaller_than_uniform(draw, trusted: int) -> None:  # type: ignore[no-untyped-def]
    """Over many references drawn like the suspect: p <= level happens at most ``level`` of the time."""
    rng = np.random.default_rng(trusted)
    p = np.array([conformal_p(draw(rng, 1), draw(rng, trusted))[0] for _ in range(4000)])
    for level in (0.01, 0.05, 0.1, 0.5):
        assert (p <= level).sum() <= stats.binom.ppf(0.9999, len(p), level)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("level", [0.05, 0.3])
def test_on_clean_data_anything_is_flagged_at_most_that_often(draw, level: float) -> None:  # type: ignore[no-untyped-def]
    """The false discovery rate of a clean set is the chance of any flag; dependence on one reference included."""
    rng = np.random.default_rng(3)
    alarms = [benjamini_hochberg(conformal_p(draw(rng, 120), draw(rng, 200)), level).any() for _ in range(2000)]
    assert sum(alarms) <= stats.binom.ppf(0.9999, len(alarms), level)


def test_the_guarantee_is_used_up() -> None:
    """Without ties, and where level times trusted over suspects is whole, it is no looser than it says."""
    rng = np.random.default_rng(4)
    alarms = [
        benjamini_hochberg(conformal_p(rng.normal(size=40), rng.normal(size=199)), 0.2).any() for _ in range(2000)
    ]
    assert sum(alarms) >= stats.binom.ppf(0.001, len(alarms), 0.2)


def test_poison_does_not_cost_clean_samples() -> None:
    """Among what is flagged, the honest are on average no more than the level says."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(300):
        scores = np.concatenate([rng.normal(size=950), rng.normal(4, 1, 50)])
        flagged = benjamini_hochberg(conformal_p(scores, rng.normal(size=1000)), 0.1)
        shares.append(flagged[:950].sum() / max(1, flagged.sum()))
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / np.sqrt(len(shares))


SIZES = st.one_of(st.integers(1, 40), st.integers(41, 3000))
LEVELS = st.one_of(st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]), st.floats(0.005, 0.9))


def anything_flagged(above: int, trusted: int, suspects: int, level: float) -> bool:
    """Whether so many suspects above all trusted samples, and the others below them, lead to a flag."""
    scores = np.where(np.arange(suspects) < above, 2.0, 0.0)
    return bool(benjamini_hochberg(conformal_p(scores, np.ones(trusted)), level).any())


def check_visible(trusted: int, suspects: int, level: float) -> None:
    """That many can be seen, and one fewer cannot."""
    fewest = smallest_visible(trusted, suspects, level)
    assert fewest >= 1
    assert fewest > suspects or anything_flagged(fewest, trusted, suspects, level)
    assert not anything_flagged(min(fewest - 1, suspects), trusted, suspects, level)


@given(SIZES, SIZES, LEVELS)
def test_the_smallest_visible_group_is_exact(trusted: int, suspects: int, level: float) -> None:
    """With so many samples above all trusted ones something is flagged, with one fewer nothing is."""
    check_visible(trusted, suspects, level)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.07, 0.1, 0.3])
@pytest.mark.parametrize("trusted", [1, 4, 9, 19, 49, 99, 199, 499, 999])
def test_it_is_exact_where_rounding_decides(trusted: int, level: float) -> None:
    """Round sizes and levels lie on the line itself, where the last digit of a float counts."""
    for suspects in [*range(1, 60), 100, 333, 1000]:
        check_visible(trusted, suspects, level)


def test_too_small_a_reference_reveals_nothing() -> None:
    """Fewer than one over the level, less one: not even if every suspect were planted."""
    assert smallest_visible(18, 1000, 0.05) > 1000
    assert smallest_visible(19, 1000, 0.05) == 1000
    assert smallest_visible(0, 0, 0.05) > 0


P_VALUES = arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 1))


@given(P_VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_laxer_level_never_flags_fewer(p: Floats, one: float, other: float) -> None:
    """Whoever falls at a strict level falls at a lax one."""
    strict, lax = (benjamini_hochberg(p, level) for level in sorted((one, other)))
    assert (lax | ~strict).all()


@given(P_VALUES, st.floats(0, 1))
def test_benjamini_hochberg_is_its_definition(p: Floats, level: float) -> None:
    """The k smallest, for the largest k of which the k-th is at most level * k / n."""
    n = len(p)
    most = max((k for k in range(1, n + 1) if np.sort(p)[k - 1] <= level * k / n), default=0)
    expected = p <= np.sort(p)[most - 1] if most else np.zeros(n, bool)
    np.testing.assert_array_equal(benjamini_hochberg(p, level), expected)


@given(P_VALUES, st.floats(0, 1), st.randoms())
def test_benjamini_hochberg_moves_with_the_samples(p: Floats, level: float, random) -> None:  # type: ignore[no-untyped-def]
    """Order does not matter, and a smaller p is flagged whenever a larger one is."""
    order = np.array(random.sample(range(len(p)), len(p)), dtype=int)
    flagged = benjamini_hochberg(p, level)
    np.testing.assert_array_equal(benjamini_hochberg(p[order], level), flagged[order])
    assert not flagged.any() or p[flagged].max() < p[~flagged].min(initial=2)
