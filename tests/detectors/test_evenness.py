"""Labels changed at random are contradicted in every direction; natural confusion has favourites."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.confusion import answered
from detectors.evenness import ENOUGH_CLASSES, EvenContradictions, contradiction
from sanitizer.verdict import CLASS_MARGIN, LABEL_ODDS

EACH = 400


def seen(
    *, flipped: float = 0.0, confused: float = 0.05, classes: int = ENOUGH_CLASSES, seed: int = 0
) -> tuple[Evidence, np.ndarray]:
    """What a network says of a set of which it learned most, and which labels are wrong.

    ``flipped``: the share of labels that are changed at random. ``confused``: the share of samples that look like
    their class's one neighbour, which no network tells apart.
    """
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(classes), EACH)
    looks = np.where(rng.random(len(true)) < confused, true ^ 1, true) % classes
    wrong = rng.random(len(true)) < flipped
    labels = np.where(wrong, (true + rng.integers(1, classes, len(true))) % classes, true)
    logits = 4 * np.eye(classes)[looks] + 0.8 * rng.normal(size=(len(true), classes))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = probability[np.arange(len(true)), labels]
    losses = -np.log(own)[:, None] + 0.3 * rng.random((len(true), 6))
    residual = (probability - np.eye(classes)[labels]).astype(np.float32)
    keys = rng.integers(0, 2**63, len(true), dtype=np.uint64)
    names = tuple(map(str, range(classes)))
    return Evidence(labels, names, keys, {"residual": residual, "loss": losses.astype(np.float32)}), wrong


def heard(evidence: Evidence) -> bool:
    """Whether the odds count, by what clean data was met to show."""
    found = EvenContradictions().class_scores(evidence)
    assert found is not None
    assert EvenContradictions.innocent is not None
    return bool(found[0] >= CLASS_MARGIN * EvenContradictions.innocent)


@pytest.mark.parametrize("seed", range(3))
def test_labels_changed_at_random_are_called_wrong(seed: int) -> None:
    """Most of them, at the odds that the verdict asks for; of the confused pairs fewer than there are."""
    evidence, wrong = seen(flipped=0.2, seed=seed)
    scores = EvenContradictions().score(evidence)
    called = scores >= np.log(LABEL_ODDS)
    assert heard(evidence)
    assert called[wrong].mean() > 0.7
    assert called[~wrong].mean() < 0.05
    assert auroc(scores, wrong) > 0.9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", [{}, {"confused": 0.3}, {"confused": 0.0}], ids=["clean", "hard", "easy"])
def test_natural_confusion_is_not_heard(how: dict[str, float], seed: int) -> None:
    """However much of it there is."""
    assert not heard(seen(**how, seed=seed)[0])


def test_a_few_classes_may_all_be_alike() -> None:
    """There, evenness says nothing."""
    assert heard(seen(flipped=0.2)[0])
    assert not heard(seen(flipped=0.2, classes=ENOUGH_CLASSES - 2)[0])


def test_a_doubt_counts_for_less_where_doubts_are_usual() -> None:
    """Two equal doubts, one in a pair of look-alikes: the other pair's is worth more."""
    evidence, _ = seen(flipped=0.2)
    odds, instead = contradiction(answered(evidence))
    scores = EvenContradictions().score(evidence)
    doubted = odds > 3
    usual = doubted & (instead == evidence.labels ^ 1)
    assert scores[doubted & ~usual].mean() > scores[usual].mean() + 0.5


def test_names_of_classes_do_not_matter() -> None:
    """Numbered otherwise, the same samples get the same odds."""
    evidence, _ = seen(flipped=0.2)
    renumbered = np.random.default_rng(1).permutation(ENOUGH_CLASSES)
    residual = evidence.space("residual")[:, np.argsort(renumbered)]
    spaces = {"residual": residual, "loss": evidence.space("loss")}
    moved = Evidence(renumbered[evidence.labels], evidence.class_names, evidence.keys, spaces)
    np.testing.assert_allclose(EvenContradictions().score(moved), EvenContradictions().score(evidence), rtol=1e-5)
