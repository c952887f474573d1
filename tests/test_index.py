"""Neighbours: all engines agree with each other and with comparing all pairs."""

from __future__ import annotations

import functools
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from detectors.base import Graph, Neighbors
from sanitizer.embed.gradients import sketch, squared_distances
from sanitizer.errors import MissingDependency
from sanitizer.index import Engine, Group, engines, halved, nearest, pairs, search, tiles
from sanitizer.index.best import Best

needs_faiss = pytest.mark.skipif(find_spec("faiss") is None, reason="FAISS is not installed")
ENGINES = [pytest.param("bf16"), pytest.param("torch"), pytest.param("faiss", marks=needs_faiss)]
K = 5


@pytest.fixture
def rows() -> np.ndarray:
    """Features as a probe leaves them: never negative, far from the origin, half precision."""
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(2, 1, (300, 24)) + 3 * rng.random(24), 0).astype(np.float16)


def everyone(rows: np.ndarray) -> list[Group]:
    """One group: all ask, among all."""
    return [(np.arange(len(rows)), np.arange(len(rows)))]


def by_label(labels: np.ndarray) -> list[Group]:
    """One group a label."""
    return [(members, members) for members in (np.flatnonzero(labels == label) for label in np.unique(labels))]


def brute_force(rows: np.ndarray, groups: list[Group], k: int) -> Neighbors:
    """Every pair compared."""
    pairs = cdist(rows.astype(np.float64), rows.astype(np.float64))
    distances = np.full((len(rows), k), np.inf, np.float32)
    indices = np.full((len(rows), k), -1)
    for asking, among in groups:
        for row in asking:
            others = among[among != row]
            found = others[np.argsort(pairs[row, others], kind="stable")][:k]
            distances[row, : len(found)], indices[row, : len(found)] = pairs[row, found], found
    return Neighbors(distances, indices)


def assert_same(found: Neighbors, expected: Neighbors) -> None:
    """The same neighbours at the same distances."""
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chunk", [4096, 37])
def test_neighbours_are_those_of_comparing_all_pairs(
    rows: np.ndarray, engine: Engine, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indices equal, distances to rounding, however many ask at a time."""
    monkeypatch.setattr(search, "_CHUNK", chunk)
    found = nearest(rows, everyone(rows), K, engine=engine)
    assert_same(found, brute_force(rows, everyone(rows), K))
    assert (found.distances.dtype, found.indices.dtype) == (np.float32, np.int64)
    assert (np.diff(found.distances, axis=1) >= 0).all()


@needs_faiss
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
@pytest.mark.parametrize("other", ["torch", "bf16"])
def test_engines_agree(rows: np.ndarray, scale: float, other: Engine) -> None:
    """All return the same arrays, whatever the units of the space."""
    scaled = rows.astype(np.float32) * np.float32(scale)
    one, two = (nearest(scaled, everyone(rows), 32, engine=engine) for engine in ("faiss", other))
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.distances, two.distances)


@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_is_its_own_neighbour(rows: np.ndarray, engine: Engine) -> None:
    """Not even as a pad: a row that has no other is padded with -1 and infinity."""
    found = nearest(rows, [*by_label(np.arange(300) % 7), (np.array([9]), np.array([9]))], K, engine=engine)
    assert (found.indices != np.arange(300)[:, None]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_duplicates_are_neighbours_at_no_distance(rows: np.ndarray, engine: Engine) -> None:
    """A sample repeated far more often than any search returns never lists itself, and always finds copies."""
    copies = np.arange(0, 120)
    rows[copies] = rows[0]
    found = nearest(rows, everyone(rows), K, engine=engine)
    assert (found.distances[copies] == 0).all()
    assert (found.indices != np.arange(300)[:, None]).all()
    assert np.isin(found.indices[copies], copies).all()
    assert all(len(set(row)) == K for row in found.indices.tolist())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_few_duplicates_are_listed_in_order_of_index(rows: np.ndarray, engine: Engine) -> None:
    """Ties have one answer."""
    rows[[3, 50, 200, 299]] = rows[3]
    found = nearest(rows, everyone(rows), K, engine=engine)
    assert found.indices[50, :3].tolist() == [3, 200, 299]
    assert found.indices[3, :3].tolist() == [50, 200, 299]


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_do_not_see_each_other(rows: np.ndarray, engine: Engine) -> None:
    """Within a class, only its own; rows that no group names stay empty."""
    labels = np.arange(300) % 4
    groups = by_label(labels)[:3]
    found = nearest(rows, groups, K, engine=engine)
    assert_same(found, brute_force(rows, groups, K))
    assert (labels[found.indices[labels < 3]] == labels[labels < 3, None]).all()
    assert (found.indices[labels == 3] == -1).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [0, 1, 2, K, K + 1])
def test_small_groups_are_padded(rows: np.ndarray, engine: Engine, size: int) -> None:
    """Whoever has fewer than k others gets all of them, then -1 at infinity."""
    members = np.arange(size) * 3
    found = nearest(rows, [(members, members)], K, engine=engine)
    real = min(K, max(0, size - 1))
    assert (found.indices[members, :real] >= 0).all()
    assert np.isfinite(found.distances[members, :real]).all()
    assert (found.indices[members, real:] == -1).all()
    assert np.isinf(found.distances[members, real:]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_more_neighbours_than_samples_are_all_the_others(rows: np.ndarray, engine: Engine) -> None:
    """k larger than the set."""
    few = rows[:6]
    found = nearest(few, everyone(few), 50, engine=engine)
    assert found.indices.shape == (6, 50)
    assert [sorted(row[:5]) for row in found.indices.tolist()] == [[j for j in range(6) if j != i] for i in range(6)]
    assert (found.indices[:, 5:] == -1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reference_is_all_that_is_searched(rows: np.ndarray, engine: Engine) -> None:
    """Everyone asks, only the smallest keys answer."""
    keys = np.random.default_rng(1).integers(0, 2**63, 300, dtype=np.uint64)
    reference = Graph.parse("feature~40").reference_rows(keys, np.arange(300))
    groups = [(np.arange(300), reference)]
    found = nearest(rows, groups, K, engine=engine)
    assert np.isin(found.indices, np.argsort(keys)[:40]).all()
    assert_same(found, brute_force(rows, groups, K))


@pytest.mark.parametrize("engine", ENGINES)
def test_listing_the_samples_in_another_order_changes_nothing(rows: np.ndarray, engine: Engine) -> None:
    """Neighbours and distances are permuted with the samples."""
    labels = np.arange(300) % 3
    order = np.random.default_rng(2).permutation(300)
    place = np.argsort(order)
    plain = nearest(rows, by_label(labels), K, engine=engine)
    shuffled = nearest(rows[order], by_label(labels[order]), K, engine=engine)
    np.testing.assert_array_equal(shuffled.indices, place[plain.indices][order])
    np.testing.assert_allclose(shuffled.distances, plain.distances[order], rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_moving_the_origin_changes_nothing(rows: np.ndarray, engine: Engine) -> None:
    """However far away it lies, the space is searched around its own centre."""
    near = np.round(rows.astype(np.float32) * 8) / 8  # so that moving is exact
    far = near + np.float32(4096)
    assert_same(nearest(far, everyone(rows), K, engine=engine), nearest(near, everyone(rows), K, engine=engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_distant_clump_keeps_its_own_neighbours(rows: np.ndarray, engine: Engine) -> None:
    """A planted clump whose spread is a 500th of its distance from the class is resolved, not guessed."""
    rng = np.random.default_rng(3)
    space = rows.astype(np.float32)
    space[:40] = space.mean(axis=0) + 50 + 0.1 * rng.normal(size=(40, 24))
    found = nearest(space, everyone(space), K, engine=engine)
    assert_same(found, brute_force(space, everyone(space), K))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sketch_is_ranked_by_what_it_stands_for(engine: Engine) -> None:
    """Gradient neighbours come from a sketch and are the exact ones, with exact distances."""
    rng = np.random.default_rng(4)
    residual = (rng.dirichlet(np.ones(4), 150) - np.eye(4)[rng.integers(4, size=150)]).astype(np.float32)
    feature = np.maximum(rng.normal(size=(150, 8)), 0).astype(np.float16)
    exact = functools.partial(squared_distances, residual, feature)
    found = nearest(sketch(residual, feature), everyone(feature), K, exact=exact, spare=96, engine=engine)
    outer = (residual[:, :, None].astype(float) * feature[:, None, :].astype(float)).reshape(150, -1)
    expected = brute_force(outer, everyone(outer), K)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4)
    np.testing.assert_array_equal(found.indices, expected.indices)


@pytest.mark.parametrize("side", [37, 299])
@pytest.mark.parametrize("seed", range(3))
def test_no_tile_hides_a_neighbour(side: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the pairs are cut up, in groups that are compared with themselves and in those that are not."""
    monkeypatch.setattr(tiles, "_SIDE", side)
    rows = np.random.default_rng(seed).normal(size=(300, 40)).astype(np.float32)
    for groups in (everyone(rows), [(np.arange(300), np.arange(0, 300, 2))], by_label(np.arange(300) % 4)):
        assert_same(nearest(rows, groups, K, engine="bf16"), brute_force(rows, groups, K))


def test_rows_that_bf16_cannot_order_keep_their_neighbours(rows: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    """A clump too tight for its distance from the rest is searched again; how many rows were is told."""
    space = rows.astype(np.float32)
    space[:200] = space.mean(axis=0) + 50 + 0.01 * np.random.default_rng(3).normal(size=(200, 24))
    with caplog.at_level("DEBUG", logger="sanitizer.index"):
        found = nearest(space, everyone(space), K, engine="bf16")
    np.testing.assert_array_equal(found.indices, nearest(space, everyone(space), K, spare=295, engine="torch").indices)
    assert "200 of 300 rows" in caplog.text


@pytest.mark.parametrize("far", [0, 100])
def test_what_is_left_out_is_proven_to_be_farther(far: float) -> None:
    """Bounds hold for every pair: in a cloud, in a clump, and where one row lies far outside."""
    rng = np.random.default_rng(5)
    space = torch.from_numpy(rng.normal(size=(200, 64)).astype(np.float32) * rng.choice([1e-3, 1], size=(200, 1)))
    space[0] += far
    rounded = halved.Halved.of(space, space.mean(dim=0))
    product = (rounded.left() @ rounded.right.T).float()
    exact = torch.from_numpy(cdist(space.numpy().astype(float), space.numpy().astype(float)))
    bounds = halved.Bounds.of(rounded)
    for column in range(200):
        assert (exact[:, column] <= bounds.farthest(rounded, product[:, column])).all()
        assert (product[:, column] <= bounds.cut(rounded, exact[:, column].float())).all()


def test_neighbours_that_single_precision_cannot_order_are_told_apart() -> None:
    """Two distances that differ in their eighth digit come in the right order."""
    vectors = np.array([[0, 0], [1, 1 + 2.0**-23], [1, 1]], np.float32)
    squared, found = pairs.told_apart(vectors, np.array([0]), np.full((1, 2), 2, np.float32), np.array([[1, 2]]))
    assert found.tolist() == [[2, 1]]
    assert squared[0, 0] == 2 < squared[0, 1]


def test_the_best_are_the_same_in_whatever_order_they_arrive() -> None:
    """All at once or one by one; ties go to the smaller index, and places that are left are nobody's."""
    squared, ids = np.array([3, 1, 1, 2], np.float32), np.array([7, 9, 4, 5])
    whole, parts = Best(2, 5), Best(2, 5)
    whole.add(np.ones(4, np.int64), squared, ids)
    for at in (2, 0, 3, 1):
        parts.add(np.ones(1, np.int64), squared[[at]], ids[[at]])
    for best in (whole, parts):
        assert best.found()[1].tolist() == [[-1] * 5, [4, 9, 5, 7, -1]]
        assert best.found()[0][1].tolist() == [1, 1, 2, 3, np.inf]


@pytest.fixture
def without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which FAISS is not installed."""
    for room in (engines, pairs):
        monkeypatch.setattr(room, "faiss_or_none", lambda: None)


def test_a_missing_engine_comes_with_the_line_that_installs_it(rows: np.ndarray, without_faiss: None) -> None:
    """Asking for FAISS where there is none is one line with the remedy."""
    with pytest.raises(MissingDependency, match=r"pip install 'dataset-sanitizer\[cpu\]'") as caught:
        nearest(rows, everyone(rows), K, engine="faiss")
    assert "\n" not in str(caught.value)


def test_auto_goes_on_without_faiss(rows: np.ndarray, without_faiss: None) -> None:
    """The exact torch search takes its place."""
    assert_same(nearest(rows, everyone(rows), K), brute_force(rows, everyone(rows), K))
