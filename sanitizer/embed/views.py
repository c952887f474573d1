"""Views of a trained probe: what it can tell of a sample besides its last features, as spaces.

Three looks, each with its own passes. *Layers*: what every batch normalisation meets, against what it met in
training (FLARE; "Have You Poisoned My Data?"). *Dropout*: whether the answer survives it (PSBD). *Superposition*:
whether the answer survives other images laid over the sample (STRIP).

Nothing here depends on how the samples are listed: whatever is drawn for a sample is drawn from its content key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanitizer.nets import ConvNet, autocast, content_noise

#: Rates of dropout that are tried, smallest first, and on how many samples.
RATES = tuple(tenth / 10 for tenth in range(1, 10))
TRIED_ROWS = 1000
#: The share of samples whose answer must change before a rate is taken for strong enough.
SHIFTED = 0.8
#: Passes with dropout, and the masks of each among which a sample's key chooses.
DROPOUT_PASSES, MASKS = 3, 64
#: Images that each sample is blended with.
BLENDS = 8
#: Streams of content noise; training uses the numbers of its epochs.
_DROPOUT_STREAM, _BLEND_STREAM = 1000, 2000
#: The largest number that fp16 holds.
_LARGEST = float(np.finfo(np.float16).max)

Spaces = dict[str, NDArray[Any]]
Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Looking:
    """A trained probe, in evaluation mode on its device, and the samples that it looks at."""

    net: ConvNet
    images: Tensor  # (n, 3, side, side) uint8
    keys: NDArray[np.uint64]
    seed: int
    device: torch.device
    batch: int = 128  # what is looked at on the way stays small enough to be cheap
    on_batch: Callable[[int], None] = lambda count: None

    def parts(self) -> Iterator[slice]:
        """Batch by batch, each counted when it is done."""
        for start in range(0, len(self.images), self.batch):
            part = slice(start, min(start + self.batch, len(self.images)))
            yield part
            self.on_batch(part.stop - part.start)

    def pixels(self, rows: slice | Tensor) -> Tensor:
        """Some images on the device, laid out as the network likes them."""
        return self.images[rows].to(self.device).contiguous(memory_format=torch.channels_last)

    def probabilities(self, standardised: Tensor) -> Tensor:
        """Softmax of the answers to images that the network can take in, (b, C) float32."""
        with autocast(self.device):
            logits = self.net(standardised)
        return torch.as_tensor(logits.float().softmax(dim=1))


@dataclass(frozen=True, kw_only=True)
class Look:
    """One way of looking: the spaces that it gives, and how often every sample goes through the network for them."""

    spaces: tuple[str, ...]
    passes: int
    views: Callable[[Looking, frozenset[str]], Spaces]


def layer_views(looking: Looking, wanted: frozenset[str]) -> Spaces:
    """What goes on inside the network, in one pass; see ``LOOKS`` for the names.

    ``batchnorm``: the log-likelihood of each normalised layer's input under the layer's running statistics, its
    minimum and its mean. ``channels``: mean and spread over space of each channel, in the layer's own units.
    ``feature@middle``: activations after the second stage, pooled by their maximum.
    """
    with torch.inference_mode():
        return _joined(_layers_of(looking, part, wanted) for part in looking.parts())


def _layers_of(looking: Looking, part: slice, wanted: frozenset[str]) -> dict[str, Tensor]:
    likelihoods: list[Tensor] = []
    channels: list[Tensor] = []
    middle: list[Tensor] = []

    def meet(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        rows, unit = _in_layer_units(inputs[0], module)
        mean, farthest = rows.mean(dim=(2, 3)), torch.maximum(rows.amax(dim=(2, 3)), -rows.amin(dim=(2, 3)))
        square = rows.square_().mean(dim=(2, 3))  # in place: to allocate costs more than to compute
        likelihoods.append(_likelihood(square, farthest, unit))
        channels.append(torch.cat([mean, (square - mean**2).clamp_min(0).sqrt()], dim=1))

    def pool(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - a hook
        middle.append(output.amax(dim=(2, 3)))

    with ExitStack() as hooks:
        for module in _all(looking.net, nn.BatchNorm2d) if wanted & {"batchnorm", "channels"} else ():
            hooks.enter_context(module.register_forward_pre_hook(meet))
        hooks.enter_context(_all(looking.net, nn.MaxPool2d)[1].register_forward_hook(pool))
        looking.probabilities(looking.net.normalise(looking.pixels(part)))
    found = {"batchnorm": likelihoods, "channels": channels, "feature@middle": middle}
    joined = {name: torch.cat(rows, dim=1) for name, rows in found.items() if name in wanted}
    return {name: rows if name == "batchnorm" else _halved(rows) for name, rows in joined.items()}


def _halved(rows: Tensor) -> Tensor:
    """fp16, without the infinities that a channel which hardly varied in training could leave."""
    return rows.clamp(-_LARGEST, _LARGEST).half()


def _in_layer_units(rows: Tensor, layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A layer's input (b, c, h, w) as the layer normalises it, before its own scale; and the units, (c,)."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    unit = (layer.running_var + layer.eps).sqrt()
    return (rows - layer.running_mean.view(1, -1, 1, 1)).div_(unit.view(1, -1, 1, 1)), unit  # float32, also of bf16


def _likelihood(square: Tensor, farthest: Tensor, unit: Tensor) -> Tensor:
    """log N(input; running mean, running variance): its minimum and its mean over channels and space, (b, 2).

    From the mean square and the largest absolute value of each channel, (b, c), in the layer's units.
    """
    constant = unit.log() + math.log(2 * math.pi) / 2
    lowest = (-(farthest**2) / 2 - constant).amin(dim=1)
    average = (-square / 2 - constant).mean(dim=1)
    return torch.stack([lowest, average], dim=1)


def dropout_views(looking: Looking, wanted: frozenset[str]) -> Spaces:  # noqa: ARG001 - there is but one
    """``dropout``: the confidence in the answer, without dropout and as the mean of a few passes with it.

    The paper picks the rate on clean samples. Nobody gives us any, so it is the smallest at which most samples
    change their answer: there, what still stands is held up by more than a sample's contents usually are.
    """
    with torch.inference_mode():
        answers, confident = _answers(looking, lambda part: _plainly(looking, part))
        rate = _strong_enough(looking, answers)
        kept = torch.zeros_like(confident)
        for number in range(1, DROPOUT_PASSES + 1):
            dropping = _Dropping(looking, rate, stream=_DROPOUT_STREAM + number)
            for part in looking.parts():
                probabilities = dropping.probabilities(part).cpu()
                kept[part] += probabilities.gather(1, answers[part, None])[:, 0]
    return {"dropout": torch.stack([confident, kept / DROPOUT_PASSES], dim=1).numpy()}


def _plainly(looking: Looking, part: slice) -> Tensor:
    return looking.probabilities(looking.net.normalise(looking.pixels(part)))


def _answers(looking: Looking, probabilities: Callable[[slice], Tensor]) -> tuple[Tensor, Tensor]:
    """The most probable class of every sample, and its probability."""
    found = [probabilities(part).max(dim=1) for part in looking.parts()]
    return torch.cat([best.indices.cpu() for best in found]), torch.cat([best.values.cpu() for best in found])


def _strong_enough(looking: Looking, answers: Tensor) -> float:
    """The smallest rate that changes the answers to most of the samples with the smallest keys."""
    rows = np.sort(np.argsort(looking.keys, kind="stable")[:TRIED_ROWS])
    few = replace(looking, images=looking.images[rows], keys=looking.keys[rows], on_batch=lambda count: None)
    for rate in RATES:
        found, _ = _answers(few, _Dropping(few, rate, stream=_DROPOUT_STREAM).probabilities)
        if float((found != answers[rows]).float().mean()) >= SHIFTED:
            return rate
    return RATES[-1]


class _Dropping:
    """Elementwise dropout after every ReLU, in one pass.

    Masks of one's own for every sample would cost more than the network does. There are ``MASKS`` of them for each
    layer, and a sample's content key chooses: the same for it in whatever company it comes.
    """

    def __init__(self, looking: Looking, rate: float, *, stream: int) -> None:
        self._looking, self._rate, self._stream = looking, rate, stream
        self._layers = _all(looking.net, nn.ReLU)
        chosen = content_noise(looking.keys, looking.seed, stream) % np.uint64(MASKS)
        self._chosen = torch.from_numpy(chosen.astype(np.int64)).to(looking.device)
        self._banks: dict[int, Tensor] = {}

    def probabilities(self, part: slice) -> Tensor:
        """What the network answers, (b, C)."""
        with ExitStack() as hooks:
            for number, layer in enumerate(self._layers):
                hooks.enter_context(layer.register_forward_hook(partial(self._drop, number, self._chosen[part])))
            return _plainly(self._looking, part)

    def _drop(self, number: int, chosen: Tensor, *hooked: Any) -> Tensor:
        output: Tensor = hooked[-1]  # of the layer, which comes before it with its inputs
        if number not in self._banks:
            self._banks[number] = self._bank(number, output.shape[1:])
        stays = self._banks[number][chosen].permute(0, 3, 1, 2)
        return (output * stays).div_(1 - self._rate)

    def _bank(self, number: int, shape: Iterable[int]) -> Tensor:
        """Which activations stay, (MASKS, h, w, c): channels last, like the activations in memory."""
        depth, height, width = shape
        seed = content_noise(np.array([number], np.uint64), self._looking.seed, self._stream)[0]
        draw = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
        stays = torch.rand(MASKS, height, width, depth, generator=draw) >= self._rate
        return stays.to(self._looking.device)


def superposition_views(looking: Looking, wanted: frozenset[str]) -> Spaces:  # noqa: ARG001 - there is but one
    """``superposition``: the mean entropy of the answers to a sample blended half and half with others of the set."""
    entropy = torch.zeros(len(looking.images))
    with torch.inference_mode():
        for number in range(BLENDS):
            others = torch.from_numpy(_others(looking.keys, looking.seed, _BLEND_STREAM + number))
            for part in looking.parts():
                blend = (looking.pixels(part).float() + looking.pixels(others[part]).float()) / (2 * 255)
                probabilities = looking.probabilities(looking.net.standardise(blend))
                entropy[part] += torch.special.entr(probabilities).sum(dim=1).cpu()
    return {"superposition": (entropy / BLENDS)[:, None].numpy()}


def _others(keys: NDArray[np.uint64], seed: int, stream: int) -> NDArray[np.int64]:
    """For each sample the row of another one, chosen by the contents of both."""
    by_key = np.argsort(keys, kind="stable")
    steps = 1 + content_noise(keys[by_key], seed, stream) % np.uint64(max(1, len(keys) - 1))
    others = np.empty(len(keys), np.int64)
    others[by_key] = by_key[(np.arange(len(keys)) + steps.astype(np.int64)) % len(keys)]
    return others


def _all(net: nn.Module, kind: type[Kind]) -> list[Kind]:
    return [module for module in net.modules() if isinstance(module, kind)]


def _joined(parts: Iterable[Mapping[str, Tensor]]) -> Spaces:
    found = [{name: rows.cpu().numpy() for name, rows in part.items()} for part in parts]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


LOOKS = {
    "layers": Look(spaces=("batchnorm", "channels", "feature@middle"), passes=1, views=layer_views),
    "dropout": Look(spaces=("dropout",), passes=1 + DROPOUT_PASSES, views=dropout_views),
    "superposition": Look(spaces=("superposition",), passes=BLENDS, views=superposition_views),
}
