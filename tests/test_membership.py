"""Who stands out in a class: ranks, the normal law, and the classes that hide nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sanitizer.membership import Floats, deviations, group_members, rank_p, scattered_members, tail_share


def upper_tail(scores: Floats) -> Floats:
    """The p-values that follow from deviations."""
    return np.asarray(stats.norm.sf(deviations(scores)))


NUMBERS = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3, width=32))


@pytest.mark.parametrize("tail", [rank_p, upper_tail])
@given(NUMBERS)
def test_a_higher_score_never_has_a_higher_p(tail, scores: Floats) -> None:  # type: ignore[no-untyped-def]
    """p-values lie in [0, 1], fall with the score, and are equal for equal scores."""
    p = tail(scores)
    order = np.argsort(scores, kind="stable")
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p[order]) <= 0).all()
    assert (np.diff(p[order])[np.diff(scores[order]) == 0] == 0).all()


@pytest.mark.parametrize("tail", [rank_p, upper_tail])
@given(NUMBERS, st.randoms())
def test_p_values_move_with_their_samples(tail, scores: Floats, random) -> None:  # type: ignore[no-untyped-def]
    """Listing the samples in another order permutes the p-values and changes none."""
    order = np.array(random.sample(range(len(scores)), len(scores)))
    np.testing.assert_allclose(tail(scores[order]), tail(scores)[order], rtol=1e-9)


@given(NUMBERS)
def test_the_smallest_rank_p_is_one_in_n(scores: Floats) -> None:
    """A rank can be no more surprising than there are samples."""
    p = rank_p(scores)
    assert p.min() >= 1 / len(scores)
    assert p.max() == 1


@given(NUMBERS, st.floats(0.01, 100), st.floats(-100, 100))
def test_units_do_not_matter(scores: Floats, scale: float, shift: float) -> None:
    """Ranks are the same in any units; the tail's p-values too, for scores that can be told apart."""
    scores = np.round(scores)
    np.testing.assert_array_equal(rank_p(np.round(scores) * 2 + 7), rank_p(scores))
    if np.median(np.median(scores) - scores[scores <= np.median(scores)]) > 0:
        np.testing.assert_allclose(upper_tail(scores * scale + shift), upper_tail(scores), rtol=1e-4, atol=1e-9)


def test_the_tail_of_a_normal_class_is_what_it_says() -> None:
    """On clean normal scores the p-values are uniform, and half of them being poison does not move the lower half."""
    clean = np.random.default_rng(7).normal(5, 3, 20_000)
    for level in (0.01, 0.1, 0.5):
        assert (upper_tail(clean) <= level).mean() == pytest.approx(level, rel=0.15)
    with_poison = np.concatenate([clean, np.full(2000, 100.0)])
    assert upper_tail(with_poison)[:20_000][clean > 12].min() > 1e-5


def test_the_other_classes_object_and_never_accuse() -> None:
    """A group that other classes reach as well is none; one that they never reach stays as its own class sees it."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=200), rng.normal(12, 1, 20)])
    alone, _, z = group_members(scores, np.zeros(0), level=0.05, reach=1 / 3)
    calm, _, _ = group_members(scores, rng.normal(size=2000), level=0.05, reach=1 / 3)
    wild, _, _ = group_members(scores, rng.normal(0, 10, 2000), level=0.05, reach=1 / 3)
    assert set(np.flatnonzero(alone)) >= set(range(200, 220))
    np.testing.assert_array_equal(calm, np.arange(220) >= 200)
    assert not wild.any()
    assert z[200:].min() > z[:200].max()


def test_stragglers_on_the_way_to_a_group_are_no_members() -> None:
    """Significant is not enough: a member lies at least part of the way to the group's centre."""
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(size=300), np.full(5, 6.0), rng.normal(60, 1, 30)])
    members, _, _ = group_members(scores, np.zeros(0), level=0.05, reach=1 / 3)
    np.testing.assert_array_equal(members, np.arange(335) >= 305)


@pytest.mark.parametrize("height", [30.0, 60.0, 1e4])
@given(st.integers(0, 99), st.integers(1, 20))
def test_strays_in_the_tail_of_a_class_are_no_members_of_its_group(height: float, seed: int, strays: int) -> None:
    """Where a class clearly falls in two, its natural tail is surprising for the normal law, and honest."""
    rng = np.random.default_rng(seed)
    group = np.arange(300 + strays + 25) >= 300 + strays
    scores = np.concatenate([rng.normal(size=300), rng.uniform(3, 6, strays), rng.normal(height, 1, 25)])
    members, log_p, _ = group_members(scores, np.zeros(0), level=0.05, reach=1 / 3)
    np.testing.assert_array_equal(members, group)
    assert log_p[group].max() < log_p[~group].min()


def test_a_tail_without_a_group_names_few() -> None:
    """A clean class that is called suspect loses what is significant, which at the level is next to nobody."""
    rng = np.random.default_rng(3)
    lost = [group_members(rng.normal(size=300), np.zeros(0), level=0.05, reach=1 / 3)[0].mean() for _ in range(50)]
    assert np.mean(lost) < 0.005


@pytest.mark.parametrize("poison", [0, 5, 20, 60])
def test_scattered_members_keep_their_false_discovery_rate(poison: int) -> None:
    """Over many classes with poison that overlaps the honest: the mean share of honest ones stays at the level."""
    rng = np.random.default_rng(poison)
    shares, found = [], []
    for _ in range(200):
        innocent = rng.exponential(size=2000)
        scores = np.concatenate([rng.exponential(size=300), 4 + rng.exponential(2, poison)])
        members, log_p, _ = scattered_members(scores, innocent, level=0.25)
        shares.append(members[:300].sum() / max(1, members.sum()))
        found.append(members[300:].mean() if poison else 0.0)
        assert (log_p <= 0).all()
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) <= 0.25 + 3 * error
    assert poison < 20 or np.mean(found) > 0.5


def test_nobody_contradicts_more_than_all_others_where_there_are_no_others() -> None:
    """If every class is suspect, no honest scores are left to compare with, and nobody is a member."""
    members, log_p, _ = scattered_members(np.arange(50.0), np.zeros(0), level=0.25)
    assert not members.any()
    assert (log_p == 0).all()


@given(NUMBERS, NUMBERS)
def test_the_tail_share_is_a_count(scores: Floats, innocent: Floats) -> None:
    """How many of the others score at least as high, ties included."""
    expected = [(innocent >= score).mean() for score in scores]
    np.testing.assert_allclose(tail_share(scores, innocent), expected, rtol=1e-12)
