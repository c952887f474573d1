"""The rule of EPIC: as published where all pairs are compared, nearly so where only neighbours are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from toy_gradients import CLASSES, published_rule, softened

from sanitizer.training.epic import Epic
from sanitizer.training.gradients import LastLayer
from sanitizer.training.isolation import Isolation, isolation, medoid_count, pairwise, similarity_unit


def looked_at(gradients: LastLayer, share: float = 0.2, *, dense: bool, neighbors: int = 64) -> Isolation:
    """One class of these."""
    unit, rows = similarity_unit(gradients), np.arange(len(gradients))
    return isolation(gradients, rows, share, unit=unit, dense=dense, neighbors=neighbors)


def clumps(size: int, *, seed: int = 0, loners: int = 5) -> LastLayer:
    """Gradients in four groups of different width, and at the end some that belong to none and are far apart."""
    rng = np.random.default_rng(seed)
    centres = 0.3 * rng.normal(size=(4, CLASSES))
    group = rng.integers(0, 4, size)
    rows = centres[group] + (0.02 + 0.02 * group[:, None]) * rng.normal(size=(size, CLASSES))
    rows[size - loners :] = 2 * np.eye(CLASSES)[:loners]
    return LastLayer(rows.astype(np.float32))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_comparing_all_pairs_drops_exactly_what_the_published_rule_drops(share: float) -> None:
    """2,000 samples in ten classes of unequal size, against the rule by brute force."""
    rng = np.random.default_rng(0)
    labels = rng.choice(CLASSES, 2000, p=np.arange(1, CLASSES + 1) / 55)
    gradients = softened(labels)
    dropped = {found.row for found in Epic.as_published(labels, share=share).drop(10, gradients)}
    assert dropped == published_rule(gradients.residual, labels, share)
    assert dropped


def test_copies_are_dropped_as_the_published_rule_drops_them() -> None:
    """Of two that are the same neither is alone, whichever of them was picked, and a second pick adds nothing."""
    labels = np.zeros(300, dtype=np.int64)
    gradients = softened(labels)
    gradients.residual[200:] = gradients.residual[:100]
    dropped = {found.row for found in Epic.as_published(labels, share=0.5).drop(10, gradients)}
    assert dropped == published_rule(gradients.residual, labels, 0.5)
    assert dropped <= set(range(100, 200))


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_find_who_is_far_from_everybody(seed: int) -> None:
    """The planted loners, by either way."""
    gradients = clumps(600, seed=seed)
    for dense in (True, False):
        assert looked_at(gradients, 0.1, dense=dense).alone[-5:].all()


@pytest.mark.parametrize(("share", "least"), [(0.2, 0.6), (0.3, 0.75)])
def test_neighbours_nearly_agree_with_all_pairs(share: float, least: float) -> None:
    """Of all who are alone by one of the two ways, most are by both."""
    gradients = softened(np.zeros(1500, dtype=np.int64))
    dense, sparse = (looked_at(gradients, share, dense=way).alone for way in (True, False))
    assert (dense & sparse).sum() >= least * (dense | sparse).sum() > 0


def test_a_list_of_everybody_is_all_pairs() -> None:
    """With as many neighbours as there are others, both ways are one."""
    gradients = clumps(60)
    dense = looked_at(gradients, dense=True)
    sparse = looked_at(gradients, dense=False, neighbors=59)
    np.testing.assert_array_equal(sparse.alone, dense.alone)
    np.testing.assert_allclose(sparse.distances, dense.distances, rtol=1e-5)


@pytest.mark.parametrize("dense", [True, False])
def test_whoever_serves_a_crowd_from_afar_is_not_alone(dense: bool) -> None:
    """A crowd of copies chooses the only medoid there is, in whose list of neighbours it may not be."""
    rows = np.zeros((300, CLASSES), dtype=np.float32)
    rows[0] = 1
    look = looked_at(LastLayer(rows), 1 / 300, dense=dense)
    assert not look.alone.any()


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 200])
def test_gradients_that_are_all_the_same_leave_nobody_alone(size: int, dense: bool) -> None:
    """One of them stands for all; only the only one of a class has nobody."""
    look = looked_at(LastLayer(np.full((size, CLASSES), 0.1, dtype=np.float32)), dense=dense)
    assert look.alone.sum() == (size == 1)
    assert (look.distances[: size - 1] == 0).all()


@pytest.mark.parametrize("dense", [True, False])
def test_weight_gradients_are_compared_as_if_they_were_written_out(dense: bool) -> None:
    """Both factors together, and their outer products themselves."""
    rng = np.random.default_rng(0)
    residual = softened(np.zeros(300, dtype=np.int64)).residual
    feature = rng.random((300, 6)).astype(np.float32)
    factored = LastLayer(residual, feature)
    written = LastLayer(np.einsum("nc,nd->ncd", residual, feature).reshape(300, -1))
    np.testing.assert_allclose(pairwise(factored), pairwise(written), atol=1e-6)
    unit = similarity_unit(factored)
    looks = [isolation(one, np.arange(300), 0.3, unit=unit, dense=dense, neighbors=64) for one in (factored, written)]
    np.testing.assert_allclose(looks[0].distances, looks[1].distances, rtol=1e-3, atol=1e-5)
    assert (looks[0].alone != looks[1].alone).sum() <= 3
    assert looks[0].alone.any()


def test_features_of_length_one_change_no_unit() -> None:
    """The unit of weight gradients is the paper's, times how long a feature is."""
    residual = softened(np.zeros(20, dtype=np.int64)).residual
    ones = np.ones((20, 1), dtype=np.float32)
    assert similarity_unit(LastLayer(residual)) == similarity_unit(LastLayer(residual, ones)) == CLASSES
    assert similarity_unit(LastLayer(residual, 3 * ones)) == pytest.approx(3 * CLASSES)
    assert similarity_unit(LastLayer(residual, 0 * ones)) == CLASSES


def test_a_class_gets_its_part_of_the_medoids() -> None:
    """Rounded up, and floating point adds none."""
    assert [medoid_count(0.1, size) for size in (1, 10, 11, 30, 70)] == [1, 1, 2, 3, 7]
    assert medoid_count(1, 12) == 12


def peak(size: int) -> int:
    """Bytes that a look by neighbours holds at most."""
    gradients = softened(np.zeros(size, dtype=np.int64))
    tracemalloc.start()
    looked_at(gradients, 0.1, dense=False, neighbors=16)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def grows_with_the_class(small: int, large: int) -> bool:
    """By bytes for each sample; all pairs would multiply them."""
    return peak(large) / large < 1.5 * peak(small) / small


def test_memory_grows_with_the_class() -> None:
    """Four times the samples, four times the bytes; FAISS's own are not counted, and grow alike."""
    assert grows_with_the_class(1000, 4000)


@pytest.mark.slow
def test_memory_grows_with_a_class_of_fifty_thousand() -> None:
    """All pairs of these would take 20 GB."""
    assert grows_with_the_class(5000, 50_000)
    assert peak(50_000) < 500e6
