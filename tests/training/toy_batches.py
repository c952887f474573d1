"""Batches of toy images, and what a defence must leave alone, for the tests of what works inside a training loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SIDE = 8
CLASSES = 3
MEAN, STD = (0.5, 0.4, 0.6), (0.25, 0.2, 0.3)


def images(count: int = 16, *, seed: int = 0) -> Tensor:
    """Colours at random between 0 and 1, (n, 3, 8, 8)."""
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def labels(count: int = 16) -> Tensor:
    """The three classes in turn."""
    return torch.arange(count) % CLASSES


def normalised(pixels: Tensor) -> Tensor:
    """As a loader with ``Normalize`` gives them."""
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def pixels_of(batch: Tensor) -> Tensor:
    """And back."""
    return batch * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)


def model(*, seed: int = 0) -> nn.Sequential:
    """A small network with everything that is easily disturbed: statistics, dropout, a frozen part."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, CLASSES),
        )  # fmt: skip
    net[0].bias.requires_grad_(False)
    return net


@contextmanager
def left_as_it_was(net: nn.Module) -> Iterator[None]:
    """Checks that nothing of a model has changed meanwhile: values, gradients, modes, what is frozen, global draws."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = {name: None if value.grad is None else value.grad.clone() for name, value in net.named_parameters()}
    modes = [part.training for part in net.modules()]
    frozen = [value.requires_grad for value in net.parameters()]
    hooks = [len(part._forward_pre_hooks) for part in net.modules()]
    drawn, learning = torch.get_rng_state(), torch.is_grad_enabled()
    yield
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for name, value in net.named_parameters():
        held = gradients[name]
        assert value.grad is None if held is None else value.grad is not None and torch.equal(value.grad, held)
    assert [part.training for part in net.modules()] == modes
    assert [value.requires_grad for value in net.parameters()] == frozen
    assert [len(part._forward_pre_hooks) for part in net.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.is_grad_enabled() == learning
