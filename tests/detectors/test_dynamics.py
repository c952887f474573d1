"""Training dynamics: surprise is a cautious lower bound, and what was never learned stands out."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Detector, Evidence
from detectors.checks import auroc
from detectors.dynamics import (
    LEARNED,
    AreaUnderMargin,
    EarlyEase,
    Forgetting,
    PersistentLoss,
    beyond_class,
    forgotten,
    log_odds,
    surprise,
)

EPOCHS = 6


def losses_of(size: int, group: int, *, excess: float, epoch: int = 1, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Falling losses, and a group that was this much worse in one epoch."""
    rng = np.random.default_rng(seed)
    losses = np.linspace(1, 0, EPOCHS) + noise * rng.random((size, EPOCHS))
    losses[:group, epoch] += excess
    return losses


def first(size: int, count: int) -> np.ndarray:
    """The first rows as a group."""
    return np.arange(size) < count


@pytest.mark.parametrize("excess", [0.0, -0.5, -5.0])
def test_an_easy_group_surprises_nobody(excess: float) -> None:
    """No worse than its class at any time: exactly zero."""
    losses = losses_of(300, 30, excess=excess)
    losses[:30] -= 0.1
    assert surprise(losses, first(300, 30)) == 0


def test_surprise_is_the_excess_loss_of_the_worst_epoch() -> None:
    """In nats, up to the standard error that is taken off, whichever epoch it was."""
    for epoch in range(EPOCHS):
        found = surprise(losses_of(2000, 500, excess=3, epoch=epoch), first(2000, 500))
        assert found == pytest.approx(3, abs=0.1)
        assert found < 3.02


def test_surprise_grows_with_the_excess() -> None:
    """A larger contradiction is a larger surprise, nat for nat."""
    values = [surprise(losses_of(300, 40, excess=excess), first(300, 40)) for excess in (0.5, 1, 2, 4)]
    np.testing.assert_allclose(np.diff(values), [0.5, 1, 2], rtol=1e-9)


def test_few_members_surprise_less() -> None:
    """The same excess in a smaller group is a weaker claim: the bound shrinks by its standard error."""
    rng = np.random.default_rng(1)
    losses = rng.normal(0, 1, (1000, EPOCHS))
    losses[:400, 2] += 3
    rest = list(range(400, 1000))
    means = []
    for size in (3, 6, 20, 400):
        draws = [losses[[*rng.permutation(400)[:size], *rest]] for _ in range(40)]
        means.append(np.mean([surprise(drawn, first(size + 600, size)) for drawn in draws]))
    assert means == sorted(means)
    assert means[0] < 2.2 < 2.7 < means[-1] < 3


@pytest.mark.parametrize("count", [0, 1, 300])
def test_nobody_one_and_everybody_are_no_group(count: int) -> None:
    """There is nothing to compare, or no spread to bound."""
    assert surprise(losses_of(300, 300, excess=5), first(300, count)) == 0


def test_more_caution_is_less_surprise() -> None:
    """Every standard error asked for is taken off."""
    losses, group = losses_of(300, 10, excess=2, noise=1.0), first(300, 10)
    values = [surprise(losses, group, errors=errors) for errors in (0, 1, 2, 4, 1000)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


def late_losses(seed: int) -> tuple[Evidence, np.ndarray]:
    """An easy class and a hard one, each with some labels that the network never believed."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 300)
    is_wrong = np.isin(np.arange(600), [5, 60, 123, 299, 301, 444, 599])
    losses = rng.gamma(2, 0.1, (600, EPOCHS)) + np.linspace(2, 0, EPOCHS) + labels[:, None]
    losses[is_wrong, EPOCHS // 2 :] += 2
    return Evidence(labels, ("a", "b"), np.arange(600, dtype=np.uint64), {"loss": losses}), is_wrong


@pytest.mark.parametrize("seed", range(3))
def test_mislabelled_samples_keep_their_loss(seed: int) -> None:
    """They rank above all others, in an easy class as in a hard one."""
    evidence, is_wrong = late_losses(seed)
    scores = PersistentLoss().score(evidence)
    assert auroc(scores, is_wrong) > 0.99
    assert np.median(scores[:300]) == pytest.approx(np.median(scores[300:]))


def test_what_was_hard_at_first_is_forgiven() -> None:
    """Only the second half of training counts."""
    evidence, _ = late_losses(0)
    losses = evidence.space("loss").copy()
    before = PersistentLoss().score(evidence)
    losses[:, : EPOCHS // 2] = np.random.default_rng(0).random((600, EPOCHS // 2)) * 100
    after = PersistentLoss().score(Evidence(evidence.labels, ("a", "b"), evidence.keys, {"loss": losses}))
    np.testing.assert_array_equal(after, before)


def test_a_single_epoch_is_half_enough() -> None:
    """The shortest history that there is."""
    evidence = Evidence(np.zeros(3, int), ("a",), np.arange(3, dtype=np.uint64), {"loss": np.array([[1.0], [2], [9]])})
    np.testing.assert_array_equal(PersistentLoss().score(evidence), [-1, 0, 7])


def history(losses: np.ndarray, labels: np.ndarray | None = None) -> Evidence:
    """Evidence of nothing but losses, all of one class unless said otherwise."""
    labels = np.zeros(len(losses), dtype=np.int64) if labels is None else labels
    names = [str(label) for label in range(labels.max() + 1)]
    return Evidence(labels, names, np.arange(len(losses), dtype=np.uint64), {"loss": losses})


def learned_from(epochs: list[int], *, classes: int = 10, total: int = 12) -> Evidence:
    """Samples that are guessed at until an epoch, and known from then on; in as many classes as said."""
    guess = np.log(classes)
    rows = np.where(np.arange(total) < np.array(epochs)[:, None], guess, 0.01)
    others = np.full((classes - 1, total), guess)
    labels = np.concatenate([np.zeros(len(epochs), dtype=np.int64), np.arange(1, classes)])
    return history(np.concatenate([rows, others]), labels)


def test_the_sooner_learned_the_easier() -> None:
    """Also what was known before its first loss was taken; after the first third nobody is early."""
    scores = EarlyEase().score(learned_from([0, 1, 2, 3, 4, 6, 11]))[:7]
    assert (np.diff(scores[:5]) < 0).all()
    assert np.ptp(scores[4:]) == pytest.approx(0, abs=1e-12)


def test_what_was_first_taken_for_something_else_has_farther_to_fall() -> None:
    """Two are known from the second epoch on; the one that had been misunderstood gained more."""
    evidence = learned_from([1, 1, 5, 5, 5])
    losses = evidence.space("loss").copy()
    losses[0, 0] = 8
    scores = EarlyEase().score(history(losses, evidence.labels))
    assert scores[0] > scores[1] > scores[2]


def test_what_stays_hard_is_not_easy() -> None:
    """A high first loss alone is no fall."""
    evidence = learned_from([1, 5, 5, 5])
    losses = evidence.space("loss").copy()
    losses[1] = 8
    scores = EarlyEase().score(history(losses, evidence.labels))
    assert scores[1] == pytest.approx(scores[2])
    assert scores[0] > scores[1]


def test_log_odds_are_those_of_the_probability() -> None:
    """log(p / (1 - p)) by its definition, and finite where p rounds to one or none."""
    probability = np.array([0.01, 0.3, 0.5, 0.9, 0.99])
    np.testing.assert_allclose(log_odds(-np.log(probability)), np.log(probability / (1 - probability)), rtol=1e-9)
    assert np.isfinite(log_odds(np.array([0.0, 1e-12, 700.0, 1e5]))).all()
    assert (np.diff(log_odds(np.linspace(0.01, 50, 200))) < 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_low_margin_is_suspicious(seed: int) -> None:
    """Mislabelled samples rank above the others of an easy class as of a hard one."""
    evidence, is_wrong = late_losses(seed)
    assert auroc(AreaUnderMargin().score(evidence), is_wrong) > 0.99


def test_every_epoch_counts_for_the_margin() -> None:
    """One that was believed late, and one that was doubted late, are between the others."""
    low, high = np.full(4, 0.1), np.full(4, 2.0)
    rows = np.stack([low, np.r_[high[:2], low[:2]], np.r_[low[:2], high[:2]], high])
    scores = AreaUnderMargin().score(history(rows))
    assert scores[1] == pytest.approx(scores[2])
    assert scores[0] < scores[1] < scores[3]


def test_only_what_was_learned_can_be_forgotten() -> None:
    """A rise counts after the label had been more likely than not, each time anew."""
    rows = np.array(
        [
            [3.0, 4.0, 2.0, 0.1],  # rose before it was learned
            [3.0, 0.1, 2.1, 0.1],  # forgotten once
            [0.1, 2.1, 0.1, 2.1],  # forgotten twice
            [0.5, 0.4, 0.3, 0.2],  # never forgotten
        ]
    )
    np.testing.assert_allclose(forgotten(rows), [0, 2, 4, 0])


def test_never_learned_is_worse_than_forgotten_once() -> None:
    """By all that was missing in every epoch."""
    once, never = np.array([2.0, 0.1, 2.0, 0.1]), np.full(4, 2.0)
    found = forgotten(np.stack([once, never]))
    assert found[1] > found[0]
    assert found[1] == pytest.approx(4 * (2 - LEARNED))


def test_an_epoch_alone_cannot_be_forgotten() -> None:
    """The shortest history: learned, or all of it missing."""
    np.testing.assert_allclose(forgotten(np.array([[0.1], [2.0]])), [0, 2 - LEARNED])


@pytest.mark.parametrize("detector", [EarlyEase(), AreaUnderMargin(), Forgetting(), PersistentLoss()], ids=repr)
def test_the_typical_sample_of_every_class_scores_nothing(detector: Detector) -> None:
    """Hard classes are not suspicious for being hard."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 101)
    losses = rng.gamma(2, 0.3, (303, EPOCHS)) * (1 + labels[:, None])
    scores = detector.score(history(losses, labels))
    for label in range(3):
        assert np.median(scores[labels == label]) == pytest.approx(0, abs=1e-12)


def test_beyond_the_class_is_beyond_its_median() -> None:
    """Class by class."""
    labels = np.array([0, 4, 0, 4, 0])
    np.testing.assert_array_equal(
        beyond_class(np.array([1.0, 10, 2, 20, 9]), history(np.zeros((5, 1)), labels)), [-1, -5, 0, 5, 7]
    )
