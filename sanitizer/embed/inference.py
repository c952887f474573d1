"""The forward pass of a frozen network: bf16 where that is fast and does no harm, with its averages in float32."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sanitizer.embed.network import Network
from sanitizer.nets import autocast

logger = logging.getLogger(__name__)

Precision = Literal["bf16", "fp32"]

#: The least mean cosine between features in bf16 and in float32. Plain residual networks reach 0.9999; networks
#: that are thin in places, or whose large biases cancel large sums, do not.
FAITHFUL = 0.999

_SPECIMENS = 8


def forward(net: nn.Module, images: Tensor, like: Network, precision: Precision) -> Tensor:
    """float32 features (b, d) of uint8 images (b, side, side, 3), scaled as ``like`` wants them."""
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (like.mean, like.std))
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        rows = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        with _PoolingInFloat32():
            features: Tensor = net(rows.contiguous(memory_format=torch.channels_last))
    return features.float()


def halved(network: Network, device: torch.device) -> nn.Module | None:
    """The network with bf16 weights, where the hardware multiplies them natively and the features stay the same."""
    with autocast(device):
        if not torch.is_autocast_enabled(device.type):
            return None
    net = copy.deepcopy(network.net)
    for module in net.modules():
        if type(module) in (nn.Conv2d, nn.Linear):  # autocast would cast these in every batch; others stay exact
            module.to(torch.bfloat16)
    images = specimens(network.side).to(device)
    exact, rounded = forward(network.net, images, network, "fp32"), forward(net, images, network, "bf16")
    agreement = float(F.cosine_similarity(exact, rounded).mean())
    if not agreement >= FAITHFUL:
        logger.info(
            "%s stays in fp32: its bf16 features agree only to a cosine of %.4f", network.architecture, agreement
        )
        return None
    return net


def specimens(side: int) -> Tensor:
    """A few made-up images (b, side, side, 3): patches of colour with noise on them, always the same ones."""
    draw = torch.Generator().manual_seed(0)
    patches = torch.rand(_SPECIMENS, 3, 4, 4, generator=draw) * 255
    smooth = F.interpolate(patches, size=(side, side), mode="bilinear")
    noise = torch.randn(smooth.shape, generator=draw) * 16
    return (smooth + noise).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


class _PoolingInFloat32(TorchFunctionMode):
    """Wherever a network averages, in a module or in passing: rounded means of many would waste what they gained."""

    _POOLS = (F.adaptive_avg_pool2d, torch.Tensor.mean, torch.mean)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self._POOLS and args and args[0].dtype == torch.bfloat16:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))
