"""torchvision's classifiers, by name with their published weights or recognised by the shapes of their tensors."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from torchvision import models

from sanitizer.embed.checkpoint import Checkpoint, load_strictly
from sanitizer.embed.network import (
    Network,
    Shapes,
    WeightsOnMeta,
    could_not_fetch,
    headless,
    last_linear,
    weight_shapes,
)
from sanitizer.errors import UsageError

#: A tensor that every member of a family has, so that a file is compared with few networks. Families that are
#: missing here are compared with every file.
TELL_TALES = {
    r"(wide_)?res(net|next)": "layer4.0.conv1.weight",
    r"alexnet|vgg|squeezenet": "features.0.weight",
    r"convnext": "features.1.0.layer_scale",
    r"densenet": "features.denseblock1.denselayer1.norm1.weight",
    r"efficientnet_b": "features.1.0.block.1.fc1.weight",
    r"efficientnet_v2": "features.4.0.block.2.fc1.weight",
    r"googlenet": "inception3a.branch1.conv.weight",
    r"inception_v3": "Mixed_5b.branch1x1.conv.weight",
    r"maxvit": "stem.0.0.weight",
    r"mnasnet": "layers.0.weight",
    r"mobilenet_v2": "features.1.conv.0.0.weight",
    r"mobilenet_v3": "features.1.block.0.0.weight",
    r"regnet": "trunk_output.block1.block1-0.proj.0.weight",
    r"shufflenet": "stage2.0.branch1.0.weight",
    r"swin": "features.1.0.attn.qkv.weight",
    r"vit": "conv_proj.weight",
}

#: Heads that only training uses: no file needs them, and those that a file has are left aside.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def names() -> list[str]:
    """Every classifier of the installed torchvision."""
    return list(models.list_models(module=models))


def fetch(name: str) -> Network:
    """A network with its default published weights, out of the cache or from the network."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=3) or ["resnet18", "resnet50"]
        raise UsageError(f"expected a classifier of torchvision, got {name!r}; try {', '.join(close)}")
    weights = models.get_model_weights(name).DEFAULT
    try:
        # Published weights are pickled: torchvision's own loader, below, would run whatever the cached file says.
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        net = models.get_model(name, weights=weights, progress=False)
    except Exception as error:  # no network, no space, a broken file in the cache: each in its own words
        raise UsageError(could_not_fetch(f"torchvision:{name}", error)) from error
    return _finished(net, name)


def recognise(checkpoint: Checkpoint) -> Network | None:
    """The classifier whose tensors these are, by name and shape; None where there is none."""
    tensors = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(_AUXILIARY)}
    shapes = {name: shape for name, shape in checkpoint.shapes.items() if name in tensors}
    for name in _candidates(shapes):
        net = _fitting(name, shapes)
        if net is not None:
            load_strictly(net, tensors, str(checkpoint.path))
            return _finished(net, name)
    return None


def _candidates(shapes: Shapes) -> Iterator[str]:
    for name in names():
        tell_tales = [tensor for family, tensor in TELL_TALES.items() if re.match(family, name)]
        if not tell_tales or tell_tales[0] in shapes:
            yield name


def _fitting(name: str, shapes: Shapes) -> nn.Module | None:
    """The named network, with weights on meta and as many classes as the file has, if everything else fits."""
    settings = _settings(name, shapes)
    net = _build(name, settings)
    own = weight_shapes(net)
    head = [tensor for tensor in own if tensor.startswith(_head(net)) and tensor.endswith(".weight")][-1]
    if own.keys() != shapes.keys() or own[head][1:] != shapes[head][1:]:
        return None
    if own[head] != shapes[head]:
        net = _build(name, {**settings, "num_classes": shapes[head][0]})
    return net if weight_shapes(net) == shapes else None


def _build(name: str, settings: dict[str, Any]) -> nn.Module:
    with WeightsOnMeta():
        net: nn.Module = models.get_model(name, weights=None, **settings)
    return net


def _settings(name: str, shapes: Shapes) -> dict[str, Any]:
    """What the published weights are built with, and what only the file can know."""
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": False, "transform_input": True}
    patch, tokens = shapes.get("conv_proj.weight", ()), shapes.get("encoder.pos_embedding", ())
    if name.startswith("vit_") and len(patch) == 4 and len(tokens) == 3:
        return {"image_size": math.isqrt(max(tokens[1] - 1, 1)) * patch[-1]}
    return {}


def _head(net: nn.Module) -> str:
    """What to take away: SqueezeNet's head is a convolution, before the pooling."""
    return "classifier" if isinstance(net, models.SqueezeNet) else last_linear(net)


def _finished(net: nn.Module, name: str) -> Network:
    """Without its head; images as its default weights want them."""
    wants = models.get_model_weights(name).DEFAULT.transforms()
    side = net.image_size if isinstance(net, models.VisionTransformer) else wants.crop_size[0]
    return headless(net, name, _head(net), side=side, mean=tuple(wants.mean), std=tuple(wants.std))
