"""A frozen, pretrained network as a measuring instrument: images in, penultimate features out.

Every batch is padded to one size, so that the same kernels see every image: an image's features do not depend on
its company.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sanitizer.embed import timm_nets, torchvision_nets
from sanitizer.embed.architectures import recognise
from sanitizer.embed.checkpoint import read_checkpoint
from sanitizer.embed.folding import fold_batch_norms
from sanitizer.embed.inference import Precision, forward, halved, specimens
from sanitizer.embed.network import Network, first_line
from sanitizer.errors import UsageError

VERSION = 1  # of everything in this module and those it builds on that can change a space

#: Pixels in a batch: keeps the largest activations of a large network below half a gigabyte on a CPU.
BATCH_PIXELS = {"cpu": 2**20, "cuda": 2**24}
LARGEST_BATCH = {"cpu": 256, "cuda": 2048}

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class Backbone:
    """A frozen network that knows who it is and how it wants its images."""

    name: str  # as the user gave it; of a file, its own name, wherever it lies
    network: Network  # folded, in that precision, on that device
    width: int  # of the features
    precision: Precision
    device: torch.device

    @property
    def side(self) -> int:
        """Images come as side x side pixels."""
        return self.network.side

    @property
    def digest(self) -> str:
        """The identity of the weights as they were loaded."""
        return self.network.digest

    @property
    def batch(self) -> int:
        """Images that go through at once, always: a power of two that memory can bear."""
        most = max(1, BATCH_PIXELS[self.device.type] // self.side**2)
        return min(LARGEST_BATCH[self.device.type], 1 << (most.bit_length() - 1))

    def facts(self) -> dict[str, object]:
        """All that its features depend on, as a report names it."""
        return {
            "kind": "backbone", "version": VERSION, "name": self.name, "architecture": self.network.architecture,
            "digest": self.digest, "side": self.side, "width": self.width, "mean": list(self.network.mean),
            "std": list(self.network.std), "precision": self.precision,
        }  # fmt: skip

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Penultimate features (b, width) of whole images (b, side, side, 3)."""
        assert images.shape[1:] == (self.side, self.side, 3), images.shape
        features = np.empty((len(images), self.width), dtype=np.float16)
        for start in range(0, len(images), self.batch):
            rows = slice(start, start + self.batch)
            features[rows] = self._embed_batch(images[rows])
        return features

    def _embed_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        padded = np.zeros((self.batch, self.side, self.side, 3), dtype=np.uint8)
        padded[: len(images)] = images
        features = forward(self.network.net, torch.from_numpy(padded).to(self.device), self.network, self.precision)
        rows = features[: len(images)].half()
        if not rows.isfinite().all():
            raise UsageError(
                f"expected finite features of {self.name}, got NaN, infinity or more than half precision holds; "
                "use another checkpoint"
            )
        return np.asarray(rows.cpu().numpy())


def open_backbone(name: str, *, device: torch.device, precision: Literal["auto", "fp32"] = "auto") -> Backbone:
    """``torchvision:NAME``, ``timm:NAME`` or the path of a ``FILE.safetensors``, ready to embed."""
    network = open_network(name)
    fold_batch_norms(network.net)
    network.net.requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    width = _width(network, name, device)
    fast = halved(network, device) if precision == "auto" else None
    network = replace(network, net=fast or network.net)
    label = Path(name).name if name.endswith(".safetensors") else name
    return Backbone(label, network, width, "bf16" if fast else "fp32", device)


def _width(network: Network, name: str, device: torch.device) -> int:
    """Of its features, by trying: the first image also shows whether the network takes images of that side."""
    image = specimens(network.side)[:1].to(device)
    try:
        shape = forward(network.net, image, network, "fp32").shape
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"expected {name} to take images of {network.side} x {network.side} pixels, got: {first_line(error)}; "
            "name the right size in its config.json"
        ) from error
    if len(shape) != 2:
        raise UsageError(f"expected one row of features an image from {name}, got {shape[1:]}; use another network")
    return int(shape[1])


def open_network(name: str) -> Network:
    """What a user means by ``name``."""
    library, _, model = name.partition(":")
    if library == "torchvision" and model:
        return torchvision_nets.fetch(model)
    if library == "timm" and model:
        return timm_nets.fetch(model)
    if name.lower().endswith(_PICKLED):
        raise UsageError(
            f"expected a safetensors checkpoint, got a pickle-based one ({name}): pickle runs code; "
            "convert it with safetensors.torch.save_file"
        )
    if not name.endswith(".safetensors"):
        raise UsageError(f"expected torchvision:NAME, timm:NAME or FILE.safetensors, got {name!r}; choose one of those")
    return recognise(read_checkpoint(Path(name)))
