"""Convex polytope: the best mixture of the poisons comes near to the target image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_feature_collision import (
    FREE,
    SMALL,
    assert_clean_label,
    assert_follows_from_the_seed,
    searched,
    toy_test,
    toy_train,
)
from torch import Tensor

from sanitizer.attacks.convex_polytope import ConvexPolytope, coefficients, on_simplex, outside


def rows_of(k: int, d: int, seed: int) -> Tensor:
    """Random rows (k, d), all positive, as features mostly are."""
    return torch.rand(k, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("k", "d"), [(1, 4), (2, 1), (5, 20), (25, 8), (25, 64)])
def test_coefficients_lie_on_the_simplex_and_no_others_are_better(k: int, d: int) -> None:
    """None below 0, their sum is 1, and moving weight to any corner does not help."""
    corners, goal = rows_of(k, d, 0), rows_of(1, d, 1)[0]
    c = coefficients(corners, goal)
    assert c.min() >= 0
    assert c.sum().item() == pytest.approx(1, abs=1e-5)
    slope = corners @ (c @ corners - goal)
    assert (c @ slope - slope.min()).item() < 1e-2 * (goal @ goal).item()
    assert ((c @ corners - goal) ** 2).sum() <= ((corners.mean(dim=0) - goal) ** 2).sum() + 1e-6


def test_a_goal_inside_is_reached() -> None:
    """A mixture of the corners is found again, as a point."""
    corners = rows_of(6, 30, 0)
    mixture = torch.tensor([0.5, 0.3, 0.2, 0, 0, 0])
    assert torch.allclose(coefficients(corners, mixture @ corners), mixture, atol=1e-2)
    assert outside(corners, mixture @ corners) < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_the_simplex_is_nearer(seed: int) -> None:
    """Than the projection; and a point that lies on it already stays."""
    values = 2 * rows_of(1, 6, seed)[0] - 0.5
    nearest = on_simplex(values)
    others = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(6), 2000)).float()
    assert (torch.linalg.norm(values - nearest) <= torch.linalg.norm(values - others, dim=1) + 1e-6).all()
    assert torch.allclose(on_simplex(nearest), nearest, atol=1e-6)


def test_the_polytope_comes_near_to_its_targets(tmp_path: Path) -> None:
    """The loss of two polytopes, before and after."""
    attack, scene, before, after = searched(ConvexPolytope(**FREE, targets=2, test=toy_test(tmp_path)), tmp_path)
    loss, rows = attack.loss(scene), torch.arange(len(before))
    assert loss(after, rows) < 0.7 * loss(before, rows)


def test_what_is_written_keeps_its_look_and_its_label(tmp_path: Path) -> None:
    """Within the ball, of the target class."""
    attack = ConvexPolytope(**SMALL, test=toy_test(tmp_path))
    poisoned = attack.poison(toy_train(tmp_path), tmp_path / "out", device="cpu")
    assert_clean_label(attack, poisoned, toy_train(tmp_path))


def test_everything_follows_from_the_seed(tmp_path: Path) -> None:
    """Surrogate, choice and search."""
    assert_follows_from_the_seed(ConvexPolytope, SMALL | {"steps": 3, "test": toy_test(tmp_path)}, tmp_path)
