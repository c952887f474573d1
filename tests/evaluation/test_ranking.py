"""What is computed of scores and the truth: the laws that AUROC, recall, counts and intervals keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.evaluation.ranking import auroc, confusion, over_seeds, recall_at

#: Few values, so that ties are common.
SCORED = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(poison for _, poison in rows) < len(rows)
)
RATES = st.floats(0, 1)


def apart(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth as arrays."""
    return np.array([score for score, _ in rows], float), np.array([poison for _, poison in rows])


@given(SCORED)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool]]) -> None:
    """Ties count half: what the ranks give is what counting all pairs gives."""
    scores, truth = apart(rows)
    pairs = [(poison > clean) + (poison == clean) / 2 for poison in scores[truth] for clean in scores[~truth]]
    assert auroc(scores, truth) == pytest.approx(np.mean(pairs))


@given(SCORED)
def test_negation_mirrors_auroc(rows: list[tuple[int, bool]]) -> None:
    """Of the scores, or of the truth; both together change nothing."""
    scores, truth = apart(rows)
    found = auroc(scores, truth)
    assert found is not None
    assert auroc(-scores, truth) == pytest.approx(1 - found)
    assert auroc(scores, ~truth) == pytest.approx(1 - found)
    assert auroc(-scores, ~truth) == pytest.approx(found)


@given(SCORED, RATES, st.randoms(use_true_random=False))
def test_only_the_order_of_scores_counts(rows: list[tuple[int, bool]], rate: float, random: object) -> None:
    """A monotone map of the scores changes nothing, and neither does the order of the samples."""
    scores, truth = apart(rows)
    mapped = np.exp(scores / 3) - 7
    assert auroc(mapped, truth) == auroc(scores, truth)
    assert recall_at(mapped, truth, rate) == recall_at(scores, truth, rate)
    random.shuffle(rows)  # type: ignore[attr-defined]
    shuffled, mixed = apart(rows)
    assert auroc(shuffled, mixed) == pytest.approx(auroc(scores, truth))
    assert recall_at(shuffled, mixed, rate) == recall_at(scores, truth, rate)


@given(SCORED, RATES)
def test_recall_is_what_some_threshold_gives_within_the_rate(rows: list[tuple[int, bool]], rate: float) -> None:
    """It is the best recall of all thresholds that let no more clean samples pass than allowed."""
    scores, truth = apart(rows)
    allowed = int(rate * (~truth).sum() + 1e-9)
    passing = [scores > threshold for threshold in (-np.inf, *scores)]
    best = max(passed[truth].mean() for passed in passing if passed[~truth].sum() <= allowed)
    assert recall_at(scores, truth, rate) == pytest.approx(best)


@given(SCORED, RATES, RATES)
def test_recall_rises_with_the_rate(rows: list[tuple[int, bool]], one: float, other: float) -> None:
    """From that of the strictest threshold to all of it."""
    scores, truth = apart(rows)
    low, high = (recall_at(scores, truth, rate) for rate in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert low <= high
    assert recall_at(scores, truth, 1.0) == 1.0


def test_a_constant_score_finds_nothing() -> None:
    """Ties are held against the detector: at a low rate all clean samples would pass with the poison."""
    truth = np.arange(1000) < 10
    assert recall_at(np.zeros(1000), truth, 0.01) == 0.0
    assert auroc(np.zeros(1000), truth) == 0.5


def test_the_rate_is_a_share_of_the_clean_samples() -> None:
    """Of 300 clean ones three may pass at 1 %: binary fractions take none of them away."""
    scores = np.concatenate([np.arange(300.0), [296.5, 295.5]])
    truth = np.arange(302) >= 300
    assert recall_at(scores, truth, 0.01) == 0.5
    assert recall_at(scores, truth, 0.001) == 0.0


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_without_poison_or_without_clean_samples_there_is_no_figure(truth: list[bool]) -> None:
    """None, which is neither a success nor a failure."""
    scores = [1.0] * len(truth)
    assert auroc(scores, truth) is None
    assert recall_at(scores, truth, 0.01) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["clean", "poison", "cover"]))))
def test_every_sample_is_counted_once(rows: list[tuple[bool, str]]) -> None:
    """And a cover sample enters neither the recall nor the false positives."""
    found = confusion([flag for flag, _ in rows], [kind for _, kind in rows])
    assert found.poison + found.clean + found.cover == len(rows)
    assert found.poison_flagged + found.clean_flagged + found.cover_flagged == sum(flag for flag, _ in rows)
    without = [(flag, kind) for flag, kind in rows if kind != "cover"]
    same = confusion([flag for flag, _ in without], [kind for _, kind in without])
    assert (found.recall, found.false_positive_rate) == (same.recall, same.false_positive_rate)
    assert (found.recall is None) == (found.poison == 0)


def test_nothing_flagged_is_no_false_positive() -> None:
    """It is a recall of zero, and every poison is a miss."""
    found = confusion([False] * 3, ["poison", "poison", "clean"])
    assert (found.recall, found.false_positive_rate, found.poison - found.poison_flagged) == (0.0, 0.0, 2)


def test_the_interval_is_that_of_student() -> None:
    """By the table: t = 4.303 for three values."""
    found = over_seeds([1.0, 2.0, 3.0])
    half = 4.3027 / np.sqrt(3)
    assert (found.mean, found.runs) == (2.0, 3)
    assert found.low == pytest.approx(2 - half, abs=1e-4)
    assert found.high == pytest.approx(2 + half, abs=1e-4)
    with pytest.raises(ValueError, match="at least one"):
        over_seeds([])


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    """In 95 of 100 samples of a normal variable, about."""
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    held = [found.low <= 0 <= found.high for found in map(over_seeds, draws.tolist()) if found.low and found.high]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
