"""Isolation forest: the sign is right, and only the content of samples decides what trees are grown from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as Forest

from detectors.base import Evidence
from detectors.checks import auroc, planted
from detectors.isolation import USUAL, IsolationForest, isolation
from detectors.planted import reordered

FEW = IsolationForest(trees=30)


def lonely(seed: int = 0) -> tuple[Evidence, np.ndarray]:
    """Two classes, and five samples that lie far from theirs, each elsewhere."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 200)
    feature = rng.normal(size=(400, 8)) + 10 * labels[:, None]
    is_lonely = np.isin(np.arange(400), [3, 50, 199, 222, 360])
    feature[is_lonely] += 8 * rng.choice([-1, 1], size=(5, 8))
    keys = rng.integers(0, 2**63, 400, dtype=np.uint64)
    return Evidence(labels, ("a", "b"), keys, {"feature": feature}), is_lonely


@pytest.mark.parametrize("seed", range(3))
def test_what_is_set_apart_scores_high(seed: int) -> None:
    """The library's own value falls where suspicion rises, and who forgets to turn it ranks poison last."""
    evidence, is_lonely = lonely(seed)
    assert auroc(FEW.score(evidence), is_lonely) > 0.99
    raw = Forest(n_estimators=30, random_state=0).fit(evidence.space("feature")[:200])
    assert auroc(raw.score_samples(evidence.space("feature")[:200]), is_lonely[:200]) < 0.01


@pytest.mark.parametrize("size", [3, 100, 600])
def test_scores_are_those_of_the_library(size: int) -> None:
    """For classes smaller and larger than what a tree is grown from."""
    rows = np.random.default_rng(size).normal(size=(size, 7))
    rows -= rows.mean(axis=0)
    rows /= np.sqrt((rows**2).mean())
    forest = Forest(n_estimators=20, random_state=3).fit(rows)
    np.testing.assert_allclose(isolation(rows, trees=20, seed=3), -forest.score_samples(rows), rtol=1e-12)


def test_scores_lie_between_none_and_one_around_the_usual() -> None:
    """As in the paper: half is usual, and near one is set apart at once."""
    evidence, is_lonely = lonely()
    scores = FEW.score(evidence)
    assert ((scores > 0) & (scores < 1)).all()
    assert np.median(scores) == pytest.approx(USUAL, abs=0.1)
    assert scores[is_lonely].min() > 0.6


def test_the_order_of_samples_changes_no_bit() -> None:
    """Rows enter the forest in the order of their content."""
    evidence, _ = planted("dispersed", seed=0)
    order = np.random.default_rng(1).permutation(len(evidence))
    np.testing.assert_array_equal(FEW.score(reordered(evidence, order)), FEW.score(evidence)[order])


def test_other_classes_do_not_matter() -> None:
    """A class alone scores as it does among others."""
    evidence, _ = lonely()
    rows = evidence.rows(1)
    alone = Evidence(
        evidence.labels[rows], ("a", "b"), evidence.keys[rows], {"feature": evidence.space("feature")[rows]}
    )
    np.testing.assert_array_equal(FEW.score(alone), FEW.score(evidence)[rows])


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_units_do_not_matter(scale: float) -> None:
    """Trees cut nothing finer than a fixed width, so rows are brought to one scale."""
    evidence, _ = lonely()
    scaled = replace(evidence, spaces={"feature": scale * evidence.space("feature")})
    np.testing.assert_allclose(FEW.score(scaled), FEW.score(evidence), rtol=1e-6)


def test_another_seed_is_another_opinion_about_the_same() -> None:
    """The seed is a setting that decides details."""
    evidence, is_lonely = lonely()
    scores, others = FEW.score(evidence), IsolationForest(trees=30, seed=1).score(evidence)
    assert (scores != others).any()
    assert np.corrcoef(scores, others)[0, 1] > 0.8
    assert auroc(others, is_lonely) > 0.99


@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.arange(6.0).reshape(2, 3), np.full((9, 3), 0.1)], ids=len)
def test_nothing_can_be_set_apart_from_nothing(rows: np.ndarray) -> None:
    """One sample, two, or many copies of one."""
    np.testing.assert_array_equal(isolation(rows, trees=5, seed=0), np.full(len(rows), USUAL))
