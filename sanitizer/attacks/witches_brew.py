"""Witches' Brew: its gradient leads to a wrong label for a test image (Geiping et al. 2021, arXiv:2009.02276)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.matching import GradientMatching
from sanitizer.attacks.targeted import TargetedAttack


@dataclass(frozen=True, kw_only=True)
class WitchesBrew(GradientMatching, TargetedAttack):
    """Images of the target class whose training gradient is that of the target image under a wrong label.

    With several target images it is the mean of theirs. Meant for victims that start from nothing.
    """

    name: ClassVar[str] = "witches_brew"
    paper: ClassVar[str] = "Geiping et al. 2021, arXiv:2009.02276"
    needs: ClassVar[tuple[str, ...]] = TargetedAttack.needs
    says: ClassVar[str] = "Slightly changed images make a model misread one chosen test image."

    restarts: int = 8

    def wanted(self, scene: Scene) -> Tensor:
        """The target images."""
        return self.targets_in(scene)
