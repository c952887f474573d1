"""The family of optimised, clean-label attacks: choose, craft against surrogates, record; a leaf says only its loss."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.base import Attack, is_number, is_whole
from sanitizer.attacks.crafting import Craft, Loss, LossOfRound, craft
from sanitizer.attacks.poisoned import Paint, Plan, Planted
from sanitizer.attacks.workshop import Workshop
from sanitizer.classifiers import Learner, Lesson, learner
from sanitizer.devices import resolve_device
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier
from sanitizer.sources.base import Pixels, digest_of
from sanitizer.sources.census import Census
from sanitizer.store import Shelf, implementation


@dataclass(frozen=True)
class Scene:
    """What a leaf crafts in: the set, the samples to change, the networks to change them for."""

    lesson: Lesson  # the whole set, as the surrogates see it
    rows: NDArray[np.intp]  # of the samples to change
    target: int
    learners: tuple[Learner, ...]  # that the surrogates came from, each ``ensemble`` times
    surrogates: tuple[Classifier, ...]
    device: torch.device

    def images(self, rows: Sequence[int] | NDArray[np.integer]) -> Tensor:
        """Samples as (m, 3, side, side) in [0, 1], on the device."""
        return tensor_of(self.lesson.pixels[np.asarray(rows)], self.device)


@dataclass(frozen=True, kw_only=True)
class CraftedAttack(Attack):
    """Samples of the target class, changed within a small ball so that training on them does the attacker's work.

    Args:
        eps: Largest change of a pixel, of 255.
        steps: Steps of the search.
        restarts: Searches from other starts; the best is kept.
        surrogate: What the poison is crafted against, as `--victim` of `sanitizer measure` names it; several,
            separated by commas, make an ensemble.
        ensemble: Networks of each kind that is trained, each from another seed.
        surrogate_epochs: Passes over the data when they are trained; as the size of the set asks for if None.
    """

    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate",)

    eps: float = 16
    steps: int = 250
    restarts: int = 1
    surrogate: str = "convnet"
    ensemble: int = 1
    surrogate_epochs: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("eps", is_number(self.eps) and 0 < self.eps <= 255, "a number above 0, at most 255")
        for setting in ("steps", "restarts", "ensemble"):
            value = getattr(self, setting)
            self.expect(setting, is_whole(value) and value >= 1, "a whole number, at least 1")
        epochs = self.surrogate_epochs
        self.expect("surrogate_epochs", epochs is None or (is_whole(epochs) and epochs >= 1), "at least 1, or None")

    @abstractmethod
    def loss(self, scene: Scene) -> Loss:
        """What to bring down."""

    def search(self) -> Craft:
        """How to search."""
        return Craft(eps=self.eps / 255, steps=self.steps, restarts=self.restarts, seed=self.seed)

    def search_in(self, scene: Scene) -> Craft:  # noqa: ARG002
        """How to search, for attacks that look at the surrogates first."""
        return self.search()

    def pick_in(self, scene: Scene) -> NDArray[np.intp]:
        """As many positions to change, in order, for attacks that look at the surrogates first."""
        return scene.rows

    def pick(self, census: Census, target: int) -> NDArray[np.intp]:
        """Positions to change, in order: a random share of the target class."""
        candidates = np.flatnonzero(census.labels() == target)
        count = self.how_many(len(census.samples))
        if count > len(candidates):
            raise UsageError(
                f"rate: {self.rate} of {len(census.samples)} samples is {count}, expected at most {len(candidates)}, "
                "the size of the target class: choose a lower rate or another target"
            )
        return np.sort(np.random.default_rng(self.seed).choice(candidates, count, replace=False))

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:
        """Change the picked samples; their labels stay."""
        scene = self.scene(census, self.pick(census, target), target, workshop)
        scene = replace(scene, rows=self.pick_in(scene))
        how, before = self.search_in(scene), scene.images(scene.rows)
        shelf = self._shelf(census, scene.rows, workshop)
        with workshop.progress.stage("crafting", how.steps * how.restarts) as advance:
            after, lowest = craft(before, self.losses(scene), how, shelf=shelf, advance=advance)
        planted = {
            census.samples[row].id: Planted("poison", target, changed_by(change))
            for row, change in zip(scene.rows, (after - before).cpu(), strict=True)
        }
        return Plan(planted, {"final_loss": lowest})

    def losses(self, scene: Scene) -> LossOfRound:
        """The loss of each round; the same in all of them, unless a leaf retrains its surrogates."""
        loss = self.loss(scene)
        return lambda number, images: loss

    def scene(self, census: Census, rows: NDArray[np.intp], target: int, workshop: Workshop) -> Scene:
        """The set as the surrogates see it, and the surrogates, fitted to it as it is."""
        device = resolve_device(workshop.device)
        kinds = [
            learner(name.strip(), samples=len(census.samples), native_side=census.native_side(),
                    epochs=self.surrogate_epochs)
            for name in self.surrogate.split(",")
        ]  # fmt: skip
        if len({kind.side for kind in kinds}) > 1:
            raise UsageError(
                f"surrogate: expected networks that take images of one size, got {self.surrogate!r}, which take "
                f"{', '.join(f'{kind.side} pixels' for kind in kinds)}: name others"
            )
        if (unlabelled := int((census.labels() < 0).sum())) > 0:
            raise UsageError(
                f"{self.name} needs a label for every sample, {unlabelled} have none: label or remove them"
            )
        lesson = Lesson(census.views(kinds[0].side), census.labels(), census.keys(), len(census.class_names))
        surrogates = tuple(
            self.fitted(kind, lesson, number, device, workshop) for kind in kinds for number in range(self.ensemble)
        )
        return Scene(lesson, rows, target, tuple(kinds), surrogates, device)

    def fitted(
        self, kind: Learner, lesson: Lesson, number: int, device: torch.device, workshop: Workshop
    ) -> Classifier:
        """One surrogate; it will be differentiated by its input, not by its weights unless a leaf asks for that."""
        seed = self.seed * 101 + number + 1
        with workshop.progress.stage("surrogate", kind.work(len(lesson.pixels))) as advance:
            return kind.fit(lesson, seed=seed, device=device, on_batch=advance)

    def _shelf(self, census: Census, rows: NDArray[np.intp], workshop: Workshop) -> Shelf | None:
        """Where a search that is interrupted leaves its state: it depends on the attack, the data and the code."""
        if workshop.store is None:
            return None
        data = hashlib.sha256("".join(f"{s.digest} {s.label} " for s in census.samples).encode()).hexdigest()
        code = implementation("sanitizer.attacks", "sanitizer.nets", "sanitizer.classifiers", "sanitizer.embed")
        held = hashlib.sha256(b"".join(self.learned[name].tobytes() for name in sorted(self.learned))).hexdigest()
        return workshop.store.shelf(
            "crafting", attack=self.facts(), data=data, rows=rows.tolist(), learned=held, code=code,
            weights=_weights_named(self.surrogate),
        )  # fmt: skip


def _weights_named(surrogates: str) -> list[str]:
    """The identity of every checkpoint that is named as a file: another one may come to lie there."""
    files = (Path(name.strip().partition(":")[2]) for name in surrogates.split(","))
    return [digest_of(file.read_bytes()) for file in files if file.is_file()]


def tensor_of(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """8-bit images (n, side, side, 3) as numbers from 0 to 1, (n, 3, side, side)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device).float() / 255


def changed_by(change: Tensor) -> Paint:
    """Paint that adds a change (3, side, side) to an image, stretched to the image's own size."""

    def paint(pixels: Pixels) -> Pixels:
        stretched = F.interpolate(change[None], size=pixels.shape[:2], mode="bilinear", antialias=True)[0]
        added = pixels.astype(np.float32) + 255 * stretched.permute(1, 2, 0).numpy()
        return np.asarray(np.rint(added.clip(0, 255)), np.uint8)

    return paint
