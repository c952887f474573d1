"""The family of stamped triggers: choose, stamp, relabel, record; a leaf says only how an image is stamped."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import Attack
from sanitizer.attacks.poisoned import Plan, Planted
from sanitizer.errors import UsageError
from sanitizer.progress import Progress
from sanitizer.sources.base import Pixels, view_digest_of
from sanitizer.sources.census import Census
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode

Image = NDArray[np.float32]  # (h, w, 3) RGB in [0, 1]
Labels = NDArray[np.int64]  # (n,), -1 where a sample has none


class TriggerAttack(Attack):
    """Choose, stamp, relabel, record: a leaf says only how an image is stamped."""

    @abstractmethod
    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """The image with the trigger; ``rng`` is the image's own, so that the same image gets the same trigger."""

    def relabel(self, labels: Labels, target: int, classes: int) -> Labels:  # noqa: ARG002
        """What a victim of this trigger is made to say for samples of these labels."""
        return np.full_like(labels, target)

    def choose(self, labels: Labels, becomes: Labels, rng: np.random.Generator) -> NDArray[np.intp]:
        """Positions to poison, at random: of those that ``becomes`` changes if dirty label, of the others if clean."""
        fits = (labels == becomes) if self.label_kind == "clean" else (labels != becomes)
        candidates = np.flatnonzero(fits & (labels >= 0))
        count = self.how_many(len(labels))
        if count > len(candidates):
            raise UsageError(
                f"rate: {self.rate} of {len(labels)} samples is {count}, expected at most {len(candidates)}, as "
                f"many as this {self.label_kind}-label attack may touch: choose a lower rate or another target"
            )
        return np.sort(rng.choice(candidates, count, replace=False))

    def notes(self) -> dict[str, Any]:
        """What the recipe should say about the trigger beyond the settings."""
        return {}

    def plan(self, census: Census, target: int, progress: Progress) -> Plan:  # noqa: ARG002
        """Stamp a random share of the samples."""
        labels = census.labels()
        becomes = self.relabel(labels, target, len(census.class_names))
        chosen = self.choose(labels, becomes, np.random.default_rng(self.seed))
        planted = {census.samples[i].id: Planted("poison", int(becomes[i]), self._stamped) for i in chosen}
        return Plan(planted, self.notes())

    def trigger(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the attacker shows to the victim: every image of an (n, h, w, 3) batch, stamped."""
        return np.stack([self._stamped(image) for image in images]) if len(images) else images.copy()

    def _stamped(self, pixels: Pixels) -> Pixels:
        rng = np.random.default_rng([self.seed, int(view_digest_of(pixels)[:16], 16)])
        image = self.stamp(_unit(pixels), rng)
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


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
        return _unit(decode(Path(path).read_bytes(), LIMITS))
    except (OSError, ValueError, Unreadable, Refused) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{setting}: expected an image file, got {path!r} ({why}): name one that can be read"
        ) from None


def _unit(pixels: Pixels) -> Image:
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)
