"""Curves: few points, each of them exact, and what is read off them is what all thresholds would say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from sanitizer.evaluation import ranking
from sanitizer.evaluation.curves import RATES, RECALLS, precision_at, recall_at, thinned

#: Few values, so that ties are common.
SCORED = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(poison for _, poison in rows) < len(rows)
)


def apart(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth as arrays."""
    return np.array([score for score, _ in rows], float), np.array([poison for _, poison in rows])


def drawn(samples: int = 20000, poison: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a set in which the poison scores higher, but not always."""
    truth = np.arange(samples) < poison
    return np.random.default_rng(seed).normal(size=samples) + 2 * truth, truth


def points(scores: np.ndarray, truth: np.ndarray) -> list[tuple[int, int]]:
    """What is kept, as pairs of clean and poisoned samples."""
    kept = thinned(scores, truth)
    assert kept is not None
    return list(zip(kept["clean"], kept["poison"], strict=True))


def assert_points_are_exact(scores: np.ndarray, truth: np.ndarray) -> None:
    """Each is a point of scikit-learn's curves, which know all thresholds."""
    kept = points(scores, truth)
    false_rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    clean, poison = np.sum(~truth), np.sum(truth)
    assert set(kept) <= set(zip(np.rint(false_rates * clean), np.rint(recalls * poison), strict=True))
    precisions, recalls, _ = precision_recall_curve(truth, scores)
    known = {(round(float(r), 9), round(float(p), 9)) for p, r in zip(precisions[:-1], recalls[:-1], strict=True)}
    assert {(round(float(b / poison), 9), round(b / (a + b), 9)) for a, b in kept if a + b} <= known


@given(SCORED)
def test_every_point_is_one_of_all_thresholds(rows: list[tuple[int, bool]]) -> None:
    """With ties, which pass together; from nobody to everybody, rising."""
    scores, truth = apart(rows)
    assert_points_are_exact(scores, truth)
    kept = points(scores, truth)
    assert kept[0] == (0, 0)
    assert kept[-1] == ((~truth).sum(), truth.sum())
    assert kept == sorted(set(kept))
    assert [poison for _, poison in kept] == sorted(poison for _, poison in kept)


@given(SCORED)
def test_what_is_read_off_is_what_all_thresholds_say(rows: list[tuple[int, bool]]) -> None:
    """Thinning costs nothing where the curve is read: recall at the rates, the best precision at the recalls."""
    scores, truth = apart(rows)
    kept = thinned(scores, truth)
    assert kept is not None
    assert [recall_at(kept, rate) for rate in RATES] == pytest.approx(
        [ranking.recall_at(scores, truth, rate) for rate in RATES]
    )
    precisions, recalls, _ = precision_recall_curve(truth, scores, drop_intermediate=False)
    for wanted in RECALLS:
        strictest = np.flatnonzero(recalls[:-1] >= wanted - 1e-9)[-1]
        assert precision_at(kept, wanted) == pytest.approx(precisions[strictest])


@given(SCORED, st.randoms(use_true_random=False))
def test_only_the_order_of_scores_counts(rows: list[tuple[int, bool]], random: object) -> None:
    """A monotone map changes no point, and neither does the order of the samples."""
    scores, truth = apart(rows)
    kept = points(scores, truth)
    assert points(np.exp(scores / 3) - 7, truth) == kept
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert points(*apart(rows)) == kept


def test_a_large_set_has_few_points() -> None:
    """Exact ones, at low rates too, and not many letters of JSON."""
    scores, truth = drawn()
    assert_points_are_exact(scores, truth)
    kept = points(scores, truth)
    assert 20 < len(kept) <= len(RATES) + len(RECALLS) + 2
    assert sum(0 < clean <= 200 for clean, _ in kept) >= 5
    assert len(json.dumps(thinned(scores, truth), indent=1)) < 1000


def test_a_constant_score_has_nothing_between_the_ends() -> None:
    """Everybody passes, or nobody."""
    assert points(np.zeros(10), np.arange(10) < 3) == [(0, 0), (7, 3)]


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_without_poison_or_without_clean_samples_there_is_no_curve(truth: list[bool]) -> None:
    """None, which is no flat line."""
    assert thinned([1.0] * len(truth), truth) is None
