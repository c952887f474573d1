"""The linear head: what labels look like to features, judged by a head that has not seen the sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sanitizer.embed.head import FOLDS, PENALTY, _standardised, cross_fitted_residual, fit_head
from sanitizer.nets import content_noise

CPU = torch.device("cpu")
Rows = NDArray[np.floating]


def keys_of(n: int, seed: int = 0) -> NDArray[np.uint64]:
    """A key for each sample."""
    return np.random.default_rng(seed + 1000).integers(0, 2**63, n, dtype=np.uint64)


def blobs(n: int = 90, d: int = 8, classes: int = 3, seed: int = 0, gap: float = 3) -> tuple[Rows, NDArray[np.int64]]:
    """Classes that lie apart: features and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, d)) * gap
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def residual_of(
    feature: Rows, labels: NDArray[np.int64], classes: int = 3, *, keys: NDArray[np.uint64] | None = None, seed: int = 0
) -> NDArray[np.float32]:
    """The residual, after what holds for every one of them."""
    keys = keys_of(len(labels)) if keys is None else keys
    found = cross_fitted_residual(feature, labels, keys, classes, seed=seed, device=CPU)
    assert found.shape == (len(labels), classes)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-5)
    own = np.zeros_like(found, bool)
    own[np.arange(len(labels)), labels] = True
    assert (found[own] <= 0).all()
    assert (found[own] >= -1).all()
    assert (found[~own] >= 0).all()
    return found


def accuracy(residual: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """How often the label is the likeliest class."""
    probability = residual.copy()
    probability[np.arange(len(labels)), labels] += 1
    return float((probability.argmax(axis=1) == labels).mean())


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(5, 40), st.integers(1, 60), st.integers(2, 6))
def test_a_residual_is_a_distribution_less_the_label(seed: int, n: int, d: int, classes: int) -> None:
    """Rows sum to zero, only the label's entry is below it; whatever the features."""
    rng = np.random.default_rng(seed)
    residual_of(rng.normal(size=(n, d)), rng.integers(0, classes, n), classes, keys=keys_of(n, seed), seed=seed)


def test_what_can_be_learned_is_learned() -> None:
    """Labels that the features tell apart are told apart, and a wrong one stands out."""
    feature, labels = blobs()
    assert accuracy(residual_of(feature, labels), labels) > 0.95
    claimed = labels.copy()
    claimed[4] = (labels[4] + 1) % 3
    found = residual_of(feature, claimed)
    assert found[4, claimed[4]] < -0.9
    assert found[4, labels[4]] > 0.9


@pytest.mark.parametrize("n", [60, 200])
def test_nothing_is_learned_by_heart(n: int) -> None:
    """Random features and labels, more dimensions than samples: no better than chance."""
    rng = np.random.default_rng(0)
    hits = []
    for seed in range(6):
        labels = rng.permutation(np.arange(n) % 2)
        found = residual_of(rng.normal(size=(n, 4 * n)), labels, 2, keys=keys_of(n, seed))
        hits.append(accuracy(found, labels))
    assert abs(np.mean(hits) - 0.5) < 4 * 0.5 / np.sqrt(6 * n)
    whole = fit_head(torch.from_numpy(rng.normal(size=(n, 4 * n)).astype(np.float32)), torch.from_numpy(labels), 2)
    assert all(part.isfinite().all() for part in whole)


def test_the_judge_of_a_sample_has_not_seen_it() -> None:
    """Its own label changes nothing at all about what is thought of it; it does about others."""
    feature, labels = blobs(gap=0.7)
    keys = keys_of(len(labels))
    before = residual_of(feature, labels, keys=keys)
    claimed = labels.copy()
    claimed[7] = (labels[7] + 1) % 3
    after = residual_of(feature, claimed, keys=keys)
    before[7, labels[7]] += 1
    after[7, claimed[7]] += 1
    np.testing.assert_allclose(before[7], after[7], atol=1e-6)
    fold = content_noise(keys, 0, 0) % np.uint64(FOLDS)
    elsewhere = fold != fold[7]
    assert (before[elsewhere] != after[elsewhere]).any()
    together = (fold == fold[7]) & (np.arange(len(labels)) != 7)
    np.testing.assert_array_equal(before[together], after[together])


def test_copies_of_a_sample_do_not_tell_on_it() -> None:
    """They have its key, so the judge has seen none of them: forty copies with a wrong label do not make it right."""
    feature, labels = blobs(200)
    keys = keys_of(200)
    claimed = (labels[0] + 1) % 3
    feature = np.concatenate([feature, np.repeat(feature[:1], 40, axis=0)])
    labels = np.concatenate([labels, np.full(40, claimed)])
    keys = np.concatenate([keys, np.repeat(keys[:1], 40)])
    assert (residual_of(feature, labels, keys=keys)[200:, claimed] < -0.9).all()


@pytest.mark.parametrize("gap", [0.3, 3])
def test_order_changes_nothing(gap: float) -> None:
    """Samples listed otherwise get the same rows, up to float noise."""
    feature, labels = blobs(gap=gap)
    keys, order = keys_of(90), np.random.default_rng(5).permutation(90)
    shuffled = residual_of(feature[order], labels[order], keys=keys[order])
    np.testing.assert_allclose(shuffled, residual_of(feature, labels, keys=keys)[order], atol=1e-3)


def test_the_same_again_is_the_same() -> None:
    """Whatever the state of the global generators; another seed parts the set differently."""
    feature, labels = blobs(gap=1)
    first = residual_of(feature, labels)
    torch.manual_seed(7)
    np.testing.assert_array_equal(residual_of(feature, labels), first)
    assert (residual_of(feature, labels, seed=1) != first).any()


def test_scale_and_origin_change_nothing() -> None:
    """Columns are standardised, each on its own."""
    feature, labels = blobs(gap=1)
    moved = feature * np.geomspace(0.01, 100, 8) + np.linspace(-50, 50, 8)
    np.testing.assert_allclose(residual_of(moved, labels), residual_of(feature, labels), atol=2e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.1, -65504.0, 1e30])
def test_constant_columns_say_nothing(value: float) -> None:
    """However large they are: the mean of equal numbers is rounded, and must not be taken for a spread."""
    feature, labels = blobs(97, gap=1)
    wide = np.concatenate([feature, np.full((97, 3), value, np.float32)], axis=1)
    assert not _standardised(wide)[:, -3:].any()
    np.testing.assert_allclose(residual_of(wide, labels), residual_of(feature, labels), atol=2e-3)


def test_features_without_any_spread_know_only_how_frequent_classes_are() -> None:
    """All columns constant."""
    labels = np.array([0] * 30 + [1] * 10)
    found = residual_of(np.ones((40, 5), np.float16), labels, 2)
    assert (found[:30, 0] > -0.4).all()
    assert (found[30:, 1] < -0.6).all()


@pytest.mark.parametrize("sizes", [(30, 30, 1), (30, 1, 1), (2, 30, 0), (1, 1, 1)])
def test_tiny_classes_are_survived(sizes: tuple[int, ...]) -> None:
    """A class of one sample is unknown to whoever judges it; one without any is never meant."""
    feature, _ = blobs(sum(sizes), gap=1)
    labels = np.repeat(np.arange(3), sizes)
    found = residual_of(feature, labels)
    for kind, size in enumerate(sizes):
        if size == 1 and sum(sizes) > 3:
            assert found[labels == kind, kind][0] < -0.9


def test_one_image_repeated_is_survived() -> None:
    """All samples are judged together, so there is nobody to learn from: every class is as likely."""
    found = residual_of(np.ones((30, 4), np.float32), np.arange(30) % 3, keys=np.full(30, 5, np.uint64))
    np.testing.assert_allclose(np.abs(found).sum(axis=1), 4 / 3, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_features_are_left_as_they_were(kind: type) -> None:
    """Also those that nobody may write, as the store gives them."""
    feature, labels = blobs()
    given_: Rows = feature.astype(kind)
    before = given_.copy()
    given_.flags.writeable = False
    residual_of(given_, labels)
    np.testing.assert_array_equal(given_, before)


def test_a_fitted_head_is_at_the_minimum() -> None:
    """L-BFGS has settled: the gradient of the penalised loss is nearly zero."""
    feature, labels = blobs(gap=1)
    rows, targets = torch.from_numpy(np.asarray(feature, np.float32)), torch.from_numpy(labels)
    weight, bias = fit_head(rows, targets, 3)
    weight.requires_grad_()
    bias.requires_grad_()
    loss = torch.nn.functional.cross_entropy(rows @ weight + bias, targets) + PENALTY * (weight**2).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bias.grad is not None
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-3
