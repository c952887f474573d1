"""Recognition: tensors say which network they belong to, and what fits none is refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from sanitizer.embed import torchvision_nets
from sanitizer.embed.architectures import recognise
from sanitizer.embed.checkpoint import Checkpoint
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.embed.mobilenet import MobileNetV2
from sanitizer.embed.network import Network, weight_shapes
from sanitizer.errors import MissingDependency, UsageError

CLASSES = 7


def checkpoint(net: nn.Module, folder: Path = Path("nowhere"), **metadata: str) -> Checkpoint:
    """A network's tensors as if they had been read from a file."""
    return Checkpoint(folder / "net.safetensors", dict(net.state_dict()), metadata)


def features(network: Network, images: torch.Tensor) -> np.ndarray:
    """What a network says of images that are normalised already."""
    with torch.inference_mode():
        return network.net(images).numpy()


def configured(folder: Path, **config: object) -> Path:
    """A folder with the configuration that the Hugging Face hub puts beside a checkpoint."""
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("blocks", "width"), [(1, 4), (3, 16)])
def test_depth_and_width_of_a_cifar_resnet_are_read_off(blocks: int, width: int) -> None:
    """6n+2 layers; features are what its head got."""
    net = CifarResNet(blocks, width, CLASSES).eval()
    found = recognise(checkpoint(net))
    assert (found.architecture, found.side) == (f"cifar_resnet{6 * blocks + 2}", 32)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits = net.linear(torch.from_numpy(features(found, images)))
        torch.testing.assert_close(logits, net(images))


def test_the_shortcut_subsamples_and_pads_with_zeros() -> None:
    """Option A: with dead convolutions a block passes every other pixel on, amid channels of zeros."""
    block = CifarResNet(1, 4, CLASSES).layer2[0].eval()
    nn.init.zeros_(block.conv2.weight)
    images = torch.rand(1, 4, 6, 6)
    out = block(images)
    torch.testing.assert_close(out[:, 2:6], images[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_tensorflows_mobilenet_is_recognised() -> None:
    """Its own scaling and, where it strides, padding at the end only."""
    found = recognise(checkpoint(MobileNetV2(CLASSES)))
    assert (found.architecture, found.side, found.mean, found.std) == (
        "mobilenet_v2_tf", 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5),
    )  # fmt: skip
    assert features(found, torch.zeros(1, 3, 224, 224)).shape == (1, 1280)
    stem = MobileNetV2(CLASSES).stem
    assert stem[0](torch.ones(1, 3, 8, 8))[0, 0].sum(dim=1).tolist() == [8.0] * 8 + [0.0]


def head(net: nn.Module) -> nn.Module:
    """The layer that gives the logits."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]


@pytest.mark.parametrize(
    "name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "googlenet", "swin_t", "mnasnet0_5", "efficientnet_b0"]
)
def test_a_torchvision_model_is_recognised_with_any_head(name: str) -> None:
    """By its tensors alone; features are what the head gets, and the digest is that of the whole file."""
    extra = {"init_weights": False} if name == "googlenet" else {}  # has heads that only training uses
    net = models.get_model(name, weights=None, num_classes=CLASSES, **extra).eval()
    found = recognise(checkpoint(net))
    assert found.architecture == name
    seen: list[torch.Tensor] = []
    head(net).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(1, 3, 96, 96)
    net.transform_input = True  # as googlenet's published weights want it
    with torch.inference_mode():
        net(images)
    np.testing.assert_allclose(features(found, images), seen[0].numpy(), rtol=1e-4, atol=1e-5)


def test_squeezenets_head_is_a_convolution() -> None:
    """Its features are pooled before it."""
    net = models.squeezenet1_1(num_classes=CLASSES).eval()
    found = recognise(checkpoint(net))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = net.features(images).mean(dim=(2, 3))
    np.testing.assert_allclose(features(found, images), expected.numpy(), rtol=1e-4, atol=1e-6)


def test_a_vision_transformer_knows_the_size_of_its_images() -> None:
    """By its position embedding: fine-tuned at 96 pixels, it wants 96 pixels."""
    with torchvision_nets.WeightsOnMeta():
        net = models.vit_b_32(num_classes=CLASSES, image_size=96)
    shapes = weight_shapes(net)
    found = torchvision_nets._fitting("vit_b_32", shapes)
    assert found is not None
    assert found.image_size == 96
    assert weight_shapes(found) == shapes


def test_every_classifier_of_torchvision_has_a_tell_tale_and_a_shape_of_its_own() -> None:
    """No two members of a family fit the same file, no table stays without memory, and few are ever compared."""
    shapes = {}
    for name in torchvision_nets.names():
        net = torchvision_nets._build(name, torchvision_nets._settings(name, {}))
        shapes[name] = frozenset(weight_shapes(net).items())
        assert name in list(torchvision_nets._candidates(weight_shapes(net)))
        kept = set(net.state_dict())
        assert not [buffer for buffer, value in net.named_buffers() if buffer not in kept and value.is_meta]
    assert len(set(shapes.values())) == len(shapes)
    assert all(len(list(torchvision_nets._candidates(dict(found)))) <= 15 for found in shapes.values())
    assert not list(torchvision_nets._candidates({"weight": (1,)}))


@pytest.mark.parametrize("spoil", ["rename", "reshape", "drop", "add"])
def test_nearly_torchvision_is_not_torchvision(spoil: str) -> None:
    """One tensor too many, too few, of another name or shape: a foreign architecture."""
    tensors = dict(models.squeezenet1_1(num_classes=CLASSES).state_dict())
    weight = tensors["features.0.weight"]
    if spoil in ("rename", "drop"):
        del tensors["features.0.bias"]
    if spoil in ("rename", "add"):
        tensors["features.0.biases"] = torch.zeros(64)
    if spoil == "reshape":
        tensors["features.0.weight"] = weight[:, :1]
    with pytest.raises(UsageError, match="expected a checkpoint in a torchvision or timm layout"):
        recognise(Checkpoint(Path("a.safetensors"), tensors, {}))


@pytest.mark.parametrize(
    "hint",
    ["conv_proj.weight", "encoder.pos_embedding", "features.0.weight", "fc.weight", "linear.weight", "conv1.weight"],
)
def test_a_foreign_file_is_refused_in_one_line(hint: str) -> None:
    """Whatever family it hints at, and however odd the shape of the hint."""
    tensors = {f"layer1.{number}.w": torch.zeros(1) for number in range(300)} | {hint: torch.tensor(1.0)}
    with pytest.raises(UsageError, match="got 301 tensors like 'layer1") as caught:
        recognise(Checkpoint(Path("a.safetensors"), tensors, {}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["metadata", "config"])
def test_a_timm_checkpoint_names_its_model(tmp_path: Path, place: str) -> None:
    """In its metadata or in config.json; features are what the head gets."""
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    net = timm.create_model("test_resnet", num_classes=CLASSES).eval()
    wants = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "input_size": [3, 64, 64]}
    if place == "config":
        configured(tmp_path, architecture="test_resnet", num_classes=CLASSES, pretrained_cfg=wants)
    found = recognise(checkpoint(net, tmp_path, **({"architecture": "test_resnet"} if place == "metadata" else {})))
    assert found.architecture == "test_resnet"
    assert (found.side, found.mean[0], found.std[0]) == ((160, 0.5, 0.5) if place == "metadata" else (64, 0.1, 1.0))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
    np.testing.assert_allclose(features(found, images), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": 5},
        {"architecture": "test_resnet", "pretrained_cfg": []},
        {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5, 0.5]}},
        {"architecture": "test_resnet", "pretrained_cfg": {"std": [1, 0, 1]}},
        {"architecture": "test_resnet", "pretrained_cfg": {"mean": [1, "2", 3]}},
        {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 64, 32]}},
        {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 10**6, 10**6]}},
        {"architecture": "test_resnet", "model_args": {"checkpoint_path": "evil.pth"}},
    ],
)
def test_a_config_that_says_nonsense_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    """Types are checked, and no argument gets through to timm but the size of images."""
    with pytest.raises(UsageError, match=r"config\.json: expected"):
        recognise(checkpoint(nn.Linear(2, 2), configured(tmp_path, **config)))


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    """In one line, like everything else."""
    (tmp_path / "config.json").write_text("[" * 5000)
    with pytest.raises(UsageError, match="expected JSON"):
        recognise(checkpoint(nn.Linear(2, 2), tmp_path))


def test_an_unrelated_config_is_not_looked_at(tmp_path: Path) -> None:
    """Many things are called config.json."""
    found = recognise(checkpoint(models.squeezenet1_1(), configured(tmp_path, architectures=["Bert"])))
    assert found.architecture == "squeezenet1_1"


@pytest.mark.parametrize("name", ["hf-hub:somebody/something", "local-dir:/tmp", "my_net"])
def test_a_file_cannot_make_timm_fetch(name: str) -> None:
    """What timm does not know by a plain name is recognised by its tensors or not at all."""
    pytest.importorskip("timm", reason="needs the timm extra")
    assert recognise(checkpoint(models.squeezenet1_1(), architecture=name)).architecture == "squeezenet1_1"


def test_without_timm_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that names a timm model is not guessed at."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dataset-sanitizer\[timm\]'"):
        recognise(checkpoint(models.squeezenet1_1(), architecture="resnet18"))
