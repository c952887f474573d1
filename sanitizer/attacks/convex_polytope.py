"""Convex polytope: the target image lies between the poisons in feature space (Zhu et al. 2019, arXiv:1905.05897)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.crafting import Loss
from sanitizer.attacks.feature_collision import features, shared_out, still_features
from sanitizer.attacks.targeted import TargetedAttack

_SOLVING_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class ConvexPolytope(TargetedAttack):
    """Images whose features can be mixed to those of a target image, whatever the mixture.

    With several targets the poisons take turns. Meant for victims that keep a pretrained network: name it, with
    `surrogate=frozen:NETWORK`.
    """

    name: ClassVar[str] = "convex_polytope"
    paper: ClassVar[str] = "Zhu et al. 2019, arXiv:1905.05897"
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Images that enclose one test image in feature space teach a network a wrong label for it."

    eps: float = 8
    steps: int = 100

    def loss(self, scene: Scene) -> Loss:
        """How far each target is from the polytope of its poisons, in every network by itself."""
        goals = [still_features(net, self.targets_in(scene)) for net in scene.surrogates]

        def value(images: Tensor, rows: Tensor) -> Tensor:
            parts = []
            for net, goal in zip(scene.surrogates, goals, strict=True):
                found = features(net, images)
                parts += [outside(found[own], goal[number]) for number, own in shared_out(rows, len(goal))]
            return torch.stack(parts).mean()

        return value


def outside(corners: Tensor, goal: Tensor) -> Tensor:
    """|g - sum c_j f_j|^2 / 2 |g|^2 for the best c; a gradient by the corners (k, d) takes c as it is."""
    c = coefficients(corners.detach(), goal)
    return ((goal - c @ corners) ** 2).sum() / (2 * (goal**2).sum())


def coefficients(corners: Tensor, goal: Tensor) -> Tensor:
    """The c >= 0 of sum 1, (k,), for which c @ corners is nearest to the goal, (d,); found by FISTA from equal ones.

    >>> coefficients(torch.tensor([[0.0, 1.0], [4.0, 1.0]]), torch.tensor([1.0, 9.0]))
    tensor([0.7500, 0.2500])
    """
    gram, pull = corners @ corners.T, corners @ goal
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-12)
    c = ahead = torch.full_like(pull, 1 / len(pull))
    pace = 1.0
    for _ in range(_SOLVING_STEPS):
        before, c = c, on_simplex(ahead - step * (gram @ ahead - pull))
        last, pace = pace, (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead = c + (last - 1) / pace * (c - before)
    return c


def on_simplex(values: Tensor) -> Tensor:
    """The nearest point with entries >= 0 that sum to 1 (Duchi et al. 2008).

    >>> on_simplex(torch.tensor([0.5, 1.0, -3.0]))
    tensor([0.2500, 0.7500, 0.0000])
    """
    falling = values.sort(descending=True).values
    excess = (falling.cumsum(0) - 1) / torch.arange(1, len(values) + 1, device=values.device)
    return (values - excess[int((falling > excess).sum()) - 1]).clamp_min(0)
