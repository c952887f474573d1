"""How classes vary: the products of their centred features, kept or made again."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.planted import evidence_of
from detectors.scatter import along_axes, pooled_covariance, scatter
from detectors.whitening import along_whitened_axes, class_residuals, in_own_axes, whitened


@pytest.mark.parametrize("size", [40, 4000])
def test_products_are_those_of_centred_rows(size: int) -> None:
    """Whether they are small enough to be kept or not."""
    rng = np.random.default_rng(size)
    rows, labels = rng.normal(5, 1, size=(size, 12)), np.arange(size) % 3
    evidence = evidence_of(rows, labels)
    for _ in range(2):
        offsets = rows[labels == 1] - rows[labels == 1].mean(axis=0)
        np.testing.assert_allclose(scatter(evidence, 1), offsets.T @ offsets, rtol=1e-9, atol=1e-9)
    residuals = class_residuals(evidence)
    np.testing.assert_allclose(pooled_covariance(evidence), residuals.T @ residuals / size, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [20, 900])
def test_axes_are_turned_instead_of_samples(size: int) -> None:
    """Where samples lie along the axes of whitened features is found without whitening any."""
    rng = np.random.default_rng(size)
    labels = np.arange(size) % 2
    evidence = evidence_of(rng.exponential(size=(size, 14)) * np.linspace(3, 1, 14), labels)
    plain = whitened(class_residuals(evidence), ridge=0.01)
    for label in (0, 1):
        expected = in_own_axes(plain[labels == label], 3, 1)
        found = along_whitened_axes(evidence, label, 3, ridge=0.01)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(
            along_axes(evidence, label, 3), in_own_axes(evidence.space("feature")[labels == label], 3, 1), atol=1e-8
        )
