"""Bullseye polytope: the mean of the poisons is the target image (Aghakhani et al. 2021, arXiv:2005.00191)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.crafting import Loss
from sanitizer.attacks.feature_collision import features, shared_out
from sanitizer.attacks.targeted import TargetedAttack
from sanitizer.nets import Classifier

_SCENARIOS = ("linear", "end_to_end")


@dataclass(frozen=True, kw_only=True)
class Bullseye(TargetedAttack):
    """Images whose features have those of a target image as their mean.

    With several targets the poisons take turns.

    Args:
        scenario: "linear" is for victims that keep a pretrained network and fit a head: the last features count.
            "end_to_end" is for victims that train all of it on: the output of every block counts alike.
    """

    name: ClassVar[str] = "bullseye"
    paper: ClassVar[str] = "Aghakhani et al. 2021, arXiv:2005.00191"
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Images whose mean is one test image in feature space teach a network a wrong label for it."

    eps: float = 8
    steps: int = 100
    scenario: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("scenario", self.scenario in _SCENARIOS, f"one of {', '.join(_SCENARIOS)}")

    def loss(self, scene: Scene) -> Loss:
        """The mean distance of centres from targets, over networks, layers and targets."""
        with torch.no_grad():
            goals = [self._layers(net, self.targets_in(scene)) for net in scene.surrogates]

        def value(images: Tensor, rows: Tensor) -> Tensor:
            parts = []
            for net, layers in zip(scene.surrogates, goals, strict=True):
                for found, goal in zip(self._layers(net, images), layers, strict=True):
                    parts += [off_centre(found[own], goal[number]) for number, own in shared_out(rows, len(goal))]
            return torch.stack(parts).mean()

        return value

    def _layers(self, net: Classifier, images: Tensor) -> list[Tensor]:
        return [features(net, images)] if self.scenario == "linear" else layers_of(net, images)


def off_centre(found: Tensor, goal: Tensor) -> Tensor:
    """|mean f_j - g| / |g| for rows (k, d).

    >>> float(off_centre(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.tensor([2.0, 0.0])))
    0.5
    """
    distance: Tensor = (found.mean(dim=0) - goal).norm() / goal.norm()
    return distance


def layers_of(net: Classifier, images: Tensor) -> list[Tensor]:
    """The output of every block for images from 0 to 1, flattened to (n, d), and the last features."""
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, given, made: seen.append(made.flatten(1))) for block in blocks(net)
    ]
    try:
        last = features(net, images)
    finally:
        for hook in hooks:
            hook.remove()
    return [*seen, last]


def blocks(net: nn.Module) -> list[nn.Module]:
    """The parts that a network is a chain of: all that have weights and parts themselves, at the first level with any.

    A lone such part is a wrapping (the body of a network, its stages), unless there are none within it.
    """
    parts = [
        part for part in net.children() if any(True for _ in part.children()) and any(True for _ in part.parameters())
    ]
    return (blocks(parts[0]) or parts) if len(parts) == 1 else parts
