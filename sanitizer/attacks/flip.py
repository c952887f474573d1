"""Label noise: labels change, pixels do not; at random, to the next class, from one class to one, at boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import Attack
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import Plan, Planted
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.sources.base import Pixels
from sanitizer.sources.census import Census

_MODES = ("uniform", "pairwise", "targeted", "nearest")
_VIEW = 16  # "nearest" compares classes on images of this side

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Flip(Attack):
    """Wrong labels for a share of the set.

    Args:
        mode: "uniform" gives any other class, "pairwise" class y + 1, "targeted" the target class, and "nearest" gives
            the samples closest to the boundary between two classes, by the mean image of each, the other of the two.
        source: Class whose labels "targeted" changes, by name or index; any but the target if None.
    """

    name: ClassVar[str] = "flip"
    paper: ClassVar[str] = "Biggio et al. 2011, Support Vector Machines Under Adversarial Label Noise, ACML"
    threat: ClassVar[str] = "label noise"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Wrong labels on unchanged images make a model worse, or make it take one class for another."

    rate: float = 0.05
    mode: str = "uniform"
    source: str | int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("mode", self.mode in _MODES, f"one of {', '.join(_MODES)}")
        for name in ("target", "source"):
            given = getattr(self, name) is not None
            self.expect(name, self.targeted or not given, f"None, as mode {self.mode} leads to no class")

    @property
    def targeted(self) -> bool:
        """One of the modes is."""
        return self.mode == "targeted"

    def plan(self, census: Census, target: int, workshop: Workshop) -> Plan:  # noqa: ARG002
        """Change labels."""
        labels, classes, count = census.labels(), len(census.class_names), self.how_many(len(census.samples))
        fits = self._from_source(labels, target, census.class_names)
        if count > fits.sum():
            raise UsageError(
                f"rate: {self.rate} of {len(labels)} samples is {count}, expected at most {fits.sum()}, as many as "
                f"have a label to change: choose a lower rate"
            )
        rng = np.random.default_rng(self.seed)
        if self.mode == "nearest":
            chosen, becomes = _at_boundaries(census.views(_VIEW), labels, classes)
            chosen = chosen[:count]
        else:
            chosen = rng.choice(np.flatnonzero(fits), count, replace=False)
            steps = rng.integers(1, classes, len(labels)) if self.mode == "uniform" else 1
            becomes = np.full_like(labels, target) if self.targeted else (labels + steps) % classes
        return Plan({census.samples[i].id: Planted("poison", int(becomes[i]), _unchanged) for i in np.sort(chosen)})

    def exam(self, images: Sequence[Pixels], labels: Labels, class_names: Sequence[str]) -> Exam:
        """Does a victim say the target for the source; without a target, is it wrong at all?"""
        target = self.aim(class_names)
        concerned = self._from_source(labels, target, class_names)
        shown = [image for image, is_shown in zip(images, concerned, strict=True) if is_shown]
        if self.targeted:
            return Exam(shown, np.full(len(shown), target, np.int64))
        return Exam(shown, labels[concerned], "avoids")

    def _from_source(self, labels: Labels, target: int, class_names: Sequence[str]) -> NDArray[np.bool_]:
        """Who has a label that may change."""
        if not self.targeted:
            return np.asarray(labels >= 0)
        if self.source is None:
            return np.asarray((labels >= 0) & (labels != target))
        return np.asarray(labels == self.other_class("source", self.source, target, class_names))


def _unchanged(pixels: Pixels) -> Pixels:
    return pixels


def _at_boundaries(views: Pixels, labels: Labels, classes: int) -> tuple[NDArray[np.intp], Labels]:
    """Labelled samples, those closest to a boundary between class means first; and the other class of each.

    A sample's boundary is the one between its own class and the nearest other; which side it lies on does not matter.
    """
    images = views.reshape(len(views), -1).astype(np.float32) / 255
    present = np.unique(labels[labels >= 0])
    if len(present) < 2:
        raise UsageError(f"mode: expected samples of two classes or more for 'nearest', got {len(present)}: add some")
    means = np.full((classes, images.shape[1]), np.inf, np.float32)
    for label in present:
        means[label] = images[labels == label].mean(axis=0)
    rows = np.flatnonzero(labels >= 0)
    squared = np.full((len(rows), classes), np.inf)  # distances from images to means, less the image's own square
    squared[:, present] = (means[present] ** 2).sum(axis=1) - 2 * images[rows] @ means[present].T
    own = squared[np.arange(len(rows)), labels[rows]]
    squared[np.arange(len(rows)), labels[rows]] = np.inf
    others = squared.argmin(axis=1)
    apart = np.linalg.norm(means[others] - means[labels[rows]], axis=1)
    distances = np.abs(squared.min(axis=1) - own) / np.maximum(2 * apart, 1e-12)
    becomes = labels.copy()
    becomes[rows] = others
    return rows[np.argsort(distances, kind="stable")], becomes
