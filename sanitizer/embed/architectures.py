"""Which network a checkpoint belongs to, recognised by what it declares or by its tensors' names and shapes."""

from __future__ import annotations

from torch import nn

from sanitizer.embed import cifar_resnet, mobilenet, timm_nets, torchvision_nets
from sanitizer.embed.checkpoint import Checkpoint, load_strictly, name_some
from sanitizer.embed.network import IMAGENET_MEAN, IMAGENET_STD, Network, Triple, headless, last_linear
from sanitizer.errors import UsageError

_HALVES: Triple = (0.5, 0.5, 0.5)


def recognise(checkpoint: Checkpoint) -> Network:
    """The checkpoint as a network without a head, ready for images of its own size."""
    network = _own(checkpoint) or timm_nets.recognise(checkpoint) or torchvision_nets.recognise(checkpoint)
    if network is None:
        raise UsageError(
            f"expected a checkpoint in a torchvision or timm layout, got {len(checkpoint.tensors)} tensors like "
            f"{name_some(list(checkpoint.tensors))}: save an unmodified torchvision model's state_dict, or put "
            f"timm's config.json beside {checkpoint.path.name}"
        )
    return network


def _own(checkpoint: Checkpoint) -> Network | None:
    """One of the small networks that we bring along."""
    resnet = cifar_resnet.from_shapes(checkpoint.shapes)
    if resnet is not None:
        layers = 6 * len(resnet.layer1) + 2
        return _loaded(resnet, f"cifar_resnet{layers}", checkpoint, cifar_resnet.SIDE, IMAGENET_MEAN, IMAGENET_STD)
    net = mobilenet.from_shapes(checkpoint.shapes)
    if net is not None:
        return _loaded(net, "mobilenet_v2_tf", checkpoint, mobilenet.SIDE, _HALVES, _HALVES)
    return None


def _loaded(net: nn.Module, name: str, checkpoint: Checkpoint, side: int, mean: Triple, std: Triple) -> Network:
    load_strictly(net, checkpoint.tensors, str(checkpoint.path))
    return headless(net, name, last_linear(net), side=side, mean=mean, std=std)
