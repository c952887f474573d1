"""What is measured on: made from a seed, with classes in it, shaped like the real thing; no data set is needed."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = 10
#: Groups within a class, directions in which a group is wide, and how fast they narrow.
_GROUPS, _DIRECTIONS, _NARROWING = 8, 48, 0.7
#: Share of the first class that is moved away from it, as a planted group would be.
_PLANTED = 0.01
_CHUNK = 10_000


def features(folder: Path, *, count: int, width: int = 512) -> None:
    """Rows like penultimate activations: ``features.npy`` (n, width) float16 and ``labels.npy``."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(CLASSES, 1, width)) + rng.normal(size=(CLASSES, _GROUPS, width))
    spread = rng.normal(size=(_DIRECTIONS, width)) * np.arange(1, _DIRECTIONS + 1)[:, None] ** -_NARROWING
    away = 3 * rng.normal(size=width)
    labels = np.arange(count) % CLASSES
    rows = np.empty((count, width), np.float16)
    for start in range(0, count, _CHUNK):
        part = labels[start : start + _CHUNK]
        groups = rng.integers(0, _GROUPS, len(part))
        drawn = centres[part, groups] + rng.normal(size=(len(part), _DIRECTIONS)) @ spread
        drawn += 0.3 * rng.normal(size=drawn.shape)
        drawn[(part == 0) & (rng.random(len(part)) < _PLANTED)] += away
        rows[start : start + _CHUNK] = np.maximum(drawn, 0)
    np.save(folder / "features.npy", rows)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "residual.npy", _residual(rng, labels, CLASSES))


def gradients(folder: Path, *, count: int) -> None:
    """What EPIC compares, ``gradients.npy`` (n, 10): softmax - onehot of one class, some of it hesitant."""
    rng = np.random.default_rng(0)
    np.save(folder / "gradients.npy", _residual(rng, np.zeros(count, np.int64), CLASSES).astype(np.float64))


def last_layer(folder: Path, *, count: int, classes: int, width: int) -> None:
    """The two factors of last-layer gradients, ``residual.npy`` (n, C) and ``features.npy`` (n, d)."""
    rng = np.random.default_rng(0)
    np.save(folder / "residual.npy", _residual(rng, np.arange(count) % classes, classes))
    np.save(folder / "features.npy", np.maximum(rng.normal(size=(count, width)), 0).astype(np.float16))
    np.save(folder / "labels.npy", np.zeros(count, np.int64))


def arrays(folder: Path, *, count: int, side: int) -> None:
    """``images.npy`` (n, side, side, 3) and ``labels.npy``."""
    np.save(folder / "images.npy", np.stack([image for _, image in _pictures(count, side)]))
    np.save(folder / "labels.npy", np.arange(count) % CLASSES)


def parquet(folder: Path, *, name: str, count: int, side: int, darkened: float = 0) -> None:
    """A file in the layout of the Hugging Face hub, with some images darkened a little if there is to be a change."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    changed = set(np.random.default_rng(2).choice(count, round(darkened * count), replace=False).tolist())
    pictures = enumerate(_pictures(count, side))
    rows = [(label, jpeg(image // 2 if number in changed else image)) for number, (label, image) in pictures]
    content = pa.array([encoded for _, encoded in rows], pa.binary())
    column = pa.StructArray.from_arrays([content, pa.nulls(count, pa.string())], ["bytes", "path"])
    table = pa.table({"image": column, "label": [f"class{label}" for label, _ in rows]})
    pq.write_table(table, folder / name, row_group_size=1000)


def jpegs(folder: Path, *, count: int, side: int) -> None:
    """``images/<class>/<number>.jpg``."""
    for number, (label, image) in enumerate(_pictures(count, side)):
        path = folder / "images" / f"class{label}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(image))


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """As most files of data sets are: quality 90, halved colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def network(folder: Path, *, kind: str) -> None:
    """``network.safetensors``: drawn weights of a network that we know by name, its normalisations fitted to noise."""
    import torch
    from safetensors.torch import save_file

    net = drawn_network(kind)
    state = {name: value.contiguous() for name, value in net.state_dict().items() if value.dtype == torch.float32}
    save_file(state, folder / "network.safetensors")


@functools.cache
def drawn_network(kind: str) -> Any:
    """A classifier with weights from a seed; without fitted normalisations its activations would grow layer by layer.

    ``resnet18`` is torchvision's for 224 px, ``small_resnet18`` the one of tables for CIFAR, with a 3x3 stem and no
    pooling; ``resnet20`` and ``resnet56`` are those of He et al.
    """
    import torch
    from torch import nn
    from torchvision.models import resnet18

    from sanitizer.embed.cifar_resnet import CifarResNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        side = 224 if kind == "resnet18" else 32
        net: nn.Module = resnet18() if "resnet18" in kind else CifarResNet(3 if kind == "resnet20" else 9, 16, CLASSES)
        if kind == "small_resnet18":
            net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # what the last batch shows is all that is remembered
        with torch.no_grad():
            net.train()(torch.randn(8, 3, side, side))
    return net.eval()


def _pictures(count: int, side: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Smooth colours that say which class it is, others that do not, and grain."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (CLASSES, 6, 6, 3))
    for number in range(count):
        label = number % CLASSES
        mixed = (coarse[label] + rng.integers(0, 256, (6, 6, 3))) // 2
        smooth = Image.fromarray(mixed.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        grain = rng.integers(-12, 13, (side, side, 3), np.int16)
        yield label, (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)


def _residual(rng: np.random.Generator, labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """softmax - onehot of a network that is mostly right, more or less surely."""
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += rng.gamma(4.0, 1.5, len(labels))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    return np.asarray(shares, np.float32)
