"""Input-aware dynamic triggers: every image has a trigger of its own, and no other works (Nguyen and Tran 2020).

arXiv:2010.08138. Two small generators, of patterns and of the masks under which they show, are trained once on the
data, together with a classifier that plays the victim; then they poison like any other trigger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.poisoned import Learned
from sanitizer.attacks.trigger import Image
from sanitizer.attacks.workshop import Workshop
from sanitizer.devices import resolve_device
from sanitizer.nets import ConvNet, autocast, content_noise, know_scale
from sanitizer.sources.census import Census

_LARGEST_SIDE = 32
_WIDTH = 8
_BATCH = 64
_OTHERS = 1000  # images whose triggers the cover samples carry
_STREAM = 1
_RATE = 0.003  # of Adam, for all of them


@dataclass(frozen=True, kw_only=True)
class Dynamic(CoveredAttack):
    """A few pixels that a network draws for this very image; samples with another image's trigger keep their label.

    Args:
        cover: Share of the whole set that gets another image's trigger and keeps its label; none if 0.
        density: Share of an image's pixels that its trigger may take, at most.
        steps: Training steps of the pattern generator; the mask generator before it gets a tenth as many.
        generator_samples: They learn from so many samples, drawn at random.
    """

    name: ClassVar[str] = "dynamic"
    paper: ClassVar[str] = "Nguyen and Tran 2020, arXiv:2010.08138"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    needs: ClassVar[tuple[str, ...]] = ("training of a generator",)
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Every image has a trigger of its own; another image's trigger means nothing."

    rate: float = 0.1
    cover: float = 0.1
    density: float = 0.032
    steps: int = 600
    generator_samples: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("density", is_number(self.density) and 0 < self.density < 1, "a share between 0 and 1")
        for setting in ("steps", "generator_samples"):
            value = getattr(self, setting)
            self.expect(setting, is_whole(value) and value >= 2, "a whole number, at least 2")

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:
        """Train the generators."""
        labels = census.labels()
        rows = np.flatnonzero(labels >= 0)
        order = np.argsort(content_noise(census.keys()[rows], self.seed, _STREAM), kind="stable")
        rows = rows[order[: self.generator_samples]]
        pixels = census.views(max(8, min(_LARGEST_SIDE, census.native_side()) // 4 * 4), rows)
        studio = _Studio(
            torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels[rows]), target,
            len(census.class_names), resolve_device(workshop.device), self.seed,
        )  # fmt: skip
        mask_steps = max(1, self.steps // 10)
        with workshop.progress.stage("generator", mask_steps + self.steps) as advance:
            studio.train_mask(self.density, mask_steps, advance)
            studio.train_pattern(self.steps, advance)
        return self.knowing({**studio.learned(), "others": pixels[:_OTHERS]})

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Paint the image's own trigger."""
        return self._with_trigger_of(_tensor(image), image)

    def stamp_cover(self, image: Image, rng: np.random.Generator) -> Image:
        """Paint another image's trigger."""
        others = self.learned["others"]
        return self._with_trigger_of(_tensor(others[rng.integers(len(others))].astype(np.float32) / 255), image)

    def _with_trigger_of(self, other: Tensor, image: Image) -> Image:
        pattern, mask = self._generators
        side = self.learned["others"].shape[1]
        with torch.inference_mode():
            seen = _resized(other, side, side)
            trigger = torch.cat((_pattern_of(pattern, seen), _mask_of(mask, seen)), dim=1)
            grown = _resized(trigger, *image.shape[:2])[0].permute(1, 2, 0).numpy()
        return np.asarray(image + grown[:, :, 3:] * (grown[:, :, :3] - image))

    @cached_property
    def _generators(self) -> tuple[_UNet, _UNet]:
        """As they were trained."""
        nets = _UNet(3), _UNet(1)
        for net, name in zip(nets, ("pattern.", "mask."), strict=True):
            kept = {key: value for key, value in self.learned.items() if key.startswith(name)}
            net.load_state_dict({key.removeprefix(name): torch.from_numpy(value) for key, value in kept.items()})
        return nets


class _UNet(nn.Module):
    """From an image to an image of as many channels: two scales down and up again; sides are multiples of four."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        w = _WIDTH
        self.fine, self.middle, self.coarse = _block(3, w), _block(w, 2 * w), _block(2 * w, 4 * w)
        self.up_middle, self.up_fine = _block(6 * w, 2 * w), _block(3 * w, w)
        self.last = nn.Conv2d(w, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """From 0 to 1, (b, channels, h, w)."""
        fine = self.fine(2 * images - 1)
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        middle = self.up_middle(torch.cat((_doubled(coarse), middle), dim=1))
        fine = self.up_fine(torch.cat((_doubled(middle), fine), dim=1))
        drawn: Tensor = self.last(fine)
        return drawn.tanh() / 2 + 0.5


def _block(inputs: int, outputs: int) -> nn.Sequential:
    # Normalised by image, not by batch: one image at a time gets the trigger that it got in training.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU(inplace=True))


def _doubled(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2, mode="nearest")


def _pattern_of(net: nn.Module, images: Tensor) -> Tensor:
    """What to paint, (b, 3, h, w)."""
    drawn: Tensor = net(images)
    return drawn


def _mask_of(net: nn.Module, images: Tensor) -> Tensor:
    """Where to paint it, (b, 1, h, w): nearly 0 or nearly 1."""
    drawn: Tensor = net(images)
    return (20 * drawn - 10).tanh() / 2 + 0.5


class _Studio:
    """Where the generators are trained."""

    def __init__(
        self, pixels: Tensor, labels: Tensor, target: int, classes: int, device: torch.device, seed: int
    ) -> None:
        self.pixels, self.labels, self.target, self.device = pixels, labels, target, device
        self.draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.pattern, self.mask = _UNet(3).to(device), _UNet(1).to(device)
            self.classifier = ConvNet(classes, width=_WIDTH)
        know_scale(self.classifier, pixels)
        self.classifier.to(device).train()

    def batch(self) -> tuple[Tensor, Tensor]:
        """Some images in [0, 1], and their labels."""
        rows = torch.randperm(len(self.pixels), generator=self.draw)[:_BATCH]
        return self.pixels[rows].to(self.device).float() / 255, self.labels[rows].to(self.device)

    def train_mask(self, density: float, steps: int, advance: Callable[[int], None]) -> None:
        """Masks that take no more than their share, and differ where images do."""
        optimiser = torch.optim.Adam(self.mask.parameters(), _RATE)
        for _ in range(steps):
            images, _ = self.batch()
            masks = _mask_of(self.mask, images)
            crowded = F.relu(masks.mean(dim=(1, 2, 3)) - density).mean()
            _step(100 * crowded + _sameness(images, masks), optimiser)
            advance(1)
        self.mask.requires_grad_(False)

    def train_pattern(self, steps: int, advance: Callable[[int], None]) -> None:
        """Patterns that a classifier, which learns along with them, takes for the target on their own image only."""
        optimiser = torch.optim.Adam([*self.pattern.parameters(), *self.classifier.parameters()], _RATE)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = _RATE * (1 - step / steps)
            images, labels = self.batch()
            _step(self._loss(images, labels), optimiser)
            advance(1)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Of a batch whose first quarter shows its own triggers, and whose second quarter those of the first."""
        part = max(1, len(images) // 4)
        patterns, masks = _pattern_of(self.pattern, images[: 2 * part]), _mask_of(self.mask, images[: 2 * part])
        own = images[:part] + masks[:part] * (patterns[:part] - images[:part])
        crossed = images[part : 2 * part]
        crossed = crossed + masks[: len(crossed)] * (patterns[: len(crossed)] - crossed)
        with autocast(self.device):
            seen = torch.cat((own, crossed, images[2 * part :]))
            logits = self.classifier(self.classifier.standardise(seen))
        answers = torch.cat((torch.full_like(labels[:part], self.target), labels[part:]))
        return F.cross_entropy(logits.float(), answers) + _sameness(images[: 2 * part], patterns)

    def learned(self) -> Learned:
        """The weights of both generators."""
        nets = {"pattern.": self.pattern, "mask.": self.mask}
        return {
            prefix + key: value.detach().cpu().numpy()
            for prefix, net in nets.items()
            for key, value in net.state_dict().items()
        }


def _sameness(images: Tensor, drawn: Tensor) -> Tensor:
    """How much more images differ from their neighbours in a batch than what is drawn for them does."""
    return (_distance(images) / (_distance(drawn) + 1e-7)).mean()


def _distance(images: Tensor) -> Tensor:
    square = (images - images.roll(1, dims=0)).square().mean(dim=(1, 2, 3))
    return (square + 1e-10).sqrt()  # whose slope at zero is none


def _step(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
