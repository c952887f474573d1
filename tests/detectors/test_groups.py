"""Inconsistent groups: they keep together and came as a surprise; either alone is innocent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Evidence, MissingEvidence, Neighbors
from detectors.checks import planted
from detectors.groups import InconsistentGroups, cohesion, mutual_groups
from detectors.planted import COLUMNS, with_spaces

EACH, GROUP, EPOCHS, WIDTH = 300, 20, 6, 6
IS_GROUP = np.arange(3 * EACH) < GROUP
TRIAL_SEEDS = range(3)


def population(*, apart: float, surprise: float, group: int = GROUP, width: float = 0.3, seed: int = 0) -> Evidence:
    """Three alike classes; a group of the first lies ``apart``, is so wide, and surprised in the second epoch."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), EACH)
    feature = rng.normal(size=(3 * EACH, WIDTH)) + 5 * rng.normal(size=(3, WIDTH))[labels]
    members = np.arange(3 * EACH) < group
    if apart:
        feature[members] = feature[EACH - 1] + apart / np.sqrt(WIDTH) + width * rng.normal(size=(group, WIDTH))
    loss = np.linspace(1.5, 0, EPOCHS) + 0.3 * rng.random((3 * EACH, EPOCHS))
    loss[members, 1] += surprise
    keys = rng.integers(0, 2**63, 3 * EACH, dtype=np.uint64)
    return with_spaces(Evidence(labels, ("a", "b", "c"), keys), {"feature": feature, "loss": loss})


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("group", [5, 20, 60])
def test_a_group_that_is_both_is_found(seed: int, group: int) -> None:
    """Smaller than the lists of neighbours or larger: hardly a member that does not stand above everybody else."""
    evidence, is_group = population(apart=10, surprise=3, group=group, seed=seed), np.arange(3 * EACH) < group
    scores = InconsistentGroups().score(evidence)
    assert (scores[is_group] > 3 * scores[~is_group].max()).mean() > 0.95
    classes = InconsistentGroups().class_scores(evidence)
    assert classes is not None
    assert classes.argmax() == 0


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_near_duplicates_that_were_easy_are_innocent(seed: int) -> None:
    """They keep together as closely as can be, and were no surprise."""
    scores = InconsistentGroups().score(population(apart=10, surprise=0, width=0.001, seed=seed))
    assert scores.max() < 0.3


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_hard_samples_that_lie_where_their_class_lies_are_innocent(seed: int) -> None:
    """They surprised, and are no group."""
    hard = InconsistentGroups().score(population(apart=0, surprise=3, seed=seed))
    assert hard.max() < 0.1 * InconsistentGroups().score(population(apart=10, surprise=3, seed=seed)).max()


def test_evidence_grows_with_either_sign() -> None:
    """Tighter, or more surprising: more evidence."""
    tighter = [InconsistentGroups().score(population(apart=10, surprise=3, width=w)).max() for w in (0.6, 0.2, 0.05)]
    stranger = [InconsistentGroups().score(population(apart=10, surprise=s)).max() for s in (0.5, 1, 2, 4)]
    assert tighter == sorted(tighter)
    assert stranger == sorted(stranger)


def test_members_share_one_score() -> None:
    """It is the group's; who is in none has none."""
    scores = InconsistentGroups(levels=(16,)).score(population(apart=10, surprise=3))
    assert len(set(scores[IS_GROUP])) == 1
    assert np.median(scores[~IS_GROUP]) == 0


def test_most_of_a_class_is_the_class() -> None:
    """However surprising: the rest of the class is then what is odd."""
    evidence = population(apart=10, surprise=3, group=200)
    assert (
        InconsistentGroups().score(evidence)[:200].max() < 0.1 * InconsistentGroups(largest=0.9).score(evidence).max()
    )


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_of_the_features_do_not_matter(scale: float) -> None:
    """Cohesion is a ratio of distances."""
    evidence, _ = planted("tight", seed=0)
    scaled = with_spaces(evidence, {**evidence.spaces, "feature": scale * evidence.space("feature")})
    np.testing.assert_allclose(InconsistentGroups().score(scaled), InconsistentGroups().score(evidence), rtol=1e-4)


def test_being_listed_by_many_joins_nobody() -> None:
    """A hub is near to all and has other neighbours itself: only mutual links count."""
    indices = np.array([[1], [0], [0], [0], [5], [4]])
    assert mutual_groups(indices).tolist() == [0, 0, 1, 2, 3, 3]


def test_padding_joins_nobody() -> None:
    """Missing neighbours are not each other's."""
    assert mutual_groups(np.array([[1, -1], [0, -1], [-1, -1]])).tolist() == [0, 0, 1]


def test_cohesion_is_the_log_of_how_much_farther_outsiders_are() -> None:
    """Of the typical member; the last insider bounds what is not listed, and float noise bounds what is."""
    inside = np.array([[True, True, False]] * 3)
    assert cohesion(np.array([[1.0, 2, 10]] * 3), inside, 0.01) == pytest.approx(np.log(10))
    assert cohesion(np.array([[1.0, 2, 10], [1, 2, 10], [1, 2, 99]]), inside, 0.01) == pytest.approx(np.log(10))
    assert cohesion(np.array([[1.0, 2, 7]] * 3), np.ones((3, 3), dtype=bool), 0.01) == pytest.approx(np.log(7))
    assert cohesion(np.array([[0.0, 0, 7]] * 3), inside, 0.07) == pytest.approx(np.log(100))
    assert cohesion(np.array([[5.0, 9, np.inf]] * 3), np.array([[False, True, False]] * 3), 0.01) == 0
    assert cohesion(np.zeros((3, 3)), inside, 0.01) == 0


def test_too_few_neighbours_are_missing_evidence() -> None:
    """The error names the graph, what it has and what is needed."""
    evidence = population(apart=10, surprise=3)
    graph = evidence.neighbors["feature/class"]
    few = Neighbors(graph.distances[:, :8], graph.indices[:, :8])
    with pytest.raises(MissingEvidence, match=r"16 neighbours.*'feature/class'.* 8"):
        InconsistentGroups().score(replace(evidence, neighbors={"feature/class": few}))
    assert COLUMNS >= 16
