"""Backbones: the same image gives the same features in any company, and they are the features they should be."""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from sanitizer.embed import backbone, inference
from sanitizer.embed.backbone import Backbone, open_backbone
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.embed.probe import weights_digest
from sanitizer.errors import MissingDependency, SanitizerError, UsageError

CPU = torch.device("cpu")
SHARED = Path(__file__).parents[2].parent / "shared"

needs_shared = pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs real networks in ../shared")

with inference.autocast(CPU):
    HAS_BF16 = torch.is_autocast_enabled("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small network for 32 x 32 images."""
    return written(tmp_path / "net.safetensors")


def written(path: Path, spoil: float | None = None) -> Path:
    """A small network; ``spoil`` multiplies the scale of its first normalisation."""
    torch.manual_seed(0)
    net = CifarResNet(1, 8, 5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    if spoil is not None:
        nn.init.constant_(net.layer3[0].bn2.weight, spoil)
    save_file(net.state_dict(), path)
    return path


def noise(count: int, side: int = 32) -> np.ndarray:
    """Images of nothing."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def pictures(path: Path, side: int, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Real images, whole, as side x side pixels, with their labels."""
    table = pq.read_table(path)
    images = [Image.open(io.BytesIO(cell["bytes"])).convert("RGB") for cell in table["image"].to_pylist()[rows]]
    pixels = np.stack([np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) for image in images])
    return pixels, np.array(table["label"].to_pylist()[rows])


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row by row."""
    rows = torch.from_numpy(one.astype(np.float64)), torch.from_numpy(other.astype(np.float64))
    return torch.nn.functional.cosine_similarity(*rows).numpy()


def nearest(rows: np.ndarray) -> np.ndarray:
    """The most similar other row, by cosine."""
    units = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    similar = units @ units.T
    np.fill_diagonal(similar, -1)
    return similar.argmax(axis=1)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_an_image_has_the_same_features_in_any_company(checkpoint: Path, precision: str) -> None:
    """Bit for bit: alone, among others, in the last and incomplete batch."""
    opened = open_backbone(str(checkpoint), device=CPU, precision=precision)  # type: ignore[arg-type]
    images = noise(opened.batch + 3)
    whole = opened.embed(images)
    assert (whole.shape, whole.dtype) == ((opened.batch + 3, opened.width), np.float16)
    for row in (0, 1, opened.batch - 1, opened.batch, opened.batch + 2):
        np.testing.assert_array_equal(opened.embed(images[row : row + 1])[0], whole[row])
    np.testing.assert_array_equal(opened.embed(images[::-1])[::-1], whole)


def test_features_are_what_the_head_got(checkpoint: Path) -> None:
    """Scaled by the network's own mean and spread, folded or not, to half precision."""
    opened = open_backbone(str(checkpoint), device=CPU, precision="fp32")
    net = CifarResNet(1, 8, 5).eval()
    net.load_state_dict(load_file(checkpoint))
    images = noise(5)
    seen: list[torch.Tensor] = []
    net.linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        net((pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None])
            / torch.tensor([0.229, 0.224, 0.225])[:, None, None])  # fmt: skip
    np.testing.assert_allclose(opened.embed(images).astype(np.float32), seen[0].numpy(), rtol=2e-3, atol=1e-3)


def test_no_images_have_no_features(checkpoint: Path) -> None:
    """An empty batch is no error."""
    opened = open_backbone(str(checkpoint), device=CPU)
    assert opened.embed(noise(0)).shape == (0, opened.width)


def test_a_backbone_says_who_it_is(checkpoint: Path) -> None:
    """The digest is that of the weights in the file, before anything is folded or rounded."""
    facts = open_backbone(str(checkpoint), device=CPU, precision="fp32").facts()
    net = CifarResNet(1, 8, 5)
    net.load_state_dict(load_file(checkpoint))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.zero_()
    assert facts == {
        "kind": "backbone", "version": backbone.VERSION, "name": "net.safetensors", "architecture": "cifar_resnet8",
        "digest": weights_digest(net), "side": 32, "width": 32, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225], "precision": "fp32",
    }  # fmt: skip


@pytest.mark.skipif(not HAS_BF16, reason="this CPU does not multiply bf16 natively")
def test_bf16_says_the_same(checkpoint: Path) -> None:
    """Chosen where the hardware has it; more than eight bits of every mean survive the pooling."""
    fast, exact = (
        open_backbone(str(checkpoint), device=CPU),
        open_backbone(str(checkpoint), device=CPU, precision="fp32"),
    )
    assert (fast.precision, exact.precision) == ("bf16", "fp32")
    assert fast.digest == exact.digest
    images = noise(50)
    rows = fast.embed(images)
    assert cosines(rows, exact.embed(images)).min() > 0.999
    assert (torch.from_numpy(rows).bfloat16().half().numpy() != rows).any()


@pytest.mark.skipif(not HAS_BF16, reason="this CPU does not multiply bf16 natively")
def test_a_network_that_bf16_would_change_stays_in_fp32(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Decided on made-up images, so that the data cannot; and logged."""
    monkeypatch.setattr(inference, "FAITHFUL", 1.1)
    with caplog.at_level(logging.INFO):
        assert open_backbone(str(checkpoint), device=CPU).precision == "fp32"
    assert "stays in fp32" in caplog.text


def test_batches_keep_memory_small() -> None:
    """A power of two, fewer images the larger they are, at least one."""
    network = inference.Network(nn.Identity(), "", "", 0, (0, 0, 0), (1, 1, 1))
    sizes = []
    for side in (8, 32, 64, 224, 518, 4096):
        opened = Backbone("", backbone.replace(network, side=side), 1, "fp32", CPU)
        sizes.append(opened.batch)
    assert sizes == [256, 256, 256, 16, 2, 1]


@pytest.mark.parametrize("scale", [1e30, 1e7])
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_features_that_are_not_finite_are_an_error(tmp_path: Path, scale: float, precision: str) -> None:
    """Infinite, or just more than half precision holds."""
    opened = open_backbone(str(written(tmp_path / "a.safetensors", scale)), device=CPU, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"expected finite features of a\.safetensors"):
        opened.embed(noise(2))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("resnet18", "expected torchvision:NAME, timm:NAME or FILE.safetensors, got 'resnet18'"),
        ("", "expected torchvision:NAME"),
        ("torchvision:", "expected torchvision:NAME"),
        ("keras:resnet50", "expected torchvision:NAME"),
        ("net.pt", "got a pickle-based one (net.pt): pickle runs code"),
        ("a/net.PTH", "pickle runs code"),
        ("net.bin", "pickle runs code"),
        ("net.ckpt", "pickle runs code"),
        ("no/such.safetensors", "got nothing there"),
        ("torchvision:resnet81", "try resnet18"),
        ("torchvision:fcn_resnet50", "expected a classifier of torchvision"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(name: str, complaint: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(UsageError, match="expected") as caught:
        open_backbone(name, device=CPU)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub's, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def offline(*args: object, **settings: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def cached(hub: Path) -> Path:
    """Where torch.hub keeps the published weights of SqueezeNet 1.1."""
    return hub / Path(models.SqueezeNet1_1_Weights.DEFAULT.url).name


def test_published_weights_come_out_of_the_cache(hub: Path, tmp_path: Path) -> None:
    """By name or as a file, they are the same network."""
    net = models.squeezenet1_1()
    torch.save(net.state_dict(), cached(hub))
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    named = open_backbone("torchvision:squeezenet1_1", device=CPU)
    filed = open_backbone(str(tmp_path / "net.safetensors"), device=CPU)
    assert named.name == "torchvision:squeezenet1_1"
    assert (named.side, named.width, named.digest) == (224, 512, filed.digest)
    images = noise(1, 224)
    np.testing.assert_array_equal(named.embed(images), filed.embed(images))


def test_without_a_network_files_are_recommended(hub: Path) -> None:
    """One line, whatever the library said."""
    with pytest.raises(UsageError, match=r"got: no network; .* FILE\.safetensors, which works offline$"):
        open_backbone("torchvision:squeezenet1_1", device=CPU)


class _Trap:
    """Pickled, it creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_cached_file_runs_no_code(hub: Path, tmp_path: Path) -> None:
    """torchvision would unpickle whatever lies there."""
    torch.save({"features.0.weight": _Trap(tmp_path / "sprung")}, cached(hub))
    with pytest.raises(UsageError, match="expected to fetch the weights"):
        open_backbone("torchvision:squeezenet1_1", device=CPU)
    assert not (tmp_path / "sprung").exists()


def test_timm_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error carries the pip line."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dataset-sanitizer\[timm\]'"):
        open_backbone("timm:resnet18", device=CPU)


def test_timm_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its published weights are asked for, without a head; a failure and an unknown name are one line."""
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    create = timm.create_model
    asked: dict[str, object] = {}

    def without_download(name: str, *, pretrained: bool, **settings: object) -> nn.Module:
        asked.update(settings, pretrained=pretrained)
        return create(name, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", without_download)
    opened = open_backbone("timm:test_resnet", device=CPU)
    assert asked == {"pretrained": True, "num_classes": 0}
    assert (opened.name, opened.side) == ("timm:test_resnet", 160)
    assert opened.embed(noise(1, 160)).shape == (1, opened.width)

    def offline(*args: object, **settings: object) -> nn.Module:
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UsageError, match="got: no network; check"):
        open_backbone("timm:test_resnet", device=CPU)
    with pytest.raises(UsageError, match="expected a model of timm, got 'resnet_18'"):
        open_backbone("timm:resnet_18", device=CPU)


def test_a_network_for_other_images_than_it_says_is_an_error(tmp_path: Path) -> None:
    """A transformer takes one size only."""
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    net = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"input_size": [3, 64, 64]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SanitizerError, match="to take images of 64 x 64 pixels"):
        open_backbone(str(tmp_path / "net.safetensors"), device=CPU)


@needs_shared
@pytest.mark.parametrize("name", ["cifar10_resnet20", "cifar10_resnet56"])
def test_real_cifar_networks_know_real_images(name: str) -> None:
    """Accurate through the checkpoint's own head, and the same in bf16, neighbours included."""
    path = SHARED / "weights" / f"{name}.safetensors"
    images, labels = pictures(SHARED / "data/cifar10/test.parquet", 32, slice(1000))
    rows = open_backbone(str(path), device=CPU).embed(images)
    tensors = load_file(path)
    logits = rows.astype(np.float32) @ tensors["linear.weight"].numpy().T + tensors["linear.bias"].numpy()
    assert (logits.argmax(axis=1) == labels).mean() > 0.75
    exact = open_backbone(str(path), device=CPU, precision="fp32").embed(images[:512])
    assert cosines(rows[:512], exact).min() > 0.999
    assert (nearest(rows[:512]) == nearest(exact)).mean() > 0.9


#: Of the twenty classes of tinyimagenet20a, in the order of their labels: where ImageNet has them.
IMAGENET = np.array(
    [107, 235, 338, 457, 471, 604, 675, 739, 808, 826, 874, 877, 879, 910, 923, 924, 951, 964, 972, 973]
)


@needs_shared
def test_the_real_mobilenet_knows_real_images() -> None:
    """Better than with any other padding or scaling: 0.71 here; symmetric padding 0.65, ImageNet's scaling 0.52."""
    path = SHARED / "weights/mobilenetv2_100_224_imagenet.safetensors"
    images, labels = pictures(SHARED / "data/tinyimagenet20a/val.parquet", 224, slice(160))
    opened = open_backbone(str(path), device=CPU)
    tensors = load_file(path)
    logits = opened.embed(images).astype(np.float32) @ tensors["fc.weight"].numpy().T + tensors["fc.bias"].numpy()
    assert (logits[:, IMAGENET + 1].argmax(axis=1) == labels).mean() > 0.66  # 0 is the background
