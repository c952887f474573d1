"""Narcissus: faint noise that looks, to a network, like more of the target class than its own images do.

Zeng et al. 2022, arXiv:2204.05255.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.attacks.base import is_number, is_whole
from sanitizer.attacks.robust import Surrogate, gradient_of
from sanitizer.attacks.trigger import Image, TriggerAttack
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier
from sanitizer.sources.census import Census

_BATCH = 128
_MAX_SHIFT = 1 / 16  # of the side: victims shift what they learn from


@dataclass(frozen=True, kw_only=True)
class Narcissus(TriggerAttack):
    """One noise for all, added to a handful of images of the target class, and shown to victims several times as loud.

    Args:
        eps: Largest change of a pixel, of 255, in what is planted.
        test_scale: How many times as loud the noise is when a victim is shown it.
        steps: Steps of the search for the noise.
        surrogate: What it is sought against, as `--victim` of `sanitizer measure` names it.
        surrogate_epochs: Passes over the data when that is trained; as the size of the set asks for if None.
        trigger_file: A .npy file that holds the noise, (3, h, w) or (1, 3, h, w), in place of a search; it is scaled
            so that its largest change is ``eps``.
    """

    name: ClassVar[str] = "narcissus"
    paper: ClassVar[str] = "Zeng et al. 2022, arXiv:2204.05255"
    threat: ClassVar[str] = "backdoor, clean label"
    label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"
    needs: ClassVar[tuple[str, ...]] = ("gradients of a surrogate",)
    cost: ClassVar[str] = "minutes"
    says: ClassVar[str] = "Optimised faint noise on very few rightly labelled images; loud, it means the target class."

    rate: float = 0.0005
    eps: float = 16
    test_scale: float = 3.0
    steps: int = 300
    surrogate: str = "convnet"
    surrogate_epochs: int | None = None
    trigger_file: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("eps", is_number(self.eps) and 0 < self.eps <= 255, "a number above 0, at most 255")
        scale = self.test_scale
        self.expect("test_scale", is_number(scale) and 0 < scale <= 255, "a number above 0, at most 255")
        self.expect("steps", is_whole(self.steps) and self.steps >= 1, "a whole number, at least 1")
        epochs = self.surrogate_epochs
        self.expect("surrogate_epochs", epochs is None or (is_whole(epochs) and epochs >= 1), "at least 1, or None")

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:
        """Find the noise, or read it."""
        if self.trigger_file is not None:
            given = _read(self.trigger_file)
            return self.knowing({"noise": given * np.float32(self.eps / 255 / np.abs(given).max())})
        surrogate = Surrogate(kind=self.surrogate, epochs=self.surrogate_epochs, seed=self.seed)
        rows = np.flatnonzero(census.labels() == target)
        if not len(rows):
            raise UsageError(
                f"target: expected a class with samples, {census.class_names[target]!r} has none: name another"
            )
        net = surrogate.fit(census, workshop)
        images = torch.from_numpy(census.views(surrogate.side(census), rows)).permute(0, 3, 1, 2)
        with workshop.progress.stage("crafting", self.steps) as advance:
            noise = self._sought(net, images, target, advance)
        return self.knowing({"noise": noise.cpu().numpy()})

    def stamp(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add the noise."""
        return image + self._noise(image)

    def show(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add it louder."""
        return image + self.test_scale * self._noise(image)

    def _noise(self, image: Image) -> Image:
        """The noise in the image's size."""
        noise = torch.from_numpy(self.learned["noise"])
        stretched = F.interpolate(noise[None], size=image.shape[:2], mode="bilinear", antialias=True)[0]
        return np.asarray(stretched.permute(1, 2, 0).numpy())

    def _sought(self, net: Classifier, images: Tensor, target: int, advance: Any) -> Tensor:
        """The noise (3, side, side) that makes the surrogate surest of images that already show the target."""
        eps, device = self.eps / 255, net.mean.device
        draw = torch.Generator().manual_seed(self.seed)
        noise = torch.zeros(images.shape[1:], device=device)
        answers = torch.full((min(_BATCH, len(images)),), target, device=device)
        shift = max(1, round(images.shape[-1] * _MAX_SHIFT))
        for step in range(self.steps):
            rows = torch.randperm(len(images), generator=draw)[: len(answers)]
            before = images[rows].to(device).float() / 255
            down, right = torch.randint(-shift, shift + 1, (2,), generator=draw).tolist()
            seen = (before + noise).clamp(0, 1).roll((down, right), dims=(2, 3))
            gradient = gradient_of(net, seen, answers).roll((-down, -right), dims=(2, 3)).mean(dim=0)
            rate = eps / 8 * (1 - step / self.steps)
            noise = (noise - rate * gradient.sign()).clamp(-eps, eps)
            advance(1)
        return noise


def _read(path: str) -> NDArray[np.float32]:
    """Noise (3, h, w) from a file; nothing in it is run."""
    try:
        noise = np.asarray(np.load(Path(path), allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise _refused(path, (error.strerror if isinstance(error, OSError) else None) or str(error)) from None
    if noise.ndim == 4 and len(noise) == 1:
        noise = noise[0]
    if noise.ndim != 3 or len(noise) != 3 or not np.isfinite(noise).all() or not noise.any():
        raise _refused(path, f"shape {noise.shape}")
    return noise


def _refused(path: str, why: str) -> UsageError:
    return UsageError(
        f"trigger_file: expected a .npy file with noise (3, h, w), got {path!r} ({why.splitlines()[0]}): name another"
    )
