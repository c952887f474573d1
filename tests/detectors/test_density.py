"""Density: the formulas agree with naive loops and with scikit-learn, and survive pads and duplicates."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor as SklearnLOF

from detectors.base import Evidence, MissingEvidence, Neighbors
from detectors.checks import auroc, planted
from detectors.density import (
    DAO,
    SLOF,
    GradientDensity,
    KDistance,
    LocalOutlierFactor,
    Tightness,
    class_median,
    intrinsic_dimension,
    k_distance,
    robust_z,
    settled,
)
from detectors.planted import evidence_of

EVERY = [KDistance(), GradientDensity(), LocalOutlierFactor(), SLOF(), DAO(), Tightness()]


@pytest.fixture
def cloud() -> Evidence:
    """Two classes of different size and spread, nothing planted."""
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], [60, 90])
    return evidence_of(rng.normal(size=(150, 5)) * np.where(labels == 0, 1, 7)[:, None], labels)


@pytest.fixture
def clump() -> tuple[Evidence, np.ndarray]:
    """One class of 3000 with a clump of 100: more than any k, and 3 % of any reference."""
    rng = np.random.default_rng(5)
    is_poison = np.arange(3000) < 100
    feature = rng.normal(size=(3000, 8))
    feature[is_poison] = 4 + 0.1 * feature[is_poison]
    return evidence_of(feature, np.zeros(3000, dtype=np.int64)), is_poison


def naive_k_distances(rows: np.ndarray, k: int) -> tuple[list[float], list[list[int]]]:
    """Sort all distances of every sample, in plain Python."""
    distances, nearest = [], []
    for i, row in enumerate(rows):
        others = sorted((float(np.linalg.norm(row - other)), j) for j, other in enumerate(rows) if j != i)
        distances.append(others[k - 1][0])
        nearest.append([j for _, j in others[:k]])
    return distances, nearest


@pytest.mark.parametrize("k", [5, 20])
def test_lof_is_that_of_scikit_learn(cloud: Evidence, k: int) -> None:
    """Within each class, LOF is scikit-learn's to six digits."""
    scores = LocalOutlierFactor(k=k).score(cloud)
    for label in (0, 1):
        rows = cloud.rows(label)
        reference = SklearnLOF(n_neighbors=k).fit(cloud.space("feature")[rows])
        np.testing.assert_allclose(scores[rows], -reference.negative_outlier_factor_, rtol=1e-6)


def test_k_distance_agrees_with_a_naive_loop(cloud: Evidence) -> None:
    """The k-distance is the k-th smallest distance, over the class's median."""
    scores = KDistance(k=7).score(cloud)
    for label in (0, 1):
        rows = cloud.rows(label)
        naive, _ = naive_k_distances(cloud.space("feature")[rows], 7)
        np.testing.assert_allclose(scores[rows], naive / np.median(naive), rtol=1e-6)


def test_slof_agrees_with_a_naive_loop(cloud: Evidence) -> None:
    """SLOF is the mean ratio of k-distances."""
    scores = SLOF(k=7).score(cloud)
    for label in (0, 1):
        rows = cloud.rows(label)
        naive, nearest = naive_k_distances(cloud.space("feature")[rows], 7)
        expected = [np.mean([naive[i] / naive[j] for j in nearest[i]]) for i in range(len(rows))]
        np.testing.assert_allclose(scores[rows], expected, rtol=1e-6)


def test_dao_agrees_with_a_naive_loop(cloud: Evidence) -> None:
    """DAO is the mean over neighbours of their dimension times the log ratio of k-distances."""
    scores = DAO(k=7).score(cloud)
    rows = cloud.rows(1)
    feature = cloud.space("feature")[rows]
    naive, nearest = naive_k_distances(feature, 7)
    dimension = [
        -7 / sum(np.log(np.linalg.norm(feature[i] - feature[j]) / naive[i]) for j in nearest[i][:-1])
        for i in range(len(rows))
    ]
    expected = [np.mean([dimension[j] * np.log(naive[i] / naive[j]) for j in nearest[i]]) for i in range(len(rows))]
    np.testing.assert_allclose(scores[rows], expected, rtol=1e-4, atol=1e-5)


def test_dao_finds_a_clump_that_fills_every_neighbourhood(clump: tuple[Evidence, np.ndarray]) -> None:
    """Among 100 alike, LOF sees a normal sample; a reference of 256 holds too few of them to hide it."""
    evidence, is_poison = clump
    usual = LocalOutlierFactor(k=20).score(evidence)
    assert auroc(usual, is_poison) < 0.6
    assert auroc(DAO().score(evidence), is_poison) > 0.99


def test_tightness_finds_a_clump_larger_than_k(clump: tuple[Evidence, np.ndarray]) -> None:
    """Its size does not hide a clump."""
    evidence, is_poison = clump
    assert auroc(Tightness().score(evidence), is_poison) > 0.99


def test_tightness_spares_the_dense_middle_of_a_class() -> None:
    """The middle of a class is dense at every scale; no sample of a clean class stands out as a clump does."""
    feature = np.random.default_rng(5).normal(size=(2000, 4))
    scores = Tightness().score(evidence_of(feature, np.zeros(2000, dtype=np.int64)))
    tight, is_poison = planted("tight", seed=0)
    assert scores.max() < Tightness().score(tight)[is_poison].min()


@pytest.mark.parametrize("detector", EVERY, ids=repr)
def test_duplicates_survive(detector: KDistance) -> None:
    """A distance of 0 divides nothing, even where most of a class is one sample repeated."""
    feature = np.random.default_rng(5).normal(size=(120, 6))
    feature[10:90] = feature[10]
    assert np.isfinite(detector.score(evidence_of(feature, np.repeat([0, 1], [100, 20])))).all()


@pytest.mark.parametrize("detector", EVERY, ids=repr)
def test_alone_in_its_class_is_not_suspicious(detector: KDistance) -> None:
    """A sample without neighbours gets the score of a typical one: nothing is known against it."""
    feature = np.random.default_rng(5).normal(size=(200, 6))
    scores = detector.score(evidence_of(feature, np.array([0] * 199 + [1])))
    low, high = np.quantile(scores[:199], [0.05, 0.95])
    assert low <= scores[199] <= high


@pytest.mark.parametrize("detector", EVERY, ids=repr)
def test_units_do_not_matter(detector: KDistance, cloud: Evidence) -> None:
    """Features a thousand times larger get the same scores."""
    larger = {
        name: Neighbors(cloud.neighbors[name].distances * np.float32(1024), cloud.neighbors[name].indices)
        for name in detector.neighbors
    }
    np.testing.assert_allclose(detector.score(replace(cloud, neighbors=larger)), detector.score(cloud), rtol=1e-6)


@pytest.mark.parametrize("detector", [KDistance(k=40), DAO(k=40), Tightness(outer=40), GradientDensity(k=40)], ids=repr)
def test_too_few_columns_are_named(detector: KDistance, cloud: Evidence) -> None:
    """Asking for more neighbours than were extracted names both numbers."""
    with pytest.raises(MissingEvidence, match=r"40 neighbours.* 32"):
        detector.score(cloud)


def test_pads_are_no_neighbours() -> None:
    """The k-distance of a short row is that of its last neighbour; of an empty row, unknown, then typical."""
    distances = np.array([[1, 2, 3], [1, 5, np.inf], [np.inf] * 3])
    np.testing.assert_array_equal(k_distance(distances), [3, 5, np.nan])
    np.testing.assert_array_equal(settled(k_distance(distances), np.zeros(3)), [3, 5, 4])


def test_medians_of_nothing_fall_back_on_the_whole_set() -> None:
    """A class of duplicates, or of one sample, is measured with the set's median."""
    values, labels = np.array([0.0, 0, 0, 2, 4, np.nan]), np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(class_median(values, labels), [3, 3, 3, 3, 3, 3])


def test_robust_z_grants_an_even_class_some_spread() -> None:
    """Where all values are equal nothing deviates, and nothing is divided by zero."""
    np.testing.assert_array_equal(robust_z(np.ones(4), np.zeros(4)), np.zeros(4))


def test_dimension_is_that_of_the_data() -> None:
    """Points that fill five dimensions are estimated near five, and equal distances stay finite."""
    radii = np.sort(np.random.default_rng(5).random((50, 500)) ** (1 / 5), axis=1)
    assert intrinsic_dimension(radii).mean() == pytest.approx(5, rel=0.05)
    assert np.isfinite(intrinsic_dimension(np.ones((1, 5)))).all()
