"""A user's model, borrowed in mid-training: attacks see it as a ``Classifier``, and it is given back as it was.

No gradient is left on its parameters, no statistic is changed, every part is in the mode that it was in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DataParallel, DistributedDataParallel

from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, autocast
from sanitizer.training.scale import Channels, per_channel


@contextmanager
def borrowed(
    model: nn.Module, device: torch.device, *, mean: Channels = 0.0, std: Channels = 1.0, head: nn.Module | None = None
) -> Iterator[Classifier]:
    """The model in eval mode, to be differentiated by images and weights, twice if need be.

    Args:
        model: What is trained; what distributes or compiles it is left out.
        device: Where it and its images are.
        mean: As its images are normalised.
        std: Likewise.
        head: The part whose input are the features; if None, the linear layer that is reached last.
    """
    model = _bare(model)
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        # What autocast has rounded here, some of it without a graph, must not serve the training step: no cache.
        uncached = torch.autocast(device.type, enabled=False, cache_enabled=False)
        # Fast attention has no second derivative.
        with torch.enable_grad(), uncached, sdpa_kernel(SDPBackend.MATH):
            yield _Borrowed(model, device, mean, std, head)
    finally:
        for part, training in modes:
            part.training = training


def _bare(model: nn.Module) -> nn.Module:
    """Without its wrappings: processes would wait for each other, and compiled code has no second derivative."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif isinstance(inside := getattr(model, "_orig_mod", None), nn.Module):  # of torch.compile
            model = inside
        else:
            return model


class _Borrowed(Classifier):
    """Any model that takes a batch of images and gives logits, or something with ``logits``."""

    def __init__(
        self, model: nn.Module, device: torch.device, mean: Channels, std: Channels, head: nn.Module | None
    ) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = per_channel(mean, device), per_channel(std, device)
        self._dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
        self._heads = [head] if head else [part for part in model.modules() if isinstance(part, nn.Linear)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (b, classes)."""
        made = self.model(images.to(self._dtype))
        logits: Tensor = getattr(made, "logits", made)
        return logits

    def features(self, images: Tensor) -> Tensor:
        """What the head is given, (b, d)."""
        seen: list[Tensor] = []

        def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen[:] = given[:1]

        hooks = [part.register_forward_pre_hook(see) for part in self._heads]
        try:
            with autocast(images.device):
                self(images)
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise UsageError(
                "expected a model with a linear layer as its head, found none that is used: name the part that the "
                "features go into, as head=model.PART"
            )
        return seen[0].flatten(1).float()
