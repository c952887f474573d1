"""Two groups in a class: the split depends on nothing but the data, and one cloud does not fall apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Detector
from detectors.checks import planted
from detectors.clustering import (
    CUT_CLOUD,
    ActivationClustering,
    WhitenedTwoMeans,
    cut,
    sharpened,
    tail_splits,
    two_means,
)
from detectors.planted import evidence_of


def two_clouds(gap: float, *, sizes: tuple[int, int] = (300, 30), width: int = 6, seed: int = 0) -> np.ndarray:
    """Two normal clouds, so far apart along one axis; the second one is the smaller."""
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), width))
    rows[sizes[0] :, 0] += gap
    return rows


def test_two_means_finds_two_clouds_from_a_poor_start() -> None:
    """Half of everything, sorted by another axis, is start enough."""
    rows = two_clouds(12, sizes=(200, 150))
    group = two_means(rows, rows[:, 0] + 3 * rows[:, 1] > 0)
    assert group[200:].all()
    assert not group[:200].any()


@pytest.mark.parametrize("split", [two_means, sharpened])
def test_the_order_of_rows_changes_no_split(split) -> None:  # type: ignore[no-untyped-def]
    """Nothing is drawn at random, and the start moves with the rows."""
    rows = two_clouds(4)
    start = rows[:, 0] > 1
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_array_equal(split(rows[order], start[order]), split(rows, start)[order])


@pytest.mark.parametrize("split", [two_means, sharpened])
@pytest.mark.parametrize("count", [0, 1, 10], ids="start with {}".format)
def test_a_start_with_nobody_on_one_side_is_no_start(split, count: int) -> None:  # type: ignore[no-untyped-def]
    """Nothing to compare: the start comes back, and nothing is divided by zero."""
    rows = np.random.default_rng(2).normal(size=(10, 3))
    start = np.arange(10) < count
    np.testing.assert_array_equal(split(rows, start), start)


def test_fisher_sees_past_a_loud_axis() -> None:
    """A gap along a quiet axis is found although another axis varies ten times as much."""
    rows = two_clouds(6, sizes=(400, 60))
    rows[:, 1] *= 10
    truth = np.arange(460) >= 400
    start = rows[:, 0] > 5
    assert (sharpened(rows, start) == truth).mean() > 0.98
    assert (two_means(rows, start) == truth).mean() < 0.8


@pytest.mark.parametrize("gap", [4.0, 8.0, 16.0])
def test_the_gap_is_the_distance_of_the_means_in_units_of_spread(gap: float) -> None:
    """For two clouds of unit spread, with the smaller one as the minority whichever way they were given."""
    rows, truth = two_clouds(gap, sizes=(3000, 600), width=3), np.arange(3600) >= 3000
    one, other = cut(rows, truth), cut(rows, ~truth)
    assert one.gap == pytest.approx(gap, rel=0.06)
    assert one.gap == pytest.approx(other.gap)
    np.testing.assert_array_equal(one.minority, truth)
    np.testing.assert_array_equal(other.minority, truth)
    assert one.position[truth].mean() == pytest.approx(one.gap)
    assert one.position[~truth].mean() == pytest.approx(0, abs=1e-9)


def test_one_cloud_cut_in_two_has_the_gap_of_its_name() -> None:
    """Half a Gaussian against the other half, for many samples: 2.65 spreads."""
    rows = np.random.default_rng(3).normal(size=(200_000, 1))
    assert cut(rows, rows[:, 0] > 0).gap == pytest.approx(CUT_CLOUD, abs=0.02)


def test_no_cut_of_a_large_cloud_is_much_wider() -> None:
    """Searched from both tails of every axis, one Gaussian cloud offers hardly more than its middle."""
    rows = np.random.default_rng(4).normal(size=(20_000, 4))
    widest = max(split.gap for split in tail_splits(rows, tail=0.05))
    assert CUT_CLOUD - 0.1 < widest < CUT_CLOUD + 0.25


def test_a_cut_without_a_second_group_is_nothing() -> None:
    """Nobody, one alone, everybody, or rows that are all the same."""
    rows = np.random.default_rng(5).normal(size=(20, 3))
    for group in (np.zeros(20, bool), np.ones(20, bool), np.arange(20) == 3):
        assert cut(rows, group).gap == 0
        assert not cut(rows, group).minority.any()
    assert cut(np.ones((20, 3)), np.arange(20) < 5).gap == 0
    assert cut(np.repeat([[0.0], [1.0]], 10, axis=0), np.arange(20) < 10).gap == 0


@pytest.mark.parametrize("detector", [WhitenedTwoMeans(), ActivationClustering()], ids=repr)
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_units_change_no_score(detector: Detector, scale: float) -> None:
    """Features in other units, the same scores and gaps."""
    evidence, _ = planted("shifted", seed=0)
    scaled = replace(evidence, spaces={**evidence.spaces, "feature": scale * evidence.space("feature")})
    np.testing.assert_allclose(detector.score(scaled), detector.score(evidence), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(detector.class_scores(scaled), detector.class_scores(evidence), rtol=1e-6)


@pytest.mark.parametrize("detector", [WhitenedTwoMeans(), ActivationClustering()], ids=repr)
def test_turning_the_space_changes_no_score(detector: Detector) -> None:
    """No coordinate is special."""
    evidence, _ = planted("tight", seed=1)
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(16, 16)))[0]
    turned = replace(evidence, spaces={**evidence.spaces, "feature": evidence.space("feature") @ rotation})
    np.testing.assert_allclose(detector.score(turned), detector.score(evidence), rtol=1e-5, atol=1e-6)


def test_a_class_that_does_not_split_scores_low() -> None:
    """Positions count for as much as the gap is wider than a cut cloud's, so scores of classes can be compared."""
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1], 2000)
    rows = np.concatenate([rng.normal(size=(2000, 4)), rng.uniform(-1, 1, size=(2000, 4))])
    rows[:40, 0] += 12
    scores = WhitenedTwoMeans().score(evidence_of(rows, labels))
    assert scores[:40].min() > 20
    assert np.abs(scores[2000:]).max() < scores[:40].min() / 4
