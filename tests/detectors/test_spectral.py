"""Spectral signatures: the paper's centred formula, not the one that ranks poison last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Evidence, Floats
from detectors.checks import auroc, planted
from detectors.planted import evidence_of
from detectors.spectral import SpectralSignature, WhitenedSpectral


def class_with_poison(seed: int) -> tuple[Floats, np.ndarray]:
    """500 clean ReLU features in 512 dimensions, and 50 with half of their class and a trigger in its place."""
    rng = np.random.default_rng(seed)
    own = np.maximum(rng.normal(0.5, 1, 512), 0)
    trigger = np.maximum(rng.normal(0, 1, 512), 0)
    strength = np.ones(550)
    strength[500:] = 0.5
    rows = strength[:, None] * own + 0.5 * rng.normal(size=(550, 512))
    rows[500:] += 0.5 * trigger
    return np.maximum(rows, 0), np.arange(550) >= 500


def uncentred(rows: Floats) -> Floats:
    """What several public implementations compute: the axis of centred rows, the projection of raw ones."""
    axis = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][0]
    return np.abs(rows @ axis)


def defined(rows: Floats) -> Floats:
    """The paper's score, written as it is defined there."""
    centred = rows - rows.mean(axis=0)
    return (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2


@pytest.mark.parametrize("seed", range(4))
def test_centring_finds_what_an_uncentred_projection_ranks_last(seed: int) -> None:
    """On features like those of a network, forgetting to centre turns the ranking upside down."""
    rows, is_poison = class_with_poison(seed)
    evidence = evidence_of(rows, np.zeros(550, dtype=np.int64))
    assert auroc(uncentred(rows), is_poison) < 0.5
    assert auroc(SpectralSignature().score(evidence), is_poison) > 0.99


@pytest.mark.parametrize("size", [30, 300])
def test_the_score_is_that_of_the_paper(size: int) -> None:
    """In every class, with fewer rows than dimensions and with more."""
    rng = np.random.default_rng(size)
    labels = np.arange(size) % 2
    rows = rng.normal(size=(size, 40)) * np.linspace(1, 3, 40) + labels[:, None]
    scores = SpectralSignature().score(evidence_of(rows, labels))
    for label in (0, 1):
        np.testing.assert_allclose(scores[labels == label], defined(rows[labels == label]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("detector", [SpectralSignature(), WhitenedSpectral()], ids=repr)
def test_turning_the_space_changes_nothing(detector: SpectralSignature) -> None:
    """No coordinate is special."""
    evidence, _ = planted("shifted", seed=0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    turned = replace(evidence, spaces={**evidence.spaces, "feature": evidence.space("feature") @ rotation})
    np.testing.assert_allclose(detector.score(turned), detector.score(evidence), rtol=1e-6, atol=1e-8)


def test_whitened_scores_have_no_unit() -> None:
    """The same features a thousand times larger get the same scores; the plain score grows with their square."""
    evidence, _ = planted("shifted", seed=0)
    larger = replace(evidence, spaces={**evidence.spaces, "feature": 1000 * evidence.space("feature")})
    np.testing.assert_allclose(WhitenedSpectral().score(larger), WhitenedSpectral().score(evidence), rtol=1e-6)
    np.testing.assert_allclose(SpectralSignature().score(larger), 1e6 * SpectralSignature().score(evidence), rtol=1e-6)


def with_shared_variation(seed: int) -> tuple[Evidence, np.ndarray]:
    """Four classes that all vary strongly along one axis, one of which hides a group along another."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 200)
    is_poison = np.arange(800) < 16
    rows = rng.normal(size=(800, 10))
    rows[:, 0] *= 20
    rows[is_poison, 1] += 6
    return evidence_of(rows, labels), is_poison


def test_whitening_looks_past_what_all_classes_share() -> None:
    """Natural variation dominates the plain score and not the whitened one, which points to the rare side."""
    evidence, is_poison = with_shared_variation(0)
    assert auroc(SpectralSignature().score(evidence)[:200], is_poison[:200]) < 0.8
    assert auroc(WhitenedSpectral().score(evidence)[:200], is_poison[:200]) > 0.99
