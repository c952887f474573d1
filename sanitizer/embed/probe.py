"""The probe: a compact network trained on the suspect data itself, which learns whatever was planted there.

A frozen, clean backbone hardly sees a small trigger; a network trained on the poisoned set must see it,
for the trigger is what makes those labels predictable. Its penultimate features, its residuals and the
losses met on the way are the evidence.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sanitizer.nets import Checkpoint, Classifier, ConvNet, Recipe, autocast, build_net, enough_threads, train

#: For each budget: the largest side, the fewest epochs and the fewest training steps.
BUDGETS = {"fast": (32, 5, 800), "standard": (64, 8, 1500), "thorough": (128, 12, 3000)}

VERSION = 1  # of everything in this module that can change a space


@dataclass(frozen=True, kw_only=True)
class ProbePlan:
    """What to train on what: chosen from the data and the budget alone."""

    side: int  # pixels: every image is scanned as side x side
    width: int
    stem_stride: int
    recipe: Recipe


@dataclass(frozen=True)
class Embedding:
    """Row i of every array is sample i."""

    feature: NDArray[np.float16]  # (n, d) penultimate activations
    residual: NDArray[np.float32]  # (n, C) softmax - onehot: with ``feature`` the last-layer gradient
    loss: NDArray[np.float32]  # (n, epochs) of the training pass
    model: dict[str, object]  # who computed it: kind, digest, settings
    weights: dict[str, torch.Tensor] = field(default_factory=dict)  # of the network as it was at the end


def plan_probe(n: int, native_side: int, *, budget: str, seed: int) -> ProbePlan:
    """Small sets are trained for more epochs in smaller batches, so that every probe makes enough steps.

    >>> plan_probe(50_000, 32, budget="standard", seed=0).recipe.epochs
    8
    """
    cap, least_epochs, least_steps = BUDGETS[budget]
    side = min(native_side, cap)
    batch = min(256, n / 75) if n >= 75 * 64 else max(16, min(64, n / 28))
    epochs = min(40, max(least_epochs, math.ceil(least_steps * batch / n)))
    recipe = Recipe(
        epochs=epochs, batch_size=int(batch), peak_rate=0.4 * batch / 256, max_shift=max(1, side // 16), seed=seed,
    )  # fmt: skip
    return ProbePlan(side=side, width=16, stem_stride=2 if side >= 64 else 1, recipe=recipe)


def train_probe(
    pixels: NDArray[np.uint8],  # (n, side, side, 3)
    labels: NDArray[np.int64],
    keys: NDArray[np.uint64],
    classes: int,
    plan: ProbePlan,
    *,
    device: torch.device,
    on_batch: Callable[[int], None] = lambda count: None,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[Checkpoint], None] | None = None,
) -> Embedding:
    """Train the probe and read the evidence off it."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    net = build_net(classes, images, width=plan.width, stem_stride=plan.stem_stride, seed=plan.recipe.seed)
    with enough_threads(plan.recipe.batch_size * plan.side**2):
        training = train(
            net, images, torch.from_numpy(labels), keys, plan.recipe,
            device=device, on_batch=on_batch, resume=resume, on_epoch=on_epoch,
        )  # fmt: skip
        feature, residual = embed(training.net, images, labels, device=device, on_batch=on_batch)
    model = {
        "kind": "probe", "version": VERSION, "digest": weights_digest(training.net), "side": plan.side,
        "width": plan.width, "epochs": plan.recipe.epochs, "batch_size": plan.recipe.batch_size,
    }  # fmt: skip
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in training.net.state_dict().items()}
    return Embedding(feature, residual, training.losses, model, weights)


def trained_again(weights: dict[str, torch.Tensor], classes: int, plan: ProbePlan, device: torch.device) -> ConvNet:
    """A probe as it was when its training ended, without the training."""
    with torch.device("meta"):  # initial weights would be drawn from a generator that belongs to others
        net = ConvNet(classes, width=plan.width, stem_stride=plan.stem_stride)
    net.load_state_dict(weights, assign=True)
    return net.to(device).to(memory_format=torch.channels_last).eval()


def embed(
    net: Classifier,
    images: torch.Tensor,
    labels: NDArray[np.int64],
    *,
    device: torch.device,
    batch: int = 1024,
    on_batch: Callable[[int], None] = lambda count: None,
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """One forward pass without augmentation: features, and the last-layer gradient's other factor.

    The gradient of the cross-entropy with respect to the head is ``residual (x) feature``: closed form, no
    backward pass, kept as its two factors.
    """
    features, residuals = [], []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = images[start : start + batch].to(device).contiguous(memory_format=torch.channels_last)
            with autocast(device):
                feature = net.features(net.normalise(part))
                logits = net.head(feature)
            residual = logits.float().softmax(dim=1).cpu()
            rows = torch.from_numpy(labels[start : start + batch])
            residual[torch.arange(len(rows)), rows] -= 1
            features.append(feature.half().cpu().numpy())
            residuals.append(residual.numpy())
            on_batch(len(rows))
    return np.concatenate(features), np.concatenate(residuals)


def weights_digest(net: torch.nn.Module) -> str:
    """The identity of a network: its names and weights."""
    hasher = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        hasher.update(name.encode())
        hasher.update(value.detach().cpu().contiguous().numpy().tobytes())
    return hasher.hexdigest()
