"""Isolated medoids: sparse is as good as dense, and no class disturbs another, whatever their sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from detectors.base import Evidence, Floats, Graph, Neighbors, Rows
from detectors.checks import auroc, planted
from detectors.facility import NOBODY, assignment, pick_medoids, singletons
from detectors.medoids import IsolatedMedoids, loneliness, select_medoids, similarities
from detectors.planted import brute_force, reordered

TRIAL_SEEDS = range(4)


def within_class(rows: Floats, labels: Rows | None = None) -> Neighbors:
    """The neighbour graph of rows within their class, all one class unless said otherwise."""
    labels = np.zeros(len(rows), dtype=np.int64) if labels is None else labels
    return brute_force(rows, labels, np.arange(len(rows), dtype=np.uint64), Graph("gradient", within_class=True))


def clusters(seed: int, size: int) -> Floats:
    """Some groups of different width, and some that belong to none."""
    rng = np.random.default_rng(seed)
    centres, widths = 4 * rng.normal(size=(6, 4)), rng.uniform(0.1, 1.5, 6)
    group = rng.integers(0, 6, size)
    rows = centres[group] + widths[group, None] * rng.normal(size=(size, 4))
    rows[:3] = 10 * rng.normal(size=(3, 4))
    return rows


def dense(rows: Floats) -> Floats:
    """All similarities, in the unit of the neighbour graph."""
    longest = within_class(rows).distances.astype(float)
    return np.exp(-cdist(rows, rows) / longest[np.isfinite(longest)].max())


def dense_greedy(similarity: Floats, count: int) -> list[int]:
    """Facility location by trying everybody, for every pick."""
    best, picked = np.zeros(len(similarity)), []
    for _ in range(count):
        gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
        gains[picked] = -1
        picked.append(int(gains.argmax()))
        best = np.maximum(best, similarity[:, picked[-1]])
    return picked


def served(similarity: Floats, picked: list[int] | Rows) -> float:
    """What facility location maximises."""
    return float(similarity[:, picked].max(axis=1).sum())


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_a_complete_graph_gives_what_comparing_all_pairs_gives(seed: int) -> None:
    """Where every pair is listed, lazy greedy picks what plain greedy picks, in its order."""
    rows = clusters(seed, 30)
    medoids, assigned = select_medoids(within_class(rows), np.arange(30), 9)
    similarity = dense(rows)
    np.testing.assert_array_equal(medoids, dense_greedy(similarity, 9))
    np.testing.assert_array_equal(assigned, medoids[similarity[:, medoids].argmax(axis=1)])


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_neighbours_are_nearly_as_good_as_all_pairs(seed: int, share: float) -> None:
    """Judged by all pairs, what is picked with few of them serves as well."""
    rows = clusters(seed, 250)
    count = int(share * 250)
    similarity = dense(rows)
    medoids, _ = select_medoids(within_class(rows), np.arange(250), count)
    assert served(similarity, medoids) >= 0.999 * served(similarity, dense_greedy(similarity, count))


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_fewer_medoids_are_the_first_of_more(seed: int) -> None:
    """One run serves every budget."""
    graph, everybody = within_class(clusters(seed, 120)), np.arange(120)
    many, _ = select_medoids(graph, everybody, 40)
    for count in (1, 5, 39):
        np.testing.assert_array_equal(select_medoids(graph, everybody, count)[0], many[:count])


@pytest.mark.parametrize("sizes", [(20, 150), (150, 20), (64, 65)], ids=str)
def test_classes_of_any_size_do_not_disturb_one_another(sizes: tuple[int, int]) -> None:
    """Two classes in one set, mixed, get the medoids and the assignments that each gets alone."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], sizes))
    rows = np.zeros((len(labels), 4))
    for label, size in enumerate(sizes):
        rows[labels == label] = (1 + 10 * label) * clusters(label, size)
    both = within_class(rows, labels)
    for label, size in enumerate(sizes):
        members = np.flatnonzero(labels == label)
        medoids, assigned = select_medoids(both, members, size // 5)
        alone, assigned_alone = select_medoids(within_class(rows[members]), np.arange(size), size // 5)
        np.testing.assert_array_equal(medoids, members[alone])
        found = assigned_alone != NOBODY
        np.testing.assert_array_equal(assigned[found], members[assigned_alone[found]])
        assert (assigned[~found] == NOBODY).all()


def test_a_class_alone_scores_as_it_does_among_others() -> None:
    """The same for the detector: unequal classes, one of them taken out."""
    evidence, _ = planted("mislabelled", seed=0)
    scores = IsolatedMedoids().score(evidence)
    for label in evidence.classes:
        rows = evidence.rows(int(label))
        graph = evidence.neighbors["gradient/class"]
        position = np.full(len(evidence) + 1, -1)
        position[rows] = np.arange(len(rows))
        of_class = {"gradient/class": Neighbors(graph.distances[rows], position[graph.indices[rows]])}
        alone = Evidence(evidence.labels[rows], evidence.class_names, evidence.keys[rows], {}, of_class)
        np.testing.assert_array_equal(IsolatedMedoids().score(alone), scores[rows])


def test_one_that_stands_alone_is_a_medoid_of_its_own_early() -> None:
    """Before the budget leaves single medoids to those who have company."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(100, 3))
    rows[42] = 50
    medoids, assigned = select_medoids(within_class(rows), np.arange(100), 10)
    assert 42 in medoids[:3]
    assert np.flatnonzero(singletons(assigned)).tolist() == [42]


def test_a_pair_is_not_isolated() -> None:
    """Two who stand together, far from all others, choose one of them."""
    rows = np.random.default_rng(1).normal(size=(100, 3))
    rows[42], rows[43] = 50, 50.1
    _, assigned = select_medoids(within_class(rows), np.arange(100), 10)
    assert assigned[42] == assigned[43] != NOBODY
    assert not singletons(assigned)[[42, 43]].any()


def test_a_single_medoid_once_is_a_single_medoid_ever_after() -> None:
    """More medoids only take members away, so counting budgets counts how early."""
    known = similarities(within_class(clusters(2, 200)), np.arange(200))
    picked = pick_medoids(known, 200)
    before = np.zeros(200, dtype=bool)
    for count in range(1, 201):
        after = singletons(assignment(known, picked[:count]))
        assert not (before & ~after).any()
        before = after
    assert before.all()


def test_a_row_far_from_every_medoid_is_assigned_to_nobody() -> None:
    """Its list holds none: whom it would have chosen is not known."""
    rows = np.concatenate([np.zeros((60, 2)), 100 + np.zeros((60, 2))]) + np.random.default_rng(0).random((120, 2))
    medoids, assigned = select_medoids(within_class(rows), np.arange(120), 1)
    far = np.arange(120) // 60 != medoids[0] // 60
    assert (assigned[far] == NOBODY).all()
    assert (assigned[~far] != NOBODY).any()


def test_ties_go_to_whoever_comes_first() -> None:
    """Copies serve equally well, so the order of the given rows decides, and nothing else."""
    graph = within_class(np.zeros((12, 2)))
    for rows in (np.arange(12), np.arange(12)[::-1]):
        medoids, _ = select_medoids(graph, rows, 1)
        assert medoids.tolist() == [rows[0]]


def test_a_copy_of_a_medoid_is_none() -> None:
    """Whichever of the two is picked, the other one adds nothing, so neither ends up chosen by nobody."""
    rows = np.repeat(clusters(5, 10), 3, axis=0)
    medoids, assigned = select_medoids(within_class(rows), np.arange(30), 25)
    assert len(medoids) == 10
    assert (np.bincount(assigned)[medoids] == 3).all()


def test_a_part_of_a_graph_is_enough() -> None:
    """Of a graph over the whole set only the links among the given rows count."""
    rows, chosen = clusters(3, 100), np.arange(0, 100, 2)
    medoids, assigned = select_medoids(within_class(rows), chosen, 8)
    assert np.isin(medoids, chosen).all()
    assert np.isin(assigned, [NOBODY, *medoids]).all()


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_no_more_medoids_than_rows(size: int) -> None:
    """Asked for more, it gives all."""
    medoids, assigned = select_medoids(within_class(clusters(0, 5)), np.arange(size), 10)
    assert sorted(medoids) == list(range(size))
    np.testing.assert_array_equal(assigned, np.arange(size))


def test_loneliness_has_no_unit() -> None:
    """Half is the median; nobody for a neighbour is no loneliness."""
    distances = np.array([[1.0], [2.0], [6.0]], dtype=np.float32)
    indices = np.array([[1], [0], [0]])
    found = loneliness(Neighbors(distances, indices), np.arange(3))
    np.testing.assert_allclose(found, [1 / 3, 1 / 2, 3 / 4])
    np.testing.assert_allclose(loneliness(Neighbors(1000 * distances, indices), np.arange(3)), found)
    assert loneliness(Neighbors(np.array([[np.inf]], dtype=np.float32), np.array([[-1]])), np.arange(1)) == [0]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_of_the_gradients_do_not_matter(scale: float) -> None:
    """The longest distance is the unit."""
    rows = clusters(0, 150)
    for found, expected in zip(
        select_medoids(within_class(scale * rows), np.arange(150), 30),
        select_medoids(within_class(rows), np.arange(150), 30),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_order_of_samples_changes_no_bit() -> None:
    """Rows are taken in the order of their content."""
    evidence, is_poison = planted("mislabelled", seed=2)
    order = np.random.default_rng(0).permutation(len(evidence))
    scores = IsolatedMedoids().score(evidence)
    np.testing.assert_array_equal(IsolatedMedoids().score(reordered(evidence, order)), scores[order])
    assert auroc(scores, is_poison) > 0.99


def test_the_only_one_of_its_class_is_not_isolated() -> None:
    """Nobody else could have chosen it."""
    evidence, _ = planted("mislabelled", seed=0)
    labels = evidence.labels.copy()
    labels[7] = 9
    graph = within_class(evidence.space("feature"), labels)
    alone = replace(evidence, labels=labels, neighbors={"gradient/class": graph})
    assert IsolatedMedoids().score(alone)[7] == 0
