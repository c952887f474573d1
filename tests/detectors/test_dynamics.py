"""Training dynamics: surprise is a cautious lower bound, and what was never learned stands out."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.dynamics import PersistentLoss, surprise

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
