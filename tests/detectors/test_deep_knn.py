"""Deep k-NN: neighbours vote, and the odds are those of Laplace's rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import Evidence, MissingEvidence, Neighbors
from detectors.checks import auroc, planted
from detectors.deep_knn import DeepKNN, log_odds, votes
from detectors.planted import evidence_of


def graph_of(indices: np.ndarray) -> Neighbors:
    """A graph of which only the neighbours' names count."""
    return Neighbors(np.zeros(indices.shape, np.float32), indices.astype(np.int64))


@given(st.integers(1, 30), st.integers(0, 8), st.integers(1, 5), st.integers(0, 99))
def test_votes_are_counted_one_by_one(size: int, columns: int, classes: int, seed: int) -> None:
    """Every real neighbour has one voice, for its own label; padding has none."""
    rng = np.random.default_rng(seed)
    indices, labels = rng.integers(-1, size, (size, columns)), rng.integers(0, classes, size)
    expected = np.zeros((size, classes))
    for row in range(size):
        for other in indices[row]:
            if other >= 0:
                expected[row, labels[other]] += 1
    np.testing.assert_array_equal(votes(indices, labels, classes), expected)


def test_odds_compare_the_best_other_label_with_the_own_one() -> None:
    """The best of the others alone counts, one voice is added to both, and no neighbours are even odds."""
    counts = np.array([[9, 3, 4], [0, 0, 12], [5, 5, 0], [0, 0, 0]], float)
    labels = np.array([0, 1, 0, 2])
    np.testing.assert_allclose(log_odds(counts, labels), np.log([5 / 10, 13 / 1, 6 / 6, 1]))
    np.testing.assert_array_equal(counts[0], [9, 3, 4])


def test_a_single_class_has_no_other_label() -> None:
    """Nothing speaks against the only label there is."""
    assert (log_odds(np.array([[7.0], [0.0]]), np.array([0, 0])) <= 0).all()


def with_label(evidence: Evidence, row: int, label: int) -> Evidence:
    """The same set with one label changed."""
    labels = evidence.labels.copy()
    labels[row] = label
    return replace(evidence, labels=labels)


def far_apart(sizes: tuple[int, ...] = (60, 60, 60)) -> Evidence:
    """Classes whose reference features nobody could confuse."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return evidence_of(10 * np.eye(8)[labels] + rng.random((len(labels), 8)), labels)


def test_a_flipped_label_is_called_wrong_at_overwhelming_odds() -> None:
    """All neighbours agree on the old one; the honest ones stay certain."""
    evidence = with_label(far_apart(), 5, 2)
    scores = DeepKNN().score(evidence)
    assert scores[5] == pytest.approx(np.log(33))
    assert scores.argmax() == 5
    assert np.delete(scores, 5).max() < np.log(0.2)


@pytest.mark.parametrize(("copies", "caught"), [(14, True), (20, False)])
def test_copies_outvote_up_to_half_of_the_neighbours(copies: int, caught: bool) -> None:
    """An attacker who puts fewer than half of k side by side is outvoted by those who were there."""
    evidence = far_apart()
    labels = evidence.labels.copy()
    labels[:copies] = 2
    near = np.concatenate([np.arange(copies), np.arange(20, 60)])  # those side by side come first
    indices = np.array([[other for other in near if other != row][:32] for row in range(180)])
    moved = replace(evidence, labels=labels, neighbors={"reference": graph_of(indices)})
    assert bool((DeepKNN().score(moved)[:copies] > 0).all()) is caught


def test_only_the_nearest_k_vote() -> None:
    """A wider graph changes nothing, a narrower one is missing evidence, said in so many words."""
    evidence = far_apart()
    narrow = DeepKNN(k=5).score(evidence)
    graph = evidence.neighbors["reference"]
    cut = replace(evidence, neighbors={"reference": graph_of(graph.indices[:, :5])})
    np.testing.assert_array_equal(DeepKNN(k=5).score(cut), narrow)
    with pytest.raises(MissingEvidence, match="needs 32 neighbours; 'reference' has 5"):
        DeepKNN().score(cut)


def test_it_sees_what_a_trained_network_was_bent_to_overlook() -> None:
    """In the reference, samples with a trigger still look like what they are."""
    for seed in range(3):
        evidence, is_poison = planted("shifted", seed=seed)
        assert auroc(DeepKNN().score(evidence), is_poison) > 0.9
