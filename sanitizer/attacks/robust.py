"""Surrogates whose batches are moved within a small ball before each step: up their loss, which makes them robust.

Madry et al. 2018, arXiv:1706.06083; few steps from a random start suffice: Wong et al. 2020, arXiv:2001.03994.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sanitizer.attacks.workshop import Workshop
from sanitizer.classifiers import Learner, Lesson, learner
from sanitizer.devices import resolve_device
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, Perturb, autocast, content_noise
from sanitizer.sources.census import Census

_BATCH = 256
_SMALL = 32  # the largest side that the fast budget looks at
_STREAM = 1  # of the draw of what a surrogate learns from; another one draws what the copy holds
_OVERSHOOT = 1.25  # a single step that is a little longer than the ball is wide reaches its surface from anywhere


@dataclass(frozen=True, kw_only=True)
class Ball:
    """How far and how images are moved: ``steps`` signed steps on the loss, no pixel further than ``eps``."""

    eps: float  # from 0 to 1
    step: float
    steps: int
    up: bool = True  # the loss; down if not

    def move(self, net: Classifier, images: Tensor, labels: Tensor, start: Tensor | None = None) -> Tensor:
        """The images (b, 3, h, w) in [0, 1] where the steps lead from ``start``, itself a change of them."""
        trained = net.training
        net.eval()  # or the steps would enter the statistics of batch normalisation
        delta = torch.zeros_like(images) if start is None else _within(start, images, self.eps)
        for _ in range(self.steps):
            gradient = gradient_of(net, images + delta, labels)
            delta = _within(delta + (self.step if self.up else -self.step) * gradient.sign(), images, self.eps)
        net.train(trained)
        return images + delta

    def move_all(self, net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The same for as many uint8 images as there are, as changes of them in float16, on the CPU."""
        device, changes = net.mean.device, [torch.empty(0, *images.shape[1:], dtype=torch.float16)]
        for part, answers in zip(torch.split(images, _BATCH), torch.split(labels, _BATCH), strict=True):
            before = part.to(device).float() / 255
            changes.append((self.move(net, before, answers.to(device)) - before).half().cpu())
        return torch.cat(changes)


def gradient_of(net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Of the loss by the images."""
    images = images.detach().requires_grad_()
    with autocast(images.device):
        logits = net(net.standardise(images))
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels), images)
    return gradient


def worst_case(eps: float, seed: int) -> Perturb:
    """What makes training adversarial: every batch is moved up its loss, one step from a random start."""
    ball = Ball(eps=eps, step=_OVERSHOOT * eps, steps=1)
    draw = torch.Generator().manual_seed(seed)

    def perturb(net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        start = (2 * torch.rand(images.shape, generator=draw) - 1) * eps
        return ball.move(net, images, labels, start.to(images.device))

    return perturb


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """What a surrogate is, before it is fitted.

    Args:
        kind: As `--victim` of `sanitizer measure` names it.
        epochs: Passes over the data; as the size of the set asks for if None.
        samples: It learns from so many samples, drawn at random; from all if None.
        seed: Of the weights and of all that is drawn.
    """

    kind: str
    epochs: int | None
    seed: int
    samples: int | None = None

    def fit(self, census: Census, workshop: Workshop, perturb: Perturb | None = None) -> Classifier:
        """The surrogate, fitted to what is labelled."""
        rows = np.flatnonzero(census.labels() >= 0)
        if not len(rows):
            raise UsageError("expected labelled samples to fit a surrogate to, got none: label some")
        order = np.argsort(content_noise(census.keys()[rows], self.seed, _STREAM), kind="stable")
        rows = np.sort(rows[order[: self.samples]])
        kind = self._learner(census, len(rows))
        lesson = Lesson(
            census.views(kind.side, rows), census.labels()[rows], census.keys()[rows], len(census.class_names)
        )
        device = resolve_device(workshop.device)
        with workshop.progress.stage("surrogate", kind.work(len(rows))) as advance:
            net = kind.fit(lesson, seed=self.seed, device=device, on_batch=advance, perturb=perturb)
        return net.requires_grad_(False)

    def side(self, census: Census) -> int:
        """How large it sees images."""
        return self._learner(census, len(census.samples)).side

    def _learner(self, census: Census, samples: int) -> Learner:
        side = census.native_side()
        # Half the steps of a victim are enough to show the way, but it has to see images as large as a victim does.
        budget = "fast" if side <= _SMALL else "standard"
        return learner(self.kind, samples=samples, native_side=side, budget=budget, epochs=self.epochs)


def _within(delta: Tensor, images: Tensor, eps: float) -> Tensor:
    """The nearest change that stays in the ball and leaves every pixel a pixel."""
    return (images + delta.clamp(-eps, eps)).clamp(0, 1) - images
