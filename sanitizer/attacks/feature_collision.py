"""Feature collision: every poison looks to a network like the target image (Shafahi et al. 2018, arXiv:1804.00792)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.crafting import Craft, Loss
from sanitizer.attacks.targeted import TargetedAttack
from sanitizer.nets import Classifier


@dataclass(frozen=True, kw_only=True)
class FeatureCollision(TargetedAttack):
    """Images that keep their look and their label, with the features of a target image each.

    With several targets the poisons take turns. Meant for victims that keep a pretrained network: name it, with
    `surrogate=frozen:NETWORK`.
    """

    name: ClassVar[str] = "feature_collision"
    paper: ClassVar[str] = "Shafahi et al. 2018, arXiv:1804.00792"
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Images that a network takes for one test image teach it a wrong label for that image."

    eps: float = 8
    steps: int = 100

    def loss(self, scene: Scene) -> Loss:
        """The mean squared distance of features to those of the poison's own target, relative to their length."""
        goals = [still_features(net, self.targets_in(scene)) for net in scene.surrogates]

        def value(images: Tensor, rows: Tensor) -> Tensor:
            return torch.stack(
                [
                    collision(features(net, images), goal[rows % len(goal)])
                    for net, goal in zip(scene.surrogates, goals, strict=True)
                ]
            ).mean()

        return value

    def search(self) -> Craft:
        """From the images themselves, for most of what noise adds is never taken back; several searches need noise."""
        return replace(super().search(), start="zero" if self.restarts == 1 else "uniform")


def features(net: Classifier, images: Tensor) -> Tensor:
    """What a network sees in images from 0 to 1, (n, d)."""
    return net.features(net.standardise(images))


def still_features(net: Classifier, images: Tensor) -> Tensor:
    """The same, of images that do not change."""
    with torch.no_grad():
        return features(net, images)


def collision(found: Tensor, goal: Tensor) -> Tensor:
    """The mean of |f - g|^2 / |g|^2 over rows (n, d).

    >>> float(collision(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]])))
    1.0
    """
    return ((found - goal) ** 2).sum(dim=1).div((goal**2).sum(dim=1)).mean()


def shared_out(rows: Tensor, targets: int) -> Sequence[tuple[int, Tensor]]:
    """Each target that is the aim of some of these poisons, and where among them those are: they take turns.

    >>> shared_out(torch.tensor([0, 1, 2]), 2)
    [(0, tensor([0, 2])), (1, tensor([1]))]
    """
    turns = ((number, torch.nonzero(rows % targets == number)[:, 0]) for number in range(targets))
    return [(number, own) for number, own in turns if len(own)]
