"""Labels that training never believed stand apart where it believed the rest, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.lines import cut_line
from detectors.unlearned import UnlearnedLabels, odds_of
from sanitizer.verdict import CLASS_MARGIN, LABEL_ODDS

CLASSES, EACH, EPOCHS = 4, 200, 8
LABELS = np.repeat(np.arange(CLASSES), EACH)
IS_WRONG = np.arange(len(LABELS)) % 20 == 0  # one in twenty, in every class


def trained(
    *, wrong: float = 0.03, right: float = 0.97, spread: float = 0.6, until: int = EPOCHS, seed: int = 0
) -> Evidence:
    """Losses of a training that gave right labels and wrong ones these probabilities, give or take.

    ``until``: the epoch from which on wrong labels are believed like right ones.
    """
    rng = np.random.default_rng(seed)
    doubted = IS_WRONG[:, None] & (np.arange(EPOCHS) < until)
    odds = np.where(doubted, np.log(wrong / (1 - wrong)), np.log(right / (1 - right)))
    losses = np.log1p(np.exp(-(odds + spread * rng.normal(size=(len(LABELS), 1)))))
    keys = rng.integers(0, 2**63, len(LABELS), dtype=np.uint64)
    return Evidence(LABELS, tuple("abcd"), keys, {"loss": losses.astype(np.float32)})


def heard(evidence: Evidence) -> bool:
    """Whether the odds count, by what clean data was met to show."""
    found = UnlearnedLabels().class_scores(evidence)
    assert found is not None
    assert UnlearnedLabels.innocent is not None
    assert len(set(found)) == 1  # training believes or does not, of the whole set
    return bool(found[0] >= CLASS_MARGIN * UnlearnedLabels.innocent)


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_are_called_wrong(seed: int) -> None:
    """At the odds that the verdict asks for, and hardly another."""
    evidence = trained(seed=seed)
    scores = UnlearnedLabels().score(evidence)
    called = scores >= np.log(LABEL_ODDS)
    assert heard(evidence)
    assert called[IS_WRONG].mean() > 0.9
    assert called[~IS_WRONG].mean() < 0.005
    assert auroc(scores, IS_WRONG) > 0.99


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "how",
    [
        {"wrong": 0.97},  # nobody stands apart
        {"wrong": 0.6, "right": 0.999},  # hard ones do, and were believed
        {"wrong": 0.25, "right": 0.75, "spread": 1.5},  # one cloud: the set is hard
    ],
    ids=["alike", "hard", "cloud"],
)
def test_hard_samples_are_not_wrong_ones(how: dict[str, float], seed: int) -> None:
    """What the network came to believe was learned, however late; what it cannot tell it does not say."""
    assert not heard(trained(**how, seed=seed))


def test_what_counts_is_the_end_of_the_training() -> None:
    """Who was contradicted at first, and believed at last, was learned."""
    assert not heard(trained(until=EPOCHS // 2))
    assert heard(trained(until=EPOCHS))


def test_some_classes_may_be_harder() -> None:
    """Losses are seen beyond the median of the class."""
    evidence = trained()
    harder = evidence.space("loss") * np.where(LABELS == 2, 1.5, 1.0)[:, None]
    again = Evidence(LABELS, evidence.class_names, evidence.keys, {"loss": harder})
    assert auroc(UnlearnedLabels().score(again), IS_WRONG) > 0.98


def test_odds_grow_along_the_line_and_are_even_between_the_groups() -> None:
    """Rarer groups need more; where nothing can be cut the scores only rank."""
    rng = np.random.default_rng(0)
    line = np.r_[rng.normal(size=190), 12 + rng.normal(size=10)]
    odds = odds_of(line, cut_line(line))
    assert (np.diff(odds[np.argsort(line)]) >= 0).all()
    assert (odds[-10:] > 0).all()
    assert (odds[:190] < 0).all()
    assert (odds_of(np.zeros(9), cut_line(np.zeros(9))) <= 0).all()
