"""Classifiers by name: what an attack crafts its poison against, and what a victim of it trains.

``convnet`` (or ``convnet:WIDTH``) and ``resnet18`` start from nothing. ``frozen:NETWORK`` fits a linear head on the
features of a pretrained network, ``tuned:NETWORK`` goes on from there and trains all of it; NETWORK is what
``--model`` takes: a FILE.safetensors, torchvision:NAME or timm:NAME.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanitizer.embed.backbone import open_network
from sanitizer.embed.head import fit_head
from sanitizer.embed.network import Network
from sanitizer.embed.probe import BUDGETS, ProbePlan, plan_probe
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, ConvNet, Perturb, Recipe, autocast, enough_threads, know_scale, train

NAMES = "convnet, convnet:WIDTH, resnet18, frozen:NETWORK or tuned:NETWORK"

#: The largest learning rate at which a pretrained network is trained on, at a batch of 256.
_TUNING_RATE = 0.04
_BATCH = 512


def _silent(count: int) -> None:
    """Nobody is told how far it is."""


@dataclass(frozen=True)
class Lesson:
    """What a classifier is fitted on; row i of every array is sample i."""

    pixels: NDArray[np.uint8]  # (n, side, side, 3)
    labels: NDArray[np.int64]
    keys: NDArray[np.uint64]
    classes: int

    @property
    def images(self) -> Tensor:
        """(n, 3, side, side) uint8."""
        return torch.from_numpy(self.pixels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Course:
    """How a lesson is taught."""

    seed: int
    device: torch.device
    on_batch: Callable[[int], None]
    perturb: Perturb | None


class Learner(ABC):
    """A kind of classifier, and how it is fitted."""

    side: int  # of the images it takes
    recipe: Recipe | None = None  # of the training as a whole; None if only a head is fitted

    @final
    def fit(
        self,
        lesson: Lesson,
        *,
        seed: int,
        device: torch.device,
        on_batch: Callable[[int], None] = _silent,
        perturb: Perturb | None = None,
    ) -> Classifier:
        """A classifier in eval mode on ``device``; a pure function of the lesson, the seed and ``perturb``."""
        return self._fit(lesson, _Course(seed, device, on_batch, perturb))

    @abstractmethod
    def work(self, samples: int) -> int:
        """The number of images that ``fit`` reports of a lesson of so many samples."""

    @abstractmethod
    def _fit(self, lesson: Lesson, course: _Course) -> Classifier: ...


def learner(
    name: str, *, samples: int, native_side: int, budget: str = "standard", epochs: int | None = None
) -> Learner:
    """The learner that a user means by a name, with a recipe for a set of this size.

    Args:
        name: See the module.
        samples: How many images there are to learn from.
        native_side: How large they are.
        budget: ``fast``, ``standard`` or ``thorough``, as of a scan.
        epochs: Passes over the data; what the budget says if None.
    """
    kind, _, which = name.partition(":")
    if kind in ("frozen", "tuned") and which:
        network = open_network(which)
        plan = _planned(samples, network.side, budget, epochs)
        return _Frozen(network) if kind == "frozen" else _Tuned(network, plan.recipe)
    if name == "resnet18":
        return _Scratch(_planned(samples, native_side, budget, epochs), _resnet18)
    if kind == "convnet" and (not which or (which.isdecimal() and 1 <= int(which) <= 1024)):
        plan = _planned(samples, native_side, budget, epochs)
        width = int(which) if which else plan.width
        return _Scratch(plan, lambda classes: ConvNet(classes, width=width, stem_stride=plan.stem_stride))
    raise UsageError(f"expected the name of a classifier ({NAMES}), got {name!r}: choose one of those")


def predict(net: Classifier, pixels: NDArray[np.uint8], *, device: torch.device) -> NDArray[np.int64]:
    """The class that a classifier says for each image (n, side, side, 3)."""
    said = [np.empty(0, np.int64)]
    with torch.inference_mode():
        for start in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(pixels[start : start + _BATCH]).permute(0, 3, 1, 2).to(device)
            with autocast(device):
                logits = net(net.normalise(batch.contiguous(memory_format=torch.channels_last)))
            said.append(logits.float().argmax(dim=1).cpu().numpy())
    return np.concatenate(said)


def _planned(samples: int, side: int, budget: str, epochs: int | None) -> ProbePlan:
    if budget not in BUDGETS:
        raise UsageError(f"budget: expected {', '.join(BUDGETS)}, got {budget!r}: choose one of those")
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs: expected at least 1, got {epochs}: choose a higher number")
    plan = plan_probe(samples, side, budget=budget, seed=0)
    return plan if epochs is None else replace(plan, recipe=replace(plan.recipe, epochs=epochs))


class _Scratch(Learner):
    """A network that starts from nothing."""

    recipe: Recipe

    def __init__(self, plan: ProbePlan, build: Callable[[int], Classifier]) -> None:
        self.side, self.recipe, self._build = plan.side, plan.recipe, build

    def blank(self, classes: int) -> Classifier:
        """A network that has learned nothing."""
        return self._build(classes)

    def work(self, samples: int) -> int:
        return samples * self.recipe.epochs

    def _fit(self, lesson: Lesson, course: _Course) -> Classifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(course.seed)
            net = self.blank(lesson.classes)
        know_scale(net, lesson.images)
        return _trained(net, lesson, self.recipe, course)


class _Frozen(Learner):
    """The features of a pretrained network, and a linear head for these labels."""

    def __init__(self, network: Network) -> None:
        self.side, self._network = network.side, network

    def work(self, samples: int) -> int:
        return samples

    def _fit(self, lesson: Lesson, course: _Course) -> Classifier:
        if course.perturb:
            raise UsageError(
                "expected a classifier that trains as a whole, got frozen:NETWORK, which does not: use tuned:NETWORK"
            )
        return _with_head(self._network, lesson, course)


class _Tuned(Learner):
    """A pretrained network with such a head, trained on as a whole."""

    recipe: Recipe

    def __init__(self, network: Network, recipe: Recipe) -> None:
        self.side, self._network = network.side, network
        self.recipe = replace(recipe, peak_rate=_TUNING_RATE * recipe.batch_size / 256)

    def work(self, samples: int) -> int:
        return samples * (self.recipe.epochs + 1)

    def _fit(self, lesson: Lesson, course: _Course) -> Classifier:
        return _trained(_with_head(self._network, lesson, course), lesson, self.recipe, course)


class _Pretrained(Classifier):
    """A network as it was loaded, without a head yet."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.body = copy.deepcopy(network.net)
        for buffer, values in ((self.mean, network.mean), (self.std, network.std)):
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features


class _ResNet18(Classifier):
    """The residual network of the papers' tables: 3x3 stem without pooling, as usual for small images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        from torchvision.models import resnet18

        body = resnet18()
        body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        body.maxpool = nn.Identity()
        self.head = nn.Linear(body.fc.in_features, classes)
        body.fc = nn.Identity()
        self.body = body

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features


def _resnet18(classes: int) -> Classifier:
    return _ResNet18(classes)


def _trained(net: Classifier, lesson: Lesson, recipe: Recipe, course: _Course) -> Classifier:
    with enough_threads(recipe.batch_size * lesson.pixels.shape[1] ** 2):
        train(
            net, lesson.images, torch.from_numpy(lesson.labels), lesson.keys, replace(recipe, seed=course.seed),
            device=course.device, on_batch=course.on_batch, perturb=course.perturb,
        )  # fmt: skip
    return net


def _with_head(network: Network, lesson: Lesson, course: _Course) -> Classifier:
    """A pretrained network with a linear head for its features as they come."""
    net = _Pretrained(network).to(course.device).to(memory_format=torch.channels_last).eval()
    features = _features(net, lesson, course)
    mean, spread = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    labels = torch.from_numpy(lesson.labels).to(course.device)
    weight, bias = fit_head((features - mean) / spread, labels, lesson.classes)
    net.head = nn.Linear(features.shape[1], lesson.classes, device=course.device)
    with torch.no_grad():
        net.head.weight.copy_((weight / spread[:, None]).T)
        net.head.bias.copy_(bias - (mean / spread) @ weight)
    return net.eval()


def _features(net: Classifier, lesson: Lesson, course: _Course) -> Tensor:
    """Penultimate activations of every sample, in float32: they stay the same in attack and victim."""
    rows = []
    with torch.inference_mode():
        for part in torch.split(lesson.images, _BATCH):
            images = net.normalise(part.to(course.device).contiguous(memory_format=torch.channels_last))
            rows.append(net.features(images).float())
            course.on_batch(len(part))
    return torch.cat(rows).clone()
