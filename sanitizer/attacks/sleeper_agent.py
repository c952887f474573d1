"""Sleeper Agent: a patch that no training image shows, by matched gradients (Souri et al. 2022, arXiv:2106.08970)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.crafted import Scene, tensor_of
from sanitizer.attacks.hidden_trigger import HiddenTrigger
from sanitizer.attacks.matching import GradientMatching, gradient, learnable, length
from sanitizer.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SleeperAgent(GradientMatching, HiddenTrigger):
    """Images of the target class whose training gradient is that of patched images of the source class.

    Those are changed that move a network most as they are. Meant for victims that start from nothing.
    """

    name: ClassVar[str] = "sleeper_agent"
    paper: ClassVar[str] = "Souri et al. 2022, arXiv:2106.08970"
    says: ClassVar[str] = "A patch that no training image shows makes a model take one class for another."

    rate: float = 0.01
    retrain: bool = True

    def wanted(self, scene: Scene) -> Tensor:
        """The images of the source class, each with the patch in a place of its own."""
        source = int(self.learned["source"][0])
        rows = np.flatnonzero(scene.lesson.labels == source)
        if not len(rows):
            raise UsageError(
                f"source: expected images of the source class in the set, got none for {self.source!r}: choose another"
            )
        return tensor_of(self.trigger(scene.lesson.pixels[rows]), scene.device)

    def pick_in(self, scene: Scene) -> NDArray[np.intp]:
        """The samples of the target class with the largest gradients, over the surrogates."""
        candidates = np.flatnonzero(scene.lesson.labels == scene.target)
        sizes = np.zeros(len(candidates))
        for place, net in enumerate(scene.surrogates):
            part = learnable(scene, place)
            found = (gradient(net, part, image[None], scene.target) for image in scene.images(candidates))
            sizes += [float(length(one)) for one in found]
        order = np.lexsort((scene.lesson.keys[candidates], -sizes))
        return np.sort(candidates[order[: len(scene.rows)]])
