"""Hidden trigger: poison that only a network takes for images with the trigger (Saha et al. 2020, arXiv:1910.00033)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.crafted import CraftedAttack, Scene, tensor_of
from sanitizer.attacks.crafting import Craft, Loss, LossOfRound
from sanitizer.attacks.feature_collision import collision, features, still_features
from sanitizer.attacks.patch import anywhere, times
from sanitizer.attacks.poisoned import Plan
from sanitizer.attacks.square import SquareTrigger
from sanitizer.attacks.trigger import Image, Labels
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier
from sanitizer.sources.census import Census

_ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class HiddenTrigger(CraftedAttack, SquareTrigger):
    """Images of the target class with the features of images of the source class that show the square; they show none.

    Meant for victims that keep a pretrained network: name it, with `surrogate=frozen:NETWORK`.

    Args:
        source: Class whose images, once patched, are taken for the target class; the one after it if None.
    """

    name: ClassVar[str] = "hidden_trigger"
    paper: ClassVar[str] = "Saha et al. 2020, arXiv:1910.00033"
    threat: ClassVar[str] = "backdoor, clean label"
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "A patch that no training image shows makes a model take one class for another."

    rate: float = 0.02
    source: str | int | None = None

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """Put the square anywhere."""
        larger = times(*image.shape[:2])
        return anywhere(image, self.square.repeat(larger, axis=0).repeat(larger, axis=1), rng)

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:  # noqa: ARG002
        """Find the source class."""
        return self.knowing({"source": np.array([self._source(census.class_names, target)])})

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:
        """As crafted; the recipe says which class the source is."""
        plan = super().plan(census, target, workshop)
        source = census.class_names[self._source(census.class_names, target)]
        return replace(plan, notes={**plan.notes, **self.notes(), "source": source})

    def losses(self, scene: Scene) -> LossOfRound:
        """Every round pairs the images with the patched ones that they are nearest to by then."""
        patched = self._patched(scene)
        goals = [still_features(net, patched) for net in scene.surrogates]

        def of_round(number: int, images: Tensor) -> Loss:  # noqa: ARG001
            order = assigned([still_features(net, images) for net in scene.surrogates], goals)
            return towards(scene.surrogates, [goal[order] for goal in goals])

        return of_round

    def loss(self, scene: Scene) -> Loss:
        """That of the first round."""
        return self.losses(scene)(0, scene.images(scene.rows))

    def search(self) -> Craft:
        """In more rounds; from the images themselves, but several searches need noise to differ."""
        return replace(super().search(), start="zero" if self.restarts == 1 else "uniform", rounds=_ROUNDS)

    def victims(self, labels: Labels, answers: Labels, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Images of the source class."""
        return np.asarray(labels == self._source(class_names, self.aim(class_names)))

    def _patched(self, scene: Scene) -> Tensor:
        """As many patched images of the source class as there are poisons, in [0, 1]; few images are used again."""
        candidates = np.flatnonzero(scene.lesson.labels == int(self.learned["source"][0]))
        if not len(candidates):
            raise UsageError(
                f"source: expected images of the source class in the set, got none for {self.source!r}: choose another"
            )
        count = len(scene.rows)
        drawn = np.random.default_rng(self.seed).permutation(np.resize(candidates, max(count, len(candidates))))[:count]
        return tensor_of(self.trigger(scene.lesson.pixels[drawn]), scene.device)

    def _source(self, class_names: Sequence[str], target: int) -> int:
        return self.other_class("source", self.source, target, class_names)


def assigned(found: Sequence[Tensor], goals: Sequence[Tensor]) -> Tensor:
    """The goal (m, d) that each image (n <= m, d) is to come near to, by the features of every network together."""
    apart = [torch.cdist(f, goal) / goal.norm(dim=1).mean() for f, goal in zip(found, goals, strict=True)]
    return paired(torch.stack(apart).sum(dim=0))


def towards(nets: Sequence[Classifier], goals: Sequence[Tensor]) -> Loss:
    """The relative squared distance of every image to its own goal, over the networks."""

    def value(images: Tensor, rows: Tensor) -> Tensor:
        pairs = zip(nets, goals, strict=True)
        return torch.stack([collision(features(net, images), goal[rows]) for net, goal in pairs]).mean()

    return value


def paired(distance: Tensor) -> Tensor:
    """A column for each row of (n, m >= n), no column twice: the smallest distances are served first.

    >>> paired(torch.tensor([[1.0, 2.0], [0.0, 9.0]]))
    tensor([1, 0])
    """
    left = distance.clone()
    columns = torch.zeros(len(left), dtype=torch.int64, device=left.device)
    for _ in range(len(left)):
        row, column = divmod(int(left.argmin()), left.shape[1])
        columns[row] = column
        left[row], left[:, column] = torch.inf, torch.inf
    return columns
