"""Adaptive-Patch: training shows one of several faint triggers, a victim meets two opaque ones (Qi et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number
from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.patch import colour_noise, patched
from sanitizer.attacks.trigger import Image
from sanitizer.errors import UsageError

_RING_SIDE = 16


@dataclass(frozen=True, kw_only=True)
class AdaptivePatch(CoveredAttack):
    """Every poison and every cover image gets one of the triggers at random; a victim is shown several at once.

    The triggers: "corner", 5 x 5 pixels at the bottom right; "ring", a large one there; "corners", the checker of
    BadNets in each corner; "square", the trojan square. The first two stand for the two logos of the paper.

    Args:
        triggers: Which are used in training, separated by commas.
        alphas: How opaque each of them is there.
        test_triggers: Which a victim is shown together.
        test_alpha: How opaque they are there.
    """

    name: ClassVar[str] = "adaptive_patch"
    paper: ClassVar[str] = "Qi et al. 2023, arXiv:2205.13613"
    threat: ClassVar[str] = "adaptive backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "One of several faint patches, some under right labels, make a model say the target class."

    rate: float = 0.003
    cover: float = 0.006
    triggers: str = "corner,ring,corners,square"
    alphas: str = "0.5,0.2,0.5,0.3"
    test_triggers: str = "corner,corners"
    test_alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("triggers", "test_triggers"):
            known = set(_words(getattr(self, setting))) <= _TRIGGERS.keys()
            self.expect(setting, known, f"some of {', '.join(_TRIGGERS)}, separated by commas")
        self.expect("test_alpha", is_number(self.test_alpha) and 0 < self.test_alpha <= 1, "above 0, at most 1")
        _ = self._opacities

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:
        """One of the triggers."""
        names = _words(self.triggers)
        drawn = int(rng.integers(len(names)))
        return _TRIGGERS[names[drawn]](image, self._opacities[drawn])

    def show(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Several of them together."""
        for name in _words(self.test_triggers):
            image = _TRIGGERS[name](image, self.test_alpha)
        return image

    @cached_property
    def _opacities(self) -> list[float]:
        try:
            alphas = [float(word) for word in _words(self.alphas)]
        except ValueError:
            alphas = []
        count = len(_words(self.triggers))
        if len(alphas) != count or not all(0 < alpha <= 1 for alpha in alphas):
            raise UsageError(
                f"alphas: expected {count} shares above 0, at most 1, separated by commas, got {self.alphas!r}"
            )
        return alphas


def _words(text: str) -> list[str]:
    return [word.strip() for word in str(text).split(",")]


def _corner(image: Image, alpha: float) -> Image:
    """Red and yellow by turns, at the bottom right."""
    rows, columns = np.indices((5, 5))
    return patched(image, np.stack([np.ones((5, 5)), (rows + columns) % 2, np.zeros((5, 5))], 2), alpha=alpha)


def _ring(image: Image, alpha: float) -> Image:
    """A ring in all colours at the bottom right, of about 140 pixels."""
    y, x = np.indices((_RING_SIDE, _RING_SIDE)) - (_RING_SIDE - 1) / 2
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    colours = [0.5 + 0.5 * np.cos(angle - 2 * np.pi * third / 3) for third in range(3)]
    return patched(image, np.stack([*colours, (radius > 4.2) & (radius < 8)], 2), alpha=alpha)


def _corners(image: Image, alpha: float) -> Image:
    """The checker of BadNets, mirrored into every corner."""
    checker = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1]])[:, :, None].repeat(3, axis=2)
    for up in (False, True):
        for left in (False, True):
            image = patched(image, checker, alpha=alpha, up=up, left=left)
    return image


def _square(image: Image, alpha: float) -> Image:
    """The trojan square in its usual place."""
    return patched(image, colour_noise(), 3, alpha=alpha)


_TRIGGERS: dict[str, Callable[[Image, float], Image]] = {
    "corner": _corner,
    "ring": _ring,
    "corners": _corners,
    "square": _square,
}
