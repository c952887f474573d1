"""The family of gradient matching: training on the poison moves a network as training on the wanted answer would.

Geiping et al. 2021, arXiv:2009.02276.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.crafted import CraftedAttack, Scene
from sanitizer.attacks.crafting import Craft, Loss, LossOfRound
from sanitizer.nets import Classifier, autocast

#: Parts of a search: after each, surrogates may be retrained, and an interruption costs no more than one.
_ROUNDS = 5
#: Images of which a gradient is taken together.
_BATCH = 256

#: Of every parameter, in order.
Gradient = Sequence[Tensor]


@dataclass(frozen=True, kw_only=True)
class GradientMatching(CraftedAttack):
    """The gradient of the poison points where that of the wanted answer points; a leaf says what is to get it.

    Args:
        tau: Size of the first steps, in units of the pixels' spread.
        batch: Poisons whose common gradient is matched.
        augment: Craft under the random shifts that training of the surrogate uses.
        retrain: Fit the surrogates again, from nothing and on the poison as it is, after every fifth of a search.
    """

    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate",)
    cost: ClassVar[str] = "minutes to hours"

    tau: float = 0.1
    batch: int = 512
    augment: bool = True
    retrain: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("tau", is_number(self.tau) and self.tau > 0, "a number above 0")
        self.expect("batch", is_whole(self.batch) and self.batch >= 1, "a whole number, at least 1")
        for setting in ("augment", "retrain"):
            self.expect(setting, isinstance(getattr(self, setting), bool), "true or false")

    @abstractmethod
    def wanted(self, scene: Scene) -> Tensor:
        """Images (m, 3, side, side) in [0, 1] that are to be taken for the target class."""

    def loss(self, scene: Scene) -> Loss:
        """How far the gradients are from the same direction, over the surrogates."""
        images = self.wanted(scene)
        parts = [learnable(scene, place) for place in range(len(scene.surrogates))]
        goals = [
            mean_gradient(net, part, images, scene.target) for net, part in zip(scene.surrogates, parts, strict=True)
        ]

        def value(poisons: Tensor, rows: Tensor) -> Tensor:  # noqa: ARG001 - all of them have the same label
            found = [
                gradient(net, part, poisons, scene.target, keep=True)
                for net, part in zip(scene.surrogates, parts, strict=True)
            ]
            return torch.stack([mismatch(one, goal) for one, goal in zip(found, goals, strict=True)]).mean()

        return value

    def losses(self, scene: Scene) -> LossOfRound:
        """The same loss in every round, or that of surrogates which learned from the poison as it is by then."""
        first = self.loss(scene)
        if not self.retrain:
            return lambda number, images: first
        return lambda number, images: self.loss(self._retrained(scene, images, number)) if number else first

    def search(self) -> Craft:
        """Signed Adam from noise."""
        return Craft(
            eps=self.eps / 255, steps=self.steps, restarts=self.restarts, batch=self.batch, rounds=_ROUNDS,
            seed=self.seed,
        )  # fmt: skip

    def search_in(self, scene: Scene) -> Craft:
        """With steps and shifts as the surrogates' pixels and training have them."""
        recipes = [kind.recipe for kind in scene.learners if kind.recipe]
        return replace(
            self.search(),
            rate=self.tau * float(torch.stack([net.std.mean() for net in scene.surrogates]).mean()),
            max_shift=max((recipe.max_shift for recipe in recipes), default=0) if self.augment else 0,
            flip=self.augment and any(recipe.flip for recipe in recipes),
        )

    def _retrained(self, scene: Scene, images: Tensor, number: int) -> Scene:
        """The scene with surrogates that start from nothing and learn from the poison, as it would be written."""
        pixels = scene.lesson.pixels.copy()
        pixels[scene.rows] = np.rint(images.detach().cpu().numpy() * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        lesson = replace(scene.lesson, pixels=pixels)
        seeds = range(self.seed * 101 + 1, self.seed * 101 + 1 + self.ensemble)
        surrogates = tuple(
            kind.fit(lesson, seed=seed + 10_007 * number, device=scene.device)
            for kind in scene.learners
            for seed in seeds
        )
        return replace(scene, lesson=lesson, surrogates=surrogates)


def gradient(
    net: Classifier, parameters: Sequence[Tensor], images: Tensor, label: int | Tensor, *, keep: bool = False
) -> Gradient:
    """The gradient of the mean loss of images (b, 3, h, w) under a label, or each under its own (b,) or (b, classes).

    ``keep`` it differentiable if need be. A parameter that the loss does not depend on has a gradient of zero.
    """
    labels = label if isinstance(label, Tensor) else torch.full((len(images),), label, device=images.device)
    with autocast(images.device):
        logits = net(net.standardise(images.contiguous(memory_format=torch.channels_last)))
    loss = F.cross_entropy(logits.float(), labels)
    return torch.autograd.grad(loss, parameters, create_graph=keep, materialize_grads=True)


def mean_gradient(net: Classifier, parameters: Sequence[Tensor], images: Tensor, label: int) -> Gradient:
    """The same of any number of images, some at a time."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for part in torch.split(images, _BATCH):
        for place, found in enumerate(gradient(net, parameters, part, label)):
            total[place] += found * (len(part) / len(images))
    return total


def mismatch(found: Gradient, wanted: Gradient) -> Tensor:
    """1 - cos of the angle between two gradients, each taken as one long vector.

    >>> float(mismatch([torch.tensor([1.0, 0.0])], [torch.tensor([0.0, 2.0])]))
    1.0
    """
    product = torch.stack([(f * w).sum() for f, w in zip(found, wanted, strict=True)]).sum()
    return 1 - product / (length(found) * length(wanted)).clamp_min(1e-30)


def length(found: Gradient) -> Tensor:
    """The norm of a gradient, taken as one long vector."""
    return torch.stack([(part**2).sum() for part in found]).sum().sqrt()


def learnable(scene: Scene, place: int) -> list[Tensor]:
    """What training a surrogate would change: all of it, or its head where the rest is frozen."""
    net = scene.surrogates[place]
    kind = scene.learners[place * len(scene.learners) // len(scene.surrogates)]
    return list((net if kind.recipe else net.head).parameters())
