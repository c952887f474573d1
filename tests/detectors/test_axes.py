"""Leading axes: the few that are computed are the first of all, whatever way they were found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import ArpackError

from detectors import axes
from detectors.axes import along_leading_axes, leading_axes, leading_vectors
from detectors.planted import evidence_of
from detectors.whitening import in_own_axes


def cloud(size: int, width: int, seed: int = 0) -> np.ndarray:
    """Centred rows that vary by a tenth less along each next axis, in some rotation."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(width, width)))[0]
    rows = rng.normal(size=(size, width)) * 0.9 ** np.arange(width) @ turned
    return np.asarray(rows - rows.mean(axis=0))


@pytest.mark.parametrize(("size", "width"), [(500, 20), (600, 160), (100, 160), (1000, 300)])
@pytest.mark.parametrize("count", [1, 7])
def test_a_few_axes_are_the_first_of_all(size: int, width: int, count: int) -> None:
    """By iteration and by solving, with fewer rows than dimensions and with more."""
    rows = cloud(size, width)
    every = np.linalg.svd(rows, full_matrices=False)[2][:count]
    np.testing.assert_allclose(np.abs((leading_axes(rows, count) * every).sum(axis=1)), 1, atol=1e-9)


def test_who_does_not_converge_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration that gives up costs time, and no answer."""
    products = cloud(400, 200).T @ cloud(400, 200)
    found = leading_vectors(products, 3)

    def gives_up(*_: object, **__: object) -> None:
        raise ArpackError(-9999)

    monkeypatch.setattr(axes, "eigsh", gives_up)
    np.testing.assert_allclose(np.abs((leading_vectors(products, 3) * found).sum(axis=1)), 1, atol=1e-9)


@pytest.mark.parametrize("size", [3, 400])
def test_where_nothing_varies_there_are_axes_all_the_same(size: int) -> None:
    """Of length one, at right angles."""
    found = leading_axes(np.zeros((size, 200)), 3)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_places_are_those_of_double_precision(dtype: type) -> None:
    """Though a large class is centred and multiplied in single precision where it is stored in less."""
    rows = (cloud(3000, 130) + 3).astype(dtype)
    found = along_leading_axes(evidence_of(rows, np.zeros(3000, np.int64)), "feature", 0, 4)
    exact = in_own_axes(rows.astype(np.float64), 4, 1)
    np.testing.assert_allclose(found, exact, atol=1e-5 * exact.std())


def test_who_asks_for_fewer_is_given_the_first_of_them() -> None:
    """What is shared does not depend on who asks."""
    evidence = evidence_of(cloud(300, 40), np.zeros(300, np.int64))
    many = along_leading_axes(evidence, "feature", 0, 8)
    np.testing.assert_array_equal(along_leading_axes(evidence, "feature", 0, 2), many[:, :2])
