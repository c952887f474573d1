"""Adversarial poisoning training: every batch is poisoned against the model as it is, and learned with its true labels.

Geiping et al. 2021, arXiv:2102.13624. What the model has met in training, poison in its data does not achieve any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.bullseye import off_centre
from sanitizer.attacks.crafting import Craft, Loss, craft
from sanitizer.attacks.feature_collision import features, still_features
from sanitizer.attacks.hidden_trigger import assigned, towards
from sanitizer.attacks.matching import gradient, mean_gradient, mismatch
from sanitizer.attacks.patch import anywhere
from sanitizer.attacks.trigger import Image
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier
from sanitizer.training.borrowed import borrowed
from sanitizer.training.draws import Seeded
from sanitizer.training.scale import Channels, batch_of, images_of

#: How large a patch is, as a share of an image's height and of its width.
_PATCH = (0.1, 0.4)


@dataclass(frozen=True)
class Parts:
    """A batch in two: the images that play poison, and those that play what the poison aims at; all between 0 and 1."""

    poisons: Tensor  # (n, c, h, w)
    labels: Tensor  # of the poisons, (n,), or (n, classes) where they are soft
    targets: Tensor  # (m, c, h, w)
    answers: Tensor  # true labels of the targets


#: The parts as the attack shows them, and what crafting is to bring down, if there is anything to craft.
Inner = Callable[[Classifier, Parts, np.random.Generator], tuple[Parts, Loss | None]]


@dataclass(frozen=True, kw_only=True)
class AdversarialPoisoning(Seeded):
    """Poison a batch against the model that is about to learn it; its labels, and their order, stay.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    >>> x, y = torch.rand(8, 3, 4, 4), torch.arange(8) % 2
    >>> defend = AdversarialPoisoning(steps=1)
    >>> x, y = defend(model, x, y)

    Args:
        inner: ``matching`` of gradients, ``collision`` of features, ``hidden`` triggers, or a ``patch`` for every class
            that images of other classes show, which needs no crafting.
        eps: Largest change of a pixel, of 255; a patch covers what it covers.
        steps: Of crafting, for each batch.
        step: Size of the steps, of 255.
        share: Of a batch that plays poison.
        mean: As the batches are normalised, per channel or one for all.
        std: Likewise.
        head: The part of the model whose input are its features; if None, the linear layer that is reached last.
    """

    inner: str = "matching"
    eps: float = 16
    steps: int = 5
    step: float = 6.3
    share: float = 0.75
    mean: Channels = 0.0
    std: Channels = 1.0
    head: nn.Module | None = None

    def __post_init__(self) -> None:
        _expect("inner", self.inner in INNER, f"one of {', '.join(INNER)}", self.inner)
        _expect("eps", is_number(self.eps) and 0 < self.eps <= 255, "a number above 0, at most 255", self.eps)
        _expect("steps", is_whole(self.steps) and self.steps >= 1, "a whole number, at least 1", self.steps)
        _expect("step", is_number(self.step) and self.step > 0, "a number above 0", self.step)
        _expect("share", is_number(self.share) and 0 < self.share < 1, "a share between 0 and 1", self.share)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch to train on in place of this one; labels may be soft, so mixing may come before."""
        images = images_of(x, self.mean, self.std)
        with borrowed(model, x.device, mean=self.mean, std=self.std, head=self.head) as net:
            changed = self._poisoned(net, images, y)
        found = batch_of(changed, x, self.mean, self.std)
        same = (changed == images).flatten(1).all(dim=1)  # to scale there and back may change a last bit
        found[same] = x.detach()[same]
        return found, y

    def perturb(self, net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The same for one of our own networks: what ``sanitizer.nets.train`` takes as ``perturb``."""
        mean, std = (values.flatten().tolist() for values in (net.mean, net.std))
        with borrowed(net, images.device, mean=mean, std=std, head=self.head or net.head) as seen:
            return self._poisoned(seen, images, labels)

    def _poisoned(self, net: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """Images between 0 and 1 as the inner attack leaves them."""
        if len(images) < 2:
            return images  # a part would be empty
        order = torch.from_numpy(self.draws.permutation(len(images))).to(images.device)
        count = min(max(round(self.share * len(images)), 1), len(images) - 1)
        ours, theirs = order[:count], order[count:]
        parts = Parts(images[ours], labels[ours], images[theirs], labels[theirs])
        seed = int(self.draws.integers(2**31))
        parts, loss = INNER[self.inner](net, parts, self.draws)
        poisons = parts.poisons
        if loss:
            poisons, _ = craft(poisons, _always(loss), replace(self.search(), batch=count, seed=seed))
        changed = images.clone()
        changed[ours], changed[theirs] = poisons.detach(), parts.targets
        return changed

    def search(self) -> Craft:
        """Signed Adam from noise, at one rate."""
        return Craft(eps=self.eps / 255, steps=self.steps, rate=self.step / 255, drops=(), rounds=1)


def matching(net: Classifier, parts: Parts, draws: np.random.Generator) -> tuple[Parts, Loss]:  # noqa: ARG001
    """The gradient of the poisons leads where that of the targets under the poisons' most frequent label does."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    if not weights:
        raise UsageError("expected a model that trains, got one without a parameter that requires gradients: unfreeze")
    goal = mean_gradient(net, weights, parts.targets, usual(parts.labels))

    def value(images: Tensor, rows: Tensor) -> Tensor:
        return mismatch(gradient(net, weights, images, parts.labels[rows], keep=True), goal)

    return parts, value


def collision(net: Classifier, parts: Parts, draws: np.random.Generator) -> tuple[Parts, Loss]:  # noqa: ARG001
    """The centre of the poisons' features is that of the targets' features, as of the bullseye polytope."""
    goal = still_features(net, parts.targets).mean(dim=0)
    return parts, lambda images, rows: off_centre(features(net, images), goal)


def hidden(net: Classifier, parts: Parts, draws: np.random.Generator) -> tuple[Parts, Loss]:
    """Every poison has the features of a target that shows a patch; the targets are learned with it too."""
    patch = drawn_patch(parts.targets, draws)
    shown = stamped(parts.targets, [patch] * len(parts.targets), draws)
    goals, count = still_features(net, shown), len(parts.poisons)
    goals = goals[torch.arange(max(count, len(goals)), device=goals.device) % len(goals)]  # few are used again
    order = assigned([still_features(net, parts.poisons)], [goals])
    return replace(parts, targets=shown), towards([net], [goals[order]])


def patches(net: Classifier, parts: Parts, draws: np.random.Generator) -> tuple[Parts, None]:  # noqa: ARG001
    """Every class has a patch that its poisons show, and that targets of another class show."""
    ours, theirs = (hard(labels).tolist() for labels in (parts.labels, parts.answers))
    circle = draws.permutation(sorted({*ours, *theirs})).tolist()
    own = {kind: drawn_patch(parts.poisons, draws) for kind in circle}
    others = {kind: own[following] for kind, following in zip(circle, circle[1:] + circle[:1], strict=True)}
    return replace(
        parts,
        poisons=stamped(parts.poisons, [own[kind] for kind in ours], draws),
        targets=stamped(parts.targets, [others[kind] for kind in theirs], draws),
    ), None


INNER: dict[str, Inner] = {"matching": matching, "collision": collision, "hidden": hidden, "patch": patches}


def usual(labels: Tensor) -> int:
    """The most frequent label.

    >>> usual(torch.tensor([2, 0, 2])), usual(torch.tensor([[0.6, 0.4], [0.1, 0.9]]))
    (2, 1)
    """
    return int(labels.sum(dim=0).argmax() if labels.ndim == 2 else labels.mode().values)


def hard(labels: Tensor) -> Tensor:
    """One class for each, (b,): the largest part of it where labels are soft."""
    return labels.argmax(dim=1) if labels.ndim == 2 else labels


def drawn_patch(images: Tensor, draws: np.random.Generator) -> Image:
    """Colours at random, each all or nothing, of a random size that fits such images, as (a, b, c)."""
    _, channels, *sides = images.shape
    a, b = (max(1, round(share * side)) for share, side in zip(draws.uniform(*_PATCH, 2), sides, strict=True))
    return draws.integers(2, size=(a, b, channels)).astype(np.float32)


def stamped(images: Tensor, shown: list[Image], draws: np.random.Generator) -> Tensor:
    """Every image with its patch, in a place of its own."""
    arrays = images.permute(0, 2, 3, 1).cpu().numpy()
    made = [anywhere(image, patch, draws) for image, patch in zip(arrays, shown, strict=True)]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).to(images.device)


def _always(loss: Loss) -> Callable[[int, Tensor], Loss]:
    return lambda number, images: loss


def _expect(setting: str, met: bool, wanted: str, got: object) -> None:
    if not met:
        raise UsageError(f"{setting}: expected {wanted}, got {got!r}")
