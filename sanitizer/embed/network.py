"""A pretrained network as it comes in: without its head, with the way it wants its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sanitizer.embed.probe import weights_digest

Triple = tuple[float, float, float]  # one value a colour
Shapes = dict[str, tuple[int, ...]]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """``net`` maps normalised images (b, 3, side, side) to penultimate features (b, d)."""

    net: nn.Module = field(repr=False)
    architecture: str
    digest: str  # of the weights as they were loaded, the head's too
    side: int
    mean: Triple
    std: Triple


def headless(net: nn.Module, architecture: str, head: str, *, side: int, mean: Triple, std: Triple) -> Network:
    """A loaded classifier without its last layer; a head that holds its own pooling leaves that behind."""
    digest = weights_digest(net)
    pools = any(isinstance(module, nn.AdaptiveAvgPool2d) for module in net.get_submodule(head).modules())
    net.set_submodule(head, nn.AdaptiveAvgPool2d(1) if pools else nn.Identity())
    return Network(net.eval(), architecture, digest, side, mean, std)


def last_linear(net: nn.Module) -> str:
    """The name of the layer that most classifiers end with."""
    names: list[str] = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    return names[-1]


def weight_shapes(net: nn.Module) -> Shapes:
    """The shape of every weight; counters and index tables are not weights."""
    return {name: tuple(value.shape) for name, value in net.state_dict().items() if value.is_floating_point()}


def could_not_fetch(name: str, error: Exception) -> str:
    """One line for published weights that did not come; libraries explain themselves over many."""
    return (
        f"expected to fetch the weights of {name} from the network or the cache, got: {first_line(error)}; "
        "check the connection, or name a FILE.safetensors, which works offline"
    )


def first_line(error: Exception) -> str:
    """What an error of a library comes down to."""
    return (next(iter(str(error).splitlines()), "") or type(error).__name__)[:200]


class WeightsOnMeta(TorchFunctionMode):
    """Networks built under it have weights without memory, to be compared with a file and then replaced by its own.

    Unlike under ``torch.device("meta")``, tables and constants are real: some architectures compute with them.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        settings = dict(kwargs or {})
        if func is torch.empty:
            settings["device"] = "meta"
        return func(*args, **settings)
