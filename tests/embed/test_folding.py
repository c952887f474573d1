"""Folding: the same function with fewer layers, and nothing touched that cannot be folded."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.embed.folding import fold_batch_norms
from sanitizer.embed.mobilenet import MobileNetV2


def settled(net: nn.Module) -> nn.Module:
    """In evaluation mode, with normalisations that do something."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


def left(net: nn.Module) -> int:
    """Normalisations that are still there."""
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def check_same(net: nn.Module, side: int) -> int:
    """Fold, compare outputs to 1e-4 of their size, and count what was folded."""
    folded = copy.deepcopy(net)
    count = fold_batch_norms(folded)
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        before, after = net(images), folded(images)
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()
    assert left(net) - left(folded) == count
    return count


@pytest.mark.parametrize(
    ("net", "side"),
    [
        (CifarResNet(2, 8, 5), 32),
        (MobileNetV2(5), 32),
        (models.resnet18(num_classes=5), 64),
        (models.shufflenet_v2_x0_5(num_classes=5), 64),
        (models.mobilenet_v3_small(num_classes=5), 64),
        (models.googlenet(num_classes=5, aux_logits=False, init_weights=False), 64),
    ],
    ids=lambda value: type(value).__name__,
)
def test_folding_changes_nothing_but_the_layers(net: nn.Module, side: int) -> None:
    """Every normalisation is gone, every output is still there."""
    assert check_same(settled(net), side) == left(net)


def test_only_what_follows_a_convolution_is_folded() -> None:
    """DenseNet normalises before it convolves: half of its normalisations have to stay."""
    net = settled(models.DenseNet(4, (2, 2), 8, num_classes=5))
    assert 0 < check_same(net, 32) < left(net)


def test_timms_normalisations_keep_their_activation() -> None:
    """They are one module there."""
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    net = settled(timm.create_model("test_efficientnet", num_classes=5))
    assert check_same(net, 64) == left(net)


class _Shared(nn.Module):
    """One convolution whose output two readers want, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.again, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.conv(images)
        rows = rows + self.norm(rows)
        return self.second(self.again(self.first(self.again(rows)).relu()))


def test_what_others_use_too_is_left_alone() -> None:
    """Folding would change what the other reader sees."""
    assert check_same(settled(_Shared()), 4) == 0


class _Choosy(nn.Module):
    """Its path depends on the data: there is no one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images if images.sum() > 0 else -images))


def test_a_network_that_cannot_be_traced_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Slower, not wrong; and the log says so."""
    with caplog.at_level(logging.INFO):
        assert check_same(settled(_Choosy()), 4) == 0
    assert "stays unfolded" in caplog.text
