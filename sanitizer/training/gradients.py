"""Last-layer gradients of somebody's model over a whole dataset, in closed form, without disturbing its training.

The gradient of cross-entropy with respect to the logits is softmax - onehot; with respect to the last layer's weights
it is that times the features. Neither needs a backward pass.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from sanitizer.errors import UsageError

Floats32 = NDArray[np.float32]
#: How a model is asked about a batch, where calling it with the batch's first part (or its names) is not the way.
Forward = Callable[[Any, Any], object]

#: Items read twice, to see whether they are augmented.
_PROBED = 8


@dataclass(frozen=True)
class LastLayer:
    """The gradients of n samples, as the one factor or the two that they are products of."""

    residual: Floats32  # (n, classes) softmax - onehot
    feature: Floats32 | None = None  # (n, d) what the last layer is given

    def __len__(self) -> int:
        return len(self.residual)


def last_layer(
    model: nn.Module,
    samples: Dataset[Any] | DataLoader[Any],
    labels: NDArray[np.int64],
    *,
    head: nn.Module | str | None = None,
    with_feature: bool = False,
    batch_size: int = 256,
    forward: Forward | None = None,
) -> LastLayer:
    """The gradients of ``samples``, in their order, by the model as it would be evaluated now.

    Modes, batch statistics and every random state are afterwards what they were: the training that this interrupts
    goes on as if nothing had been asked.

    Args:
        model: On any device. Its head is the ``Linear`` called last, unless named.
        samples: Without augmentation: what is read twice has to be the same. A loader has to keep the order.
        labels: What the gradients are towards, (n,).
        head: The layer, or its name, whose output are the logits.
        with_feature: Whether to keep what the head is given, too.
        batch_size: For a dataset; a loader has its own.
        forward: ``forward(model, batch)``, for models that are asked otherwise.
    """
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    loader = _in_order(samples, batch_size)
    residuals: list[Floats32] = []
    features: list[Floats32] = []
    done = 0
    with _undisturbed(model, loader, device), _watched(model, head) as seen, torch.no_grad():
        _require_plain(loader.dataset)
        for batch in loader:
            (forward or _ask)(model, _moved(batch, device))
            given, logits = _seen(seen)
            residuals.append(_residual(logits, labels[done : done + len(logits)]))
            if with_feature:
                features.append(given.flatten(1).float().cpu().numpy())
            done += len(logits)
    if done != len(labels):
        raise UsageError(f"expected a sample for each of {len(labels):,} labels, got {done:,}: give it the whole set")
    return LastLayer(np.concatenate(residuals), np.concatenate(features) if with_feature else None)


def _residual(logits: Tensor, labels: NDArray[np.int64]) -> Floats32:
    """softmax(logits) - onehot(labels)."""
    if len(labels) < len(logits):
        raise UsageError("expected as many labels as samples, got fewer: labels belong to the whole set")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise UsageError(
            f"expected labels from 0 to {logits.shape[1] - 1}, as the head has outputs, got {labels.min()} to "
            f"{labels.max()}: name the head, or number the classes"
        )
    if not torch.isfinite(logits).all():
        raise UsageError("expected finite logits, got others: the training has diverged")
    residual = logits.float().softmax(dim=1).cpu().numpy()
    residual[np.arange(len(labels)), labels] -= 1
    return np.asarray(residual)


# --- what the head was given, and what it gave

Seen = dict[str, Any]


@contextlib.contextmanager
def _watched(model: nn.Module, head: nn.Module | str | None) -> Iterator[Seen]:
    """A note of the last call of the head, or of any ``Linear`` where none is named."""
    seen: Seen = {}

    def note(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], gave: Any) -> None:
        seen["given"], seen["gave"] = (*given, *named.values()), gave

    if head is None:
        watched: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Linear)]
    else:
        watched = [model.get_submodule(head) if isinstance(head, str) else head]
    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in watched]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _seen(seen: Seen) -> tuple[Tensor, Tensor]:
    if not seen:
        raise UsageError("expected a model that calls a Linear layer, got one that calls none: name its head")
    given, gave = seen["given"][0], seen["gave"]
    seen.clear()
    if gave.ndim != 2:
        raise UsageError(
            f"expected a head that gives logits of shape (batch, classes), got {tuple(gave.shape)}: name the head"
        )
    return given, gave


# --- batches


def _in_order(samples: Dataset[Any] | DataLoader[Any], batch_size: int) -> DataLoader[Any]:
    if not isinstance(samples, DataLoader):
        return DataLoader(samples, batch_size=batch_size)
    if not isinstance(samples.sampler, SequentialSampler) or samples.drop_last:
        raise UsageError(
            f"expected a loader that keeps the order and drops nothing, got one with {type(samples.sampler).__name__}: "
            "give it shuffle=False, or the dataset itself"
        )
    return samples


def _require_plain(dataset: Any) -> None:
    for item in range(min(_PROBED, len(dataset))):
        if not _same(dataset[item], dataset[item]):
            raise UsageError(
                f"expected samples without augmentation, got two different ones for item {item}: give it a dataset "
                "of the same samples, untransformed by chance"
            )


def _same(one: Any, other: Any) -> bool:
    """Whether two readings of an item are equal, as far as they are numbers."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, Mapping):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, tuple | list):
        return all(map(_same, one, other))
    return True


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return [_moved(value, device) for value in batch]
    return batch


def _ask(model: nn.Module, batch: Any) -> object:
    """A dictionary is spread out, of a pair the first part is meant."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(batch[0] if isinstance(batch, list) else batch)


@contextlib.contextmanager
def _undisturbed(model: nn.Module, loader: DataLoader[Any], device: torch.device) -> Iterator[None]:
    """Evaluation mode; afterwards each module's own mode again, and every generator where it was."""
    modes = [(module, module.training) for module in model.modules()]
    draws, legacy = random.getstate(), np.random.get_state()
    own = None if loader.generator is None else loader.generator.get_state()
    everywhere = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    model.eval()
    try:
        with torch.random.fork_rng(devices=everywhere):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        random.setstate(draws)
        np.random.set_state(legacy)
        if own is not None:
            loader.generator.set_state(own)
