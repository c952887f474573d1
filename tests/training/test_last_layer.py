"""Gradients in closed form are those of autograd, and taking them leaves no trace in a training run."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sanitizer.errors import UsageError
from sanitizer.training.gradients import last_layer

LABELS = np.arange(23) % 3


class Net(nn.Module):
    """Batch statistics, chance, a linear layer in the middle and one at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(7, 3)

    def forward(self, points: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.body(points))
        return logits


@pytest.fixture
def net() -> Net:
    """Always the same weights, in training mode."""
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def data() -> TensorDataset:
    """Points with their labels."""
    draw = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(23, 5, generator=draw), torch.from_numpy(LABELS))


def test_they_are_the_gradients_of_autograd(net: Net, data: TensorDataset) -> None:
    """Of each sample's loss, towards the head's weights and its bias."""
    found = last_layer(net, data, LABELS, with_feature=True, batch_size=8)
    assert found.feature is not None
    net.eval()
    for row, (point, answer) in enumerate(data):
        net.zero_grad()
        nn.functional.cross_entropy(net(point[None]), answer[None]).backward()
        assert net.head.weight.grad is not None
        written = np.outer(found.residual[row], found.feature[row])
        np.testing.assert_allclose(written, net.head.weight.grad, atol=1e-6)
        np.testing.assert_allclose(found.residual[row], net.head.bias.grad, atol=1e-6)


def state_of(net: nn.Module) -> list[Any]:
    """Everything that a look could disturb."""
    generators = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
    tensors = [tensor.tolist() for tensor in net.state_dict().values()]
    return [*generators, *tensors, [module.training for module in net.modules()], net.head._forward_hooks == {}]


class Chancy(Dataset[Any]):
    """Samples that are always the same, although random numbers are drawn to read them."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        assert random.random() + np.random.rand() + torch.rand(1).item() >= 0
        return torch.full((5,), float(item)), item % 3


def test_a_look_leaves_no_trace(net: Net) -> None:
    """Modes, statistics, hooks and generators are what they were, be some modules frozen or not."""
    net.body[1].eval()
    before = state_of(net)
    last_layer(net, Chancy(), LABELS)
    assert state_of(net) == before
    with pytest.raises(UsageError):
        last_layer(net, Chancy(), LABELS[:-1])
    assert state_of(net) == before
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_loaders_own_generator_is_put_back(net: Net, data: TensorDataset) -> None:
    """Whoever shares it with the training loader shuffles as before."""
    draw = torch.Generator().manual_seed(3)
    before = draw.get_state().tolist()
    last_layer(net, DataLoader(data, batch_size=4, generator=draw), LABELS)
    assert draw.get_state().tolist() == before


def test_how_samples_are_batched_does_not_matter(net: Net, data: TensorDataset) -> None:
    """A dataset or a loader, whatever the size of batches."""
    expected = last_layer(net, data, LABELS).residual
    for samples in (DataLoader(data, batch_size=5), DataLoader(data, batch_size=1)):
        np.testing.assert_allclose(last_layer(net, samples, LABELS).residual, expected, atol=1e-6)


def dictionaries(data: TensorDataset) -> list[dict[str, Tensor]]:
    """Items with names."""
    return [{"points": point} for point, _ in data]


ASKED: dict[str, Callable[[Net, TensorDataset], dict[str, Any]]] = {
    "a named head": lambda net, data: {"head": "head"},
    "the head itself": lambda net, data: {"head": net.head},
    "items with names": lambda net, data: {"samples": dictionaries(data)},
    "bare tensors": lambda net, data: {"samples": data.tensors[0]},
    "a head called by name": lambda net, data: {"forward": lambda model, batch: model.head(input=model.body(batch[0]))},
    "a way of one's own": lambda net, data: {"forward": lambda model, batch: model.head(model.body(batch[0]))},
}


@pytest.mark.parametrize("name", ASKED)
def test_however_the_model_is_asked(net: Net, data: TensorDataset, name: str) -> None:
    """The same gradients."""
    asked = {"samples": data} | ASKED[name](net, data)
    expected = last_layer(net, data, LABELS).residual
    np.testing.assert_allclose(last_layer(net, labels=LABELS, **asked).residual, expected, atol=1e-6)


def test_a_head_that_is_no_linear_layer_has_to_be_named(data: TensorDataset) -> None:
    """Whatever gives the logits."""
    convolved = nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Conv1d(5, 3, 1), nn.Flatten())
    with pytest.raises(UsageError, match="name its head"):
        last_layer(convolved, data, LABELS)
    assert last_layer(convolved, data, LABELS, head="2").residual.shape == (23, 3)
    with pytest.raises(UsageError, match=r"\(batch, classes\)"):
        last_layer(convolved, data, LABELS, head="1")
    assert not convolved[1]._forward_hooks


class Flipped(Chancy):
    """Augmented: now one way, now another."""

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return torch.rand(5), item % 3


def diverged(data: TensorDataset) -> dict[str, Any]:
    """A model that is no number."""
    net = Net()
    nn.init.constant_(net.head.bias, float("nan"))
    return {"model": net}


REFUSED: dict[str, tuple[str, Callable[[TensorDataset], dict[str, Any]]]] = {
    "augmentation": ("augmentation", lambda data: {"samples": Flipped()}),
    "shuffling": ("keeps the order", lambda data: {"samples": DataLoader(data, shuffle=True)}),
    "a lost rest": ("drops nothing", lambda data: {"samples": DataLoader(data, batch_size=4, drop_last=True)}),
    "too few labels": ("as many labels", lambda data: {"labels": LABELS[:20]}),
    "too many labels": ("the whole set", lambda data: {"labels": np.append(LABELS, 0)}),
    "labels unknown to the head": ("from 0 to 2", lambda data: {"labels": LABELS + 1}),
    "no labels": ("from 0 to 2", lambda data: {"labels": LABELS - 1}),
    "what has diverged": ("diverged", diverged),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_give_wrong_gradients_is_refused(net: Net, data: TensorDataset, name: str) -> None:
    """With what to do about it."""
    message, changed = REFUSED[name]
    asked = SimpleNamespace(**({"model": net, "samples": data, "labels": LABELS} | changed(data)))
    with pytest.raises(UsageError, match=message):
        last_layer(asked.model, asked.samples, asked.labels)


@pytest.mark.gpu
def test_on_cuda_too(net: Net, data: TensorDataset) -> None:
    """The same numbers, and CUDA's generator untouched."""
    expected = last_layer(net, data, LABELS, with_feature=True)
    before = torch.cuda.get_rng_state().tolist()
    found = last_layer(net.cuda(), data, LABELS, with_feature=True)
    assert torch.cuda.get_rng_state().tolist() == before
    np.testing.assert_allclose(found.residual, expected.residual, atol=1e-4)
    assert found.feature is not None
    np.testing.assert_allclose(found.feature, expected.feature, atol=1e-3)
