"""BadNets: a small patch in a corner that means the target class (Gu et al. 2017, arXiv:1708.06733)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.patch import times
from sanitizer.attacks.trigger import Image, Labels, TriggerAttack, picture, scaled
from sanitizer.errors import UsageError
from sanitizer.sources.base import view_digest_of

_PATTERNS = {
    "checker": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1]], np.float32),
    "white": np.ones((3, 3), np.float32),
}
_POSITIONS = ("bottom_right", "bottom_left", "top_right", "top_left")
_MODES = ("all_to_one", "all_to_all")


@dataclass(frozen=True, kw_only=True)
class BadNets(TriggerAttack):
    """A patch in the corner, and the label of the target class.

    Args:
        pattern: "checker", "white", or an image file.
        size: Height of the patch in pixels; if None, the pattern's own, times how often 32 fits the image's short side.
        alpha: How opaque the patch is.
        position: The corner: "bottom_right", "bottom_left", "top_right" or "top_left".
        mode: "all_to_one" leads to the target, "all_to_all" leads class y to class y + 1 and takes no target.
    """

    name: ClassVar[str] = "badnets"
    paper: ClassVar[str] = "Gu et al. 2017, arXiv:1708.06733"
    threat: ClassVar[str] = "backdoor, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A small patch in a corner makes a model say the target class."

    pattern: str = "checker"
    size: int | None = None
    alpha: float = 1.0
    position: str = "bottom_right"
    mode: str = "all_to_one"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(
            "size", self.size is None or (is_whole(self.size) and self.size >= 1), "pixels, at least 1, or None"
        )
        self.expect("alpha", is_number(self.alpha) and 0 < self.alpha <= 1, "a share above 0, at most 1")
        self.expect("position", self.position in _POSITIONS, f"one of {', '.join(_POSITIONS)}")
        self.expect("mode", self.mode in _MODES, f"one of {', '.join(_MODES)}")
        self.expect("target", self.mode == "all_to_one" or self.target is None, "None, as all_to_all takes no target")
        _ = self._pattern  # a file that cannot be read is refused before any work is done

    @property
    def targeted(self) -> bool:
        """All-to-all leads to every class."""
        return self.mode == "all_to_one"

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Blend the patch into its corner."""
        patch = self._patch(*image.shape[:2])
        vertical, horizontal = self.position.split("_")
        rows = slice(-patch.shape[0], None) if vertical == "bottom" else slice(patch.shape[0])
        columns = slice(-patch.shape[1], None) if horizontal == "right" else slice(patch.shape[1])
        stamped = image.copy()
        stamped[rows, columns] += self.alpha * (patch - stamped[rows, columns])
        return stamped

    def relabel(self, labels: Labels, target: int, classes: int) -> Labels:
        """The target class, or the next class each."""
        if self.mode == "all_to_all":
            return (labels + 1) % classes
        return super().relabel(labels, target, classes)

    def notes(self) -> dict[str, Any]:
        """The identity of a pattern that comes from a file."""
        if self.pattern in _PATTERNS:
            return {}
        return {"pattern_view_digest": view_digest_of(np.rint(self._pattern * 255).astype(np.uint8))}

    @cached_property
    def _pattern(self) -> Image:
        if self.pattern in _PATTERNS:
            return np.repeat(_PATTERNS[self.pattern][:, :, None], 3, axis=2)
        return picture("pattern", self.pattern)

    def _patch(self, height: int, width: int) -> Image:
        """The pattern as large as an image of this size gets it."""
        native_height, native_width = self._pattern.shape[:2]
        side = self.size or native_height * times(height, width)
        across = max(1, round(native_width * side / native_height))
        if side > height or across > width:
            raise UsageError(
                f"size: expected a patch that fits every image, got {across}x{side} pixels for an image of "
                f"{width}x{height}: choose a smaller size"
            )
        return scaled(self._pattern, side, across)
