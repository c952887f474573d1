"""The family of triggers with cover samples: stamped as well, but with their own label, so that poison hides better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.base import is_number
from sanitizer.attacks.poisoned import Paint
from sanitizer.attacks.trigger import Image, Labels, TriggerAttack
from sanitizer.sources.census import Census

_STREAM = 1  # covers and poisons are drawn independently of each other


@dataclass(frozen=True, kw_only=True)
class CoveredAttack(TriggerAttack):
    """Besides the poison, some samples get a trigger and keep their label; no sample is both.

    A leaf may say whom (``may_cover``) and with what (``stamp_cover``); it comes before an uncovered attack that it
    extends: ``class Hidden(CoveredAttack, Plain)``.

    Args:
        cover: Share of the whole set that is stamped and keeps its label; none if 0.
    """

    cover: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("cover", is_number(self.cover) and 0 <= self.cover < 1, "a share from 0 to below 1")

    def may_cover(self, labels: Labels, target: int, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """Who may be cover: any class but the target, whose label would say what the poison says."""
        return np.asarray(labels != target)

    def stamp_cover(self, image: Image, rng: np.random.Generator) -> Image:
        """A cover image: with the very trigger, unless a leaf knows better."""
        return self.stamp(image, rng)

    def covers(self, census: Census, target: int, poisoned: NDArray[np.intp]) -> Iterable[tuple[int, Paint]]:
        """A random share of those that are no poison."""
        if self.cover == 0:
            return ()
        labels = census.labels()
        free = self.may_cover(labels, target, census.class_names) & (labels >= 0)
        free[poisoned] = False
        rng = np.random.default_rng([self.seed, _STREAM])
        chosen = self.drawn("cover", self.cover, len(labels), np.flatnonzero(free), rng)
        return [(int(i), self.painter(self.stamp_cover)) for i in chosen]
