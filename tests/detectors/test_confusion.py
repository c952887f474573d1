"""One-way confusion: a lean of all classes to one label is evidence, that of a single pair is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.confusion import LEAST_PROBABILITY, OneWayConfusion, answers, contradictions, one_way
from detectors.planted import Evidence, evidence_of, with_spaces
from sanitizer.verdict import CLASS_MARGIN

EVEN = np.full(8, 500.0)


def mutual(classes: int = 8, *, each: int = 5, seed: int = 0) -> np.ndarray:
    """Honest confusion: as often there as back, but for chance."""
    counts = np.random.default_rng(seed).poisson(each, (classes, classes)).astype(float)
    np.fill_diagonal(counts, 0)
    return counts


def residual_of(labels: np.ndarray, taken_for: np.ndarray, probability: np.ndarray | float, classes: int) -> np.ndarray:
    """Softmax - onehot of a network that takes each sample for one class and spreads the rest."""
    rest = (1 - np.broadcast_to(probability, labels.shape)) / (classes - 1)
    softmax = np.repeat(rest[:, None], classes, axis=1)
    softmax[np.arange(len(labels)), taken_for] = probability
    return softmax - np.eye(classes)[labels]


def test_who_is_confidently_taken_for_whom() -> None:
    """Samples that the network believes, or takes for another without being sure, bear no witness."""
    labels, taken_for = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 1])
    residual = residual_of(labels, taken_for, np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.7]), 3)
    said = answers(residual, labels)
    np.testing.assert_array_equal(contradictions(said, 3, 0.8), [[0, 1, 0], [0, 0, 0], [2, 0, 0]])
    np.testing.assert_array_equal(contradictions(said, 3, 0.6), [[0, 1, 0], [0, 0, 0], [2, 1, 0]])


def test_mutual_confusion_is_no_evidence() -> None:
    """However much of it there is, if it goes both ways."""
    counts = mutual(each=40)
    assert one_way(counts + counts.T, EVEN).max() == 0


def test_a_single_pair_that_leans_is_no_evidence() -> None:
    """Not even if a hundred samples of one class pass for another: the loudest witness is not heard."""
    counts = np.zeros((8, 8))
    counts[2, 5] = 100
    assert (one_way(counts, EVEN) == 0).all()
    counts += 5 - 5 * np.eye(8)
    assert (one_way(counts, EVEN) == 0).all()


@pytest.mark.parametrize("leaning", [2, 3])
def test_a_minority_of_pairs_that_lean_is_no_evidence(leaning: int) -> None:
    """However far they lean: a class may resemble a few others in one way only."""
    counts = mutual(each=5)
    counts = counts + counts.T
    counts[2, 4 : 4 + leaning] += 100
    assert (one_way(counts, EVEN) == 0).all()


def test_samples_of_all_classes_under_one_label_are_evidence() -> None:
    """A few from each class add up, against that label alone and far beyond what chance brings about."""
    counts = mutual(each=3)
    counts[2] += 12
    counts[2, 2] = 0
    evidence = one_way(counts, EVEN)
    chance = max(one_way(mutual(each=3, seed=seed), EVEN).max() for seed in range(1, 50))
    assert evidence.argmax() == 2
    assert evidence[2] > CLASS_MARGIN * OneWayConfusion.innocent
    assert evidence[2] > 1.5 * chance


def test_chance_alone_is_no_evidence() -> None:
    """Over many tables of mutual confusion the evidence stays below what clean data is known to show."""
    highest = [one_way(mutual(each=each, seed=seed), EVEN).max() for each in (1, 5, 20) for seed in range(60)]
    assert np.quantile(highest, 0.99) < OneWayConfusion.innocent


def test_larger_classes_bear_no_witness_against_smaller_ones() -> None:
    """Confusion leans towards the larger class; only classes of comparable size are asked, and at least three."""
    counts = np.zeros((8, 8))
    counts[0, 1:] = 10
    assert one_way(counts, np.array([100, *[500] * 7], float))[0] == 0
    assert one_way(counts, np.array([100, *[200] * 2, *[500] * 5], float))[0] == 0
    assert one_way(counts, np.array([100, *[200] * 3, *[500] * 4], float))[0] > 4


@given(st.integers(0, 99), st.randoms())
def test_the_names_of_classes_do_not_matter(seed: int, random) -> None:  # type: ignore[no-untyped-def]
    """Numbered otherwise, every class has the same evidence against it; none is negative."""
    counts, sizes = mutual(each=2, seed=seed), np.random.default_rng(seed).integers(0, 4, 8) * 100.0
    order = np.array(random.sample(range(8), 8))
    found = one_way(counts, sizes)
    np.testing.assert_allclose(one_way(counts[np.ix_(order, order)], sizes[order]), found[order], atol=1e-12)
    assert (found >= 0).all()


def flipped(count: int, *, towards: int = 1, source: int | None = None) -> Evidence:
    """Six classes of which the network knows the truth; some labels were changed to one class."""
    truth = np.repeat(np.arange(6), 200)
    labels = truth.copy()
    others = np.flatnonzero(truth != towards if source is None else truth == source)
    labels[np.random.default_rng(0).permutation(others)[:count]] = towards
    evidence = evidence_of(np.eye(6)[truth] + 0.01, labels)
    return with_spaces(evidence, {**evidence.spaces, "residual": residual_of(labels, truth, 0.95, 6)})


def test_flips_from_all_classes_convict_and_those_of_one_class_do_not() -> None:
    """Sixty labels changed to one class: by whom it looks decides whether it may be honest."""
    detector = OneWayConfusion()
    spread, pair = (detector.class_scores(flipped(60, source=source)) for source in (None, 3))
    assert spread is not None
    assert pair is not None
    assert spread.argmax() == 1
    assert spread[1] > 2 * detector.innocent
    assert (pair == 0).all()


def test_the_score_is_the_surprise_at_the_label() -> None:
    """Minus the logarithm of the probability that the network gives it; certain contradictions stay finite."""
    evidence = flipped(60)
    wrong = evidence.space("residual")[np.arange(1200), evidence.labels] < -0.5
    scores = OneWayConfusion().score(evidence)
    np.testing.assert_allclose(scores[~wrong], -np.log(0.95))
    np.testing.assert_allclose(scores[wrong], -np.log(0.01))
    certain = with_spaces(
        evidence, {**evidence.spaces, "residual": residual_of(evidence.labels, (evidence.labels + 1) % 6, 1.0, 6)}
    )
    np.testing.assert_allclose(OneWayConfusion().score(certain), -np.log(LEAST_PROBABILITY))


def test_classes_that_do_not_occur_have_no_score() -> None:
    """One number for each label in the set, whatever the width of the residual."""
    labels = np.repeat([0, 2, 5], 40)
    evidence = evidence_of(np.eye(6)[labels], labels)
    wide = with_spaces(evidence, {**evidence.spaces, "residual": residual_of(labels, labels, 0.9, 9)})
    found = OneWayConfusion().class_scores(wide)
    assert found is not None
    assert found.tolist() == [0, 0, 0]
