"""The family of stamped triggers: choose, stamp, relabel, record; a leaf says only how an image is stamped."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import Attack
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Paint, Plan, Planted
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels, view_digest_of
from sanitizer.sources.census import Census
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode

Image = NDArray[np.float32]  # (h, w, 3) RGB in [0, 1]
Labels = NDArray[np.int64]  # (n,), -1 where a sample has none


class TriggerAttack(Attack):
    """Choose, stamp, relabel, record: a leaf says only how an image is stamped.

    A leaf may also say whom it may touch (``fits``), who is stamped and keeps its label (``covers``), and that the
    trigger that it shows to a victim (``show``) differs from the one that it plants (``stamp``).
    """

    @abstractmethod
    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """The image with the trigger; ``rng`` is the image's own, so that the same image gets the same trigger."""

    def show(self, image: Image, rng: np.random.Generator) -> Image:
        """The image with the trigger as a trained victim gets to see it."""
        return self.stamp(image, rng)

    def relabel(self, labels: Labels, target: int, classes: int) -> Labels:  # noqa: ARG002
        """What a victim of this trigger is made to say for samples of these labels."""
        return np.full_like(labels, target)

    def fits(self, labels: Labels, becomes: Labels, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Who may be poisoned: those that ``becomes`` changes if dirty label, the others if clean."""
        return np.asarray((labels == becomes) if self.label_kind == "clean" else (labels != becomes))

    def choose(self, labels: Labels, fits: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
        """Positions to poison: a random share of those that fit."""
        candidates = np.flatnonzero(fits & (labels >= 0))
        return self.drawn("rate", self.rate, len(labels), candidates, rng)

    def covers(self, census: Census, target: int, poisoned: NDArray[np.intp]) -> Iterable[tuple[int, Paint]]:  # noqa: ARG002
        """Positions that get a trigger and keep their label, and how each is painted."""
        return ()

    def victims(self, labels: Labels, answers: Labels, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Which test images the trigger is shown on: all that do not show its answer anyway."""
        return np.asarray(labels != answers)

    def notes(self) -> dict[str, Any]:
        """What the recipe should say about the trigger beyond the settings."""
        return {}

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:  # noqa: ARG002
        """Stamp a random share of the samples."""
        labels = census.labels()
        becomes = self.relabel(labels, target, len(census.class_names))
        chosen = self.choose(labels, self.fits(labels, becomes, census.class_names), np.random.default_rng(self.seed))
        planted = {census.samples[i].id: Planted("poison", int(becomes[i]), self.painter(self.stamp)) for i in chosen}
        for i, paint in self.covers(census, target, chosen):
            planted[census.samples[i].id] = Planted("cover", int(labels[i]), paint)
        return Plan(planted, self.notes())

    def trigger(self, images: Pixels) -> Pixels:
        """What the attacker shows to the victim: every image of an (n, h, w, 3) batch, with the trigger."""
        paint = self.painter(self.show)
        return np.stack([paint(image) for image in images]) if len(images) else images.copy()

    def exam(self, images: Sequence[Pixels], labels: Labels, class_names: Sequence[str]) -> Exam:
        """The trigger on every test image that it is meant for."""
        answers = self.relabel(labels, self.aim(class_names), len(class_names))
        shown = self.victims(labels, answers, class_names)
        paint = self.painter(self.show)
        return Exam([paint(image) for image, is_shown in zip(images, shown, strict=True) if is_shown], answers[shown])

    def drawn(
        self, setting: str, rate: float, size: int, candidates: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """A share ``rate`` of ``size`` samples, at random from the candidates, in order."""
        count = max(1, round(rate * size))
        if count > len(candidates):
            raise UsageError(
                f"{setting}: {rate} of {size} samples is {count}, expected at most {len(candidates)}, as "
                f"many as this {self.label_kind}-label attack may touch: choose a lower {setting} or other classes"
            )
        return np.sort(rng.choice(candidates, count, replace=False))

    def painter(self, stamp: Callable[[Image, np.random.Generator], Image]) -> Paint:
        """A way to stamp, as a way to paint 8-bit images."""

        def paint(pixels: Pixels) -> Pixels:
            rng = np.random.default_rng([self.seed, int(view_digest_of(pixels)[:16], 16)])
            return np.rint(np.clip(stamp(unit(pixels), rng), 0, 1) * 255).astype(np.uint8)

        return paint


def scaled(image: Image, height: int, width: int) -> Image:
    """The image in another size: pixels repeated when it grows, averaged when it shrinks.

    >>> scaled(np.float32([[[0], [1]]]), 1, 4)[0, :, 0]
    array([0., 0., 1., 1.], dtype=float32)
    """
    taps_h, taps_w = -(-image.shape[0] // height), -(-image.shape[1] // width)
    rows = np.arange(height * taps_h) * image.shape[0] // (height * taps_h)
    columns = np.arange(width * taps_w) * image.shape[1] // (width * taps_w)
    taps = image[rows[:, None], columns].reshape(height, taps_h, width, taps_w, -1)
    return np.asarray(taps.mean(axis=(1, 3)), dtype=np.float32)


def picture(setting: str, path: str) -> Image:
    """The trigger image that a setting names."""
    try:
        return unit(decode(Path(path).read_bytes(), LIMITS))
    except (OSError, ValueError, Unreadable, Refused) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{setting}: expected an image file, got {path!r} ({why}): name one that can be read"
        ) from None


def unit(pixels: Pixels) -> Image:
    """8-bit pixels as numbers from 0 to 1."""
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)
