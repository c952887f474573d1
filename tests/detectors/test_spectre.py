"""SPECTRE: the exponential is that of the matrix, and nobody tells it how many samples are poison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from detectors.base import Floats
from detectors.checks import auroc, planted
from detectors.planted import evidence_of
from detectors.spectre import Spectre, entropy_weights, majority, quantum_entropy_scores, reading
from detectors.whitening import in_own_axes

TRIAL_SEEDS = range(3)


def stretched(seed: int, *, size: int = 300, width: int = 5) -> Floats:
    """A cloud that varies more than it should in some directions, none of them an axis."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, width)) @ (np.eye(width) + 0.5 * rng.normal(size=(width, width)))


def turned(width: int, seed: int = 0) -> Floats:
    """A rotation."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def defined(rows: Floats, alpha: float, exponential) -> Floats:  # type: ignore[no-untyped-def]
    """The paper's score, written as it is defined there, for whitened rows."""
    moments = rows.T @ rows / len(rows)
    weights = exponential(alpha * (moments - np.eye(len(moments))) / (np.linalg.norm(moments, 2) - 1))
    weights /= np.trace(weights)
    return np.array([row @ weights @ row for row in rows])


def with_group(seed: int, share: float, *, size: int = 1000, width: int = 24, apart: float = 6.0) -> tuple[Floats, ...]:
    """A normal cloud, a share of which was moved; and who."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(size, width)) * np.linspace(3, 1, width)
    is_moved = np.arange(size) < share * size
    rows[is_moved] = 0.3 * rows[is_moved] + apart * rng.normal(size=width)
    return rows, is_moved


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("alpha", [0.0, 1.0, 4.0])
def test_the_score_is_that_of_the_paper(seed: int, alpha: float) -> None:
    """By eigenvalues as by the matrix exponential itself."""
    rows = stretched(seed)
    np.testing.assert_allclose(quantum_entropy_scores(rows, alpha=alpha), defined(rows, alpha, expm), rtol=1e-9)


def test_turning_the_axes_changes_no_score_and_would_if_entries_were_exponentiated() -> None:
    """What public ports compute depends on the coordinates: it is another score, and not a property of the data."""
    rows, rotation = stretched(0), turned(5)
    scores = quantum_entropy_scores(rows, alpha=4)
    np.testing.assert_allclose(quantum_entropy_scores(rows @ rotation, alpha=4), scores, rtol=1e-8)
    assert not np.allclose(defined(rows, 4, np.exp), scores, rtol=0.05)
    assert not np.allclose(defined(rows @ rotation, 4, np.exp), defined(rows, 4, np.exp), rtol=0.05)


def test_without_excess_no_direction_is_preferred() -> None:
    """Second moments of one, or less, leave nothing to explain: the score is the plain squared length."""
    for moments in (np.eye(4), np.diag([1.0, 0.9, 0.5, 0.0])):
        np.testing.assert_allclose(entropy_weights(moments, alpha=4), np.eye(4) / 4)


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.2])
def test_the_majority_is_found_without_a_count(seed: int, share: float) -> None:
    """Hardly any of a moved group is in it, however large, and nearly all of the others are."""
    rows, is_moved = with_group(seed, share, width=8)
    kept = majority(rows, share=0.75)
    assert kept[is_moved].sum() <= 0.02 * is_moved.sum()
    assert kept[~is_moved].mean() > 0.95


@pytest.mark.parametrize("share", [0.01, 0.05, 0.15])
def test_few_and_many_are_found_with_the_same_settings(share: float) -> None:
    """There is no count to get wrong."""
    rows, is_moved = with_group(1, share)
    assert auroc(Spectre().score(evidence_of(rows, np.zeros(len(rows), dtype=np.int64))), is_moved) > 0.99


def test_the_value_of_a_plain_cloud_is_near_one() -> None:
    """Nothing varies more than the majority does; a group makes it grow with its distance."""
    values = [
        reading(in_own_axes(with_group(2, 0.05, apart=apart)[0], 16, 10), (8, 16), share=0.75, alpha=4.0).value
        for apart in (0.0, 4.0, 8.0)
    ]
    assert 0.9 < values[0] < 1.6
    assert values == sorted(values)
    assert values[2] > 3 * values[0]


def test_a_group_along_a_quiet_axis_takes_more_dimensions() -> None:
    """With too few axes it cannot be seen, so the value chooses more of them."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(2000, 20)) * np.linspace(20, 2, 20)
    is_moved = np.arange(2000) < 60
    rows[is_moved, 15] += 20
    labels = np.zeros(2000, dtype=np.int64)
    assert auroc(Spectre(dimensions=(4,)).score(evidence_of(rows, labels)), is_moved) < 0.7
    assert auroc(Spectre(dimensions=(4, 20)).score(evidence_of(rows, labels)), is_moved) > 0.95


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_neither_units_nor_rotation_change_a_score(scale: float) -> None:
    """A class is measured by itself."""
    evidence, _ = planted("shifted", seed=0)
    feature = scale * evidence.space("feature") @ turned(16)
    moved = replace(evidence, spaces={**evidence.spaces, "feature": feature})
    np.testing.assert_allclose(Spectre().score(moved), Spectre().score(evidence), rtol=1e-5, atol=1e-7)


def test_a_class_of_copies_has_no_outliers() -> None:
    """One sample many times: everybody is usual."""
    scores, values = Spectre().opinion(evidence_of(np.full((30, 4), 0.1), np.zeros(30, dtype=np.int64)))
    np.testing.assert_array_equal(scores, np.ones(30))
    np.testing.assert_array_equal(values, [1])
