"""Gradients that no single sample can move far: clipped, and with noise on top.

Hong et al. 2020, arXiv:2002.11497, on poison; Abadi et al. 2016, arXiv:1607.00133, on privacy. Only ``make_private``
clips what every sample contributes, and so bounds its influence; it needs Opacus.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sanitizer.errors import MissingDependency, UsageError
from sanitizer.training.draws import Seeded

T = TypeVar("T")


@dataclass(frozen=True)
class Private:
    """What to train with instead; ``epsilon`` tells what has been spent."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    loader: DataLoader[Any]
    engine: Any  # opacus.PrivacyEngine

    def epsilon(self, delta: float = 1e-5) -> float:
        """Training so far was (epsilon, delta)-differentially private."""
        return float(self.engine.get_epsilon(delta))


def make_private(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loader: DataLoader[T],
    *,
    noise: float = 1.0,
    clip: float = 1.0,
    seed: int | None = None,
) -> Private:
    """DP-SGD through Opacus: the gradient of every sample is clipped, and their sum gets noise.

    Batch normalisation mixes samples, so Opacus refuses it; its own ``ModuleValidator.fix`` puts group normalisation
    in its place.

    Args:
        model: In train mode.
        optimiser: Of its parameters.
        loader: Its batches; they are drawn anew, each of another size.
        noise: Its standard deviation, in units of ``clip``.
        clip: The longest gradient that one sample may contribute.
        seed: Of noise that can be repeated, and so protects nobody's privacy; None is for use.
    """
    try:
        from opacus import PrivacyEngine
    except ImportError as error:
        raise MissingDependency(
            "expected Opacus to train privately, got no such package; pip install 'dataset-sanitizer[dp]'"
        ) from error
    engine = PrivacyEngine()
    draws = None if seed is None else torch.Generator(device=next(model.parameters()).device).manual_seed(seed)
    private, steps, batches = engine.make_private(
        module=model, optimizer=optimiser, data_loader=loader, noise_multiplier=noise, max_grad_norm=clip,
        noise_generator=draws,
    )  # fmt: skip
    return Private(private, steps, batches, engine)


@dataclass(frozen=True, kw_only=True)
class BatchGradientNoise(Seeded):
    """Clip the gradient of a batch and add noise to it, between ``backward`` and the optimiser's step.

    This is NOT differential privacy and gives no guarantee: what is clipped is the gradient of the batch as a whole, in
    which one sample may still have any share. It costs next to nothing and takes any model. Scaled gradients are to be
    unscaled before; with accumulation it belongs before the step, once.

    Args:
        clip: The longest gradient that is let through, over all parameters.
        noise: Its standard deviation, in units of ``clip``, for each weight.
    """

    clip: float = 1.0
    noise: float = 0.01

    def __post_init__(self) -> None:
        if not (self.clip > 0 and self.noise >= 0):
            raise UsageError(f"expected a clip above 0 and no negative noise, got {self.clip} and {self.noise}")

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Change the gradients in place; how long they were together."""
        learning = [parameter for parameter in parameters if parameter.grad is not None]
        before = nn.utils.clip_grad_norm_(learning, self.clip)
        for parameter in learning:
            assert parameter.grad is not None
            gradient = parameter.grad
            draw = torch.Generator(device=gradient.device).manual_seed(int(self.draws.integers(2**62)))
            noise = torch.randn(gradient.shape, generator=draw, device=gradient.device, dtype=torch.float32)
            gradient.add_((noise * (self.noise * self.clip)).to(gradient.dtype))
        return before
