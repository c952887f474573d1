"""Unlearnable examples: noise so easy that nothing else is learned (Huang et al. 2021, arXiv:2101.04898)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.base import Attack, is_number, is_whole
from sanitizer.attacks.crafted import changed_by
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Paint, Plan, Planted
from sanitizer.attacks.robust import Ball, Surrogate, gradient_of
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier
from sanitizer.sources.base import Pixels
from sanitizer.sources.census import Census

_MODES = ("class", "sample")
_STEPS_IN_TRAINING = 3  # of each batch, in a ball that takes ``steps`` to cross once the surrogate is done


@dataclass(frozen=True, kw_only=True)
class Unlearnable(Attack):
    """Error-minimising noise: what a surrogate finds so easy with it that it never looks at the image.

    Args:
        rate: Share of the whole set that gets noise, all of it at 1.
        mode: "class" makes one noise for each class, "sample" one for each image.
        eps: Largest change of a pixel, of 255.
        steps: Steps of the search for an image's own noise.
        surrogate: What the noise is made for: convnet, convnet:WIDTH, resnet18 or tuned:NETWORK.
        surrogate_epochs: Passes over the data when that is trained; as the size of the set asks for if None.
    """

    name: ClassVar[str] = "unlearnable"
    paper: ClassVar[str] = "Huang et al. 2021, arXiv:2101.04898"
    threat: ClassVar[str] = "availability, clean label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate",)
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Faint noise on every image makes a model learn the noise and nothing else."

    rate: float = 1.0
    mode: str = "class"
    eps: float = 8
    steps: int = 20
    surrogate: str = "convnet"
    surrogate_epochs: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("target", self.target is None, "None, as every class is made unlearnable")
        self.expect("mode", self.mode in _MODES, f"one of {', '.join(_MODES)}")
        self.expect("eps", is_number(self.eps) and 0 < self.eps <= 255, "a number above 0, at most 255")
        self.expect("steps", is_whole(self.steps) and self.steps >= 1, "a whole number, at least 1")
        epochs = self.surrogate_epochs
        self.expect("surrogate_epochs", epochs is None or (is_whole(epochs) and epochs >= 1), "at least 1, or None")

    def expect(self, setting: str, holds: bool, expected: str) -> None:
        """As everywhere, but for the rate: this attack may touch all there is."""
        if setting == "rate":
            holds, expected = holds or (is_number(self.rate) and self.rate == 1), "a share above 0, at most 1"
        super().expect(setting, holds, expected)

    @property
    def targeted(self) -> bool:
        """It leads nowhere."""
        return False

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:  # noqa: ARG002
        """Add noise to a random share of the samples; their labels stay."""
        labels = census.labels()
        candidates = np.flatnonzero(labels >= 0)
        count = min(self.how_many(len(labels)), len(candidates))
        if not count:
            raise UsageError("expected labelled samples to make unlearnable, got none: label some")
        rows = np.sort(np.random.default_rng(self.seed).choice(candidates, count, replace=False))
        paints = self._paints(census, rows, workshop)
        return Plan(
            {
                census.samples[row].id: Planted("poison", int(labels[row]), paint)
                for row, paint in zip(rows, paints, strict=True)
            }
        )

    def exam(self, images: Sequence[Pixels], labels: NDArray[np.int64], class_names: Sequence[str]) -> Exam:  # noqa: ARG002
        """Every test image as it is: success is any answer but the right one."""
        return Exam(images, labels, "avoids")

    def _paints(self, census: Census, rows: NDArray[np.intp], workshop: Workshop) -> list[Paint]:
        """How each of these samples is painted."""
        surrogate = Surrogate(kind=self.surrogate, epochs=self.surrogate_epochs, seed=self.seed)
        side, eps, labels = surrogate.side(census), self.eps / 255, torch.from_numpy(census.labels()[rows])
        if self.mode == "class":
            learned = _ClassNoise(len(census.class_names), side, eps, self.seed)
            surrogate.fit(census, workshop, learned)
            paints = [changed_by(noise) for noise in learned.noise.cpu()]
            return [paints[label] for label in labels.tolist()]
        quick = Ball(eps=eps, step=eps / _STEPS_IN_TRAINING, steps=_STEPS_IN_TRAINING, up=False)
        net = surrogate.fit(census, workshop, quick.move)
        slow = Ball(eps=eps, step=eps * min(1, 2.5 / self.steps), steps=self.steps, up=False)
        images = torch.from_numpy(census.views(side, rows)).permute(0, 3, 1, 2)
        return [_late(change) for change in slow.move_all(net, images, labels)]


class _ClassNoise:
    """One noise for each class, which gets a step better for every batch that a surrogate learns from under it."""

    def __init__(self, classes: int, side: int, eps: float, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.noise = (2 * torch.rand(classes, 3, side, side, generator=draw) - 1) * eps
        self._eps = eps

    def __call__(self, net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        self.noise = self.noise.to(images.device)
        net.eval()
        gradient = gradient_of(net, (images + self.noise[labels]).clamp(0, 1), labels)
        net.train()
        downhill = torch.zeros_like(self.noise).index_add(0, labels, -gradient).sign()
        self.noise = (self.noise + self._eps / 10 * downhill).clamp(-self._eps, self._eps)
        return (images + self.noise[labels]).clamp(0, 1)


def _late(change: Tensor) -> Paint:
    """Paint whose change is made full precision only when it is needed: there may be one for every image."""
    return lambda pixels: changed_by(change.float())(pixels)
