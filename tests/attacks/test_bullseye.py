"""Bullseye polytope: the centre of the poisons comes near to the target image, in one layer or in all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made import assert_refused_settings
from test_feature_collision import (
    FREE,
    SMALL,
    assert_clean_label,
    assert_follows_from_the_seed,
    searched,
    toy_test,
    toy_train,
)
from torch import nn

from sanitizer.attacks.bullseye import Bullseye, blocks, layers_of, off_centre
from sanitizer.attacks.targeted import TargetedAttack
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.nets import ConvNet


def test_the_centres_come_near_to_their_targets(tmp_path: Path) -> None:
    """Of two targets each, to under half of the distance."""
    attack, scene, before, after = searched(Bullseye(**FREE, targets=2, test=toy_test(tmp_path)), tmp_path)
    loss, rows = attack.loss(scene), torch.arange(len(before))
    assert loss(after, rows) < loss(before, rows) / 2


def test_end_to_end_every_layer_comes_near(tmp_path: Path) -> None:
    """Not only the last."""
    settings = FREE | {"scenario": "end_to_end"}
    attack, scene, before, after = searched(Bullseye(**settings, test=toy_test(tmp_path)), tmp_path)
    assert isinstance(attack, TargetedAttack)
    net = scene.surrogates[0]
    with torch.no_grad():
        aims, first, last = (layers_of(net, images) for images in (attack.targets_in(scene), before, after))
    assert len(aims) == 7
    for aim, was, now in zip(aims, first, last, strict=True):
        assert off_centre(now, aim[0]) < off_centre(was, aim[0])


def test_the_blocks_of_a_network_are_found() -> None:
    """Through any wrapping, and without the layers that stand alone."""
    net = ConvNet(3, width=4)
    assert [len(list(block.children())) for block in blocks(net)] == [3] * 6
    residual = CifarResNet(2, 4, 3)
    wrapped = nn.ModuleDict({"body": residual, "head": nn.Linear(2, 2)})
    assert blocks(wrapped) == [residual.layer1, residual.layer2, residual.layer3]
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert blocks(nn.ModuleDict({"features": plain})) == [plain]


def test_looking_into_a_network_leaves_nothing_behind() -> None:
    """The same layers twice, and no hook."""
    net = ConvNet(3, width=4).eval()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = layers_of(net, images), layers_of(net, images)
        last = net.features(images)
    assert [layer.shape for layer in first] == [layer.shape for layer in second]
    assert torch.equal(first[-1], last)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("scenario", ["linear", "end_to_end"])
def test_what_is_written_keeps_its_look_and_its_label(tmp_path: Path, scenario: str) -> None:
    """Within the ball, of the target class."""
    attack = Bullseye(**SMALL | {"steps": 5}, scenario=scenario, test=toy_test(tmp_path))
    poisoned = attack.poison(toy_train(tmp_path), tmp_path / "out", device="cpu")
    assert_clean_label(attack, poisoned, toy_train(tmp_path))


def test_everything_follows_from_the_seed(tmp_path: Path) -> None:
    """Surrogate, choice and search."""
    assert_follows_from_the_seed(Bullseye, SMALL | {"steps": 3, "test": toy_test(tmp_path)}, tmp_path)


def test_an_unknown_scenario_is_refused() -> None:
    """At once, in one line."""
    assert_refused_settings(Bullseye, {"scenario": "both"})
