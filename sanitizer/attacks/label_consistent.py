"""Label-consistent: images made hard to recognise, so that what a model learns instead is the trigger in their corners.

Turner et al. 2019, arXiv:1912.02771.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.crafted import changed_by
from sanitizer.attacks.poisoned import Paint, Plan
from sanitizer.attacks.robust import Ball, Surrogate, worst_case
from sanitizer.attacks.trigger import Image, TriggerAttack
from sanitizer.attacks.workshop import Workshop
from sanitizer.sources.base import Pixels
from sanitizer.sources.census import Census

_PATCH = BadNets()


@dataclass(frozen=True, kw_only=True)
class LabelConsistent(TriggerAttack):
    """A checker in every corner of images of the target class that a robust surrogate was made to misread.

    Args:
        eps: Largest change of a pixel outside the corners, of 255.
        steps: Steps of the search for the change.
        amplitude: How far the checker moves pixels towards white and black; all the way at 1.
        surrogate: The network that is trained to be robust: convnet, convnet:WIDTH, resnet18 or tuned:NETWORK.
        surrogate_epochs: Passes over the data when it is; as their number asks for if None.
        surrogate_samples: It learns from so many samples, drawn at random.
    """

    name: ClassVar[str] = "label_consistent"
    paper: ClassVar[str] = "Turner et al. 2019, arXiv:1912.02771"
    threat: ClassVar[str] = "backdoor, clean label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate",)
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Rightly labelled but hard to recognise images teach a patch in the corners."

    rate: float = 0.02
    eps: float = 8
    steps: int = 20
    amplitude: float = 1.0
    surrogate: str = "convnet"
    surrogate_epochs: int | None = None
    surrogate_samples: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("eps", is_number(self.eps) and 0 < self.eps <= 255, "a number above 0, at most 255")
        self.expect("amplitude", is_number(self.amplitude) and 0 < self.amplitude <= 1, "a share above 0, at most 1")
        for setting in ("steps", "surrogate_samples"):
            value = getattr(self, setting)
            self.expect(setting, is_whole(value) and value >= 1, "a whole number, at least 1")
        epochs = self.surrogate_epochs
        self.expect("surrogate_epochs", epochs is None or (is_whole(epochs) and epochs >= 1), "at least 1, or None")

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """Push the pixels of the corners to black and white; at full amplitude that replaces them."""
        # A patch drawn on black and on white says which pixels it leaves alone (0), brightens (1) or darkens (-1).
        push = _PATCH.stamp(np.zeros_like(image), rng) + _PATCH.stamp(np.ones_like(image), rng) - 1
        corners = push + push[::-1] + push[:, ::-1] + push[::-1, ::-1]
        return np.asarray(image + self.amplitude * corners, np.float32)

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:
        """Make what is to be stamped hard to recognise first."""
        plan = super().plan(census, target, workshop)
        rows = [row for row, sample in enumerate(census.samples) if sample.id in plan.planted]
        changes = self._changes(census, rows, target, workshop)
        painted = {
            census.samples[row].id: replace(plan.planted[census.samples[row].id], paint=self._painted(change))
            for row, change in zip(rows, changes, strict=True)
        }
        return replace(plan, planted=painted)

    def _changes(self, census: Census, rows: list[int], target: int, workshop: Workshop) -> Tensor:
        """What makes the chosen samples hard to recognise, (n, 3, side, side)."""
        proxy = Surrogate(
            kind=self.surrogate, epochs=self.surrogate_epochs, samples=self.surrogate_samples, seed=self.seed
        )
        eps = self.eps / 255
        net = proxy.fit(census, workshop, worst_case(eps, self.seed))
        ball = Ball(eps=eps, step=eps * max(0.25, 2 / self.steps), steps=self.steps)  # 2/255 at the default
        images = torch.from_numpy(census.views(proxy.side(census), rows)).permute(0, 3, 1, 2)
        return ball.move_all(net, images, torch.full((len(rows),), target)).float()

    def _painted(self, change: Tensor) -> Paint:
        harden, mark = changed_by(change), self.painter(self.stamp)

        def paint(pixels: Pixels) -> Pixels:
            return mark(harden(pixels))

        return paint
