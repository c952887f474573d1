"""Batch normalisation folded into the convolution before it: the same function, one pass over memory less.

The network is traced only to learn which normalisation follows which convolution; it is then changed in place, so
that its own code keeps running.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import torch.fx
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

logger = logging.getLogger(__name__)


def fold_batch_norms(net: nn.Module) -> int:
    """Fold what can be folded in a network in evaluation mode, in place; the number of folded normalisations."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        return 0
    try:
        graph = _Tracer().trace(net)
    except Exception as error:  # control flow on symbolic values can break anything
        logger.info("batch normalisation stays unfolded: %s cannot be traced (%s)", type(net).__name__, error)
        return 0
    pairs = list(_foldable(net, graph))
    for conv, name, norm in pairs:
        _fold(net, conv, name, norm)
    return len(pairs)


class _Tracer(torch.fx.Tracer):
    """Keeps every kind of batch normalisation whole: timm's also apply the activation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def _foldable(net: nn.Module, graph: torch.fx.Graph) -> Iterator[tuple[nn.Conv2d, str, nn.BatchNorm2d]]:
    """Each normalisation that is all that ever sees a convolution's output, both being used once."""
    modules = dict(net.named_modules())
    calls = Counter(id(modules[str(node.target)]) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not (isinstance(before, torch.fx.Node) and before.op == "call_module" and len(before.users) == 1):
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        once = calls[id(conv)] == calls[id(norm)] == 1
        if once and type(conv) is nn.Conv2d and _is_plain(norm):
            assert isinstance(norm, nn.BatchNorm2d)
            yield conv, str(node.target), norm


def _is_plain(norm: nn.Module) -> bool:
    """torch's own, or timm's with its activation; neither with statistics of the batch at hand."""
    known = type(norm) is nn.BatchNorm2d or type(norm).__name__ == "BatchNormAct2d"
    return known and getattr(norm, "running_mean", None) is not None


def _fold(net: nn.Module, conv: nn.Conv2d, name: str, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    net.set_submodule(name, nn.Sequential(*norm.children()))  # torch's has none, timm's its dropout and activation
