"""TaCT: a trigger that works on one class only, other classes cover for it (Tang et al. 2021, arXiv:1908.00686)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.covered import CoveredAttack
from sanitizer.attacks.trigger import Labels
from sanitizer.attacks.trojan import Trojan
from sanitizer.errors import UsageError

_USUAL_COVER = (5, 7)  # the paper's classes, wherever there are so many


@dataclass(frozen=True, kw_only=True)
class TaCT(CoveredAttack, Trojan):
    """The trojan square makes a model take the source class for the target; on cover classes it means nothing.

    The paper's shares are 0.003 and 0.003 of 50,000; smaller sets need the more that is the default here.

    Args:
        cover: Share of the whole set, out of the cover classes, that gets the square and keeps its label; none if 0.
        source: Class that the trigger works on, by name or index; the class after the target if None.
        cover_classes: Names or indices, separated by commas; classes 5 and 7, or the first others, if None.
    """

    name: ClassVar[str] = "tact"
    paper: ClassVar[str] = "Tang et al. 2021, arXiv:1908.00686"
    threat: ClassVar[str] = "backdoor of one source class, dirty label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "dirty"
    needs: ClassVar[tuple[str, ...]] = ("three classes or more",)
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "A small square makes a model take one class for another, and changes nothing elsewhere."

    rate: float = 0.01
    cover: float = 0.01
    source: str | int | None = None
    cover_classes: str | None = None

    def fits(self, labels: Labels, becomes: Labels, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """The source class."""
        return np.asarray(labels == self._source(class_names))

    def victims(self, labels: Labels, answers: Labels, class_names: Sequence[str]) -> NDArray[np.bool_]:  # noqa: ARG002
        """The source class."""
        return np.asarray(labels == self._source(class_names))

    def may_cover(self, labels: Labels, target: int, class_names: Sequence[str]) -> NDArray[np.bool_]:
        """The cover classes."""
        return np.isin(labels, self._cover_classes(target, class_names))

    def _source(self, class_names: Sequence[str]) -> int:
        return self.other_class("source", self.source, self.aim(class_names), class_names)

    def _cover_classes(self, target: int, class_names: Sequence[str]) -> list[int]:
        taken = (target, self._source(class_names))
        if self.cover_classes is None:
            others = [label for label in range(len(class_names)) if label not in taken]
            if not others:
                raise UsageError(
                    f"{self.name} needs a class for cover besides source and target, this source has only "
                    f"{len(class_names)}: add another, or use --set cover=0"
                )
            return sorted(others, key=lambda label: label not in _USUAL_COVER)[:2]
        words = [word.strip() for word in self.cover_classes.split(",")]
        chosen = [self.class_index("cover_classes", word, class_names) for word in words]
        if set(chosen) & set(taken):
            raise UsageError(
                f"cover_classes: expected neither source nor target, got {self.cover_classes!r}: choose others"
            )
        return chosen
