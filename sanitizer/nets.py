"""The small convolutional network, and the one training loop that everybody shares.

The probe trains it on the suspect data, victims train it on poisoned sets. Training is a pure function
of (pixels, labels, keys, recipe): batches and augmentation are drawn from the samples' content keys, so
neither listing order nor global random state can change the outcome.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Pixels in a batch from which a second thread pays for itself.
_WORTH_SHARING = 64 * 16 * 16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: SGD with Nesterov momentum under a one-cycle schedule."""

    epochs: int = 8
    batch_size: int = 256
    peak_rate: float = 0.4
    weight_decay: float = 5e-4
    max_shift: int = 2
    flip: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Training:
    """What a training run leaves behind: the network and what it saw of each sample."""

    net: Classifier
    losses: np.ndarray  # (n, epochs) float32: the loss of each sample when its batch was trained on


@dataclass(frozen=True)
class Checkpoint:
    """A training run between two epochs: with it, the rest of the run is what it would have been."""

    epochs: int  # finished
    tensors: dict[str, Tensor]


class Classifier(nn.Module):
    """A network that knows how its pixels are scaled, and whose head can be taken apart from its features."""

    mean: Tensor
    std: Tensor
    head: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (b, 3, h, w) to the network's input."""
        return self.standardise(pixels.float() / 255)

    def standardise(self, images: Tensor) -> Tensor:
        """Images (b, 3, h, w) from 0 to 1 to the network's input."""
        return (images - self.mean) / self.std

    def features(self, images: Tensor) -> Tensor:
        """Penultimate activations, (b, d)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (b, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


#: A batch (b, 3, h, w) in [0, 1] and its labels, and the network as it is -> what it is trained on instead.
Perturb = Callable[[Classifier, Tensor, Tensor], Tensor]


class ConvNet(Classifier):
    """Six 3x3 convolutions in three stages, global max pooling, a linear head.

    Max pooling (not average) keeps a small local pattern visible in the features, however small its area.
    """

    def __init__(self, classes: int, *, width: int = 16, stem_stride: int = 1) -> None:
        super().__init__()
        w = width
        self.stages = nn.Sequential(
            _block(3, w, stride=stem_stride), _block(w, 2 * w), nn.MaxPool2d(2, ceil_mode=True),
            _block(2 * w, 2 * w), _block(2 * w, 4 * w), nn.MaxPool2d(2, ceil_mode=True),
            _block(4 * w, 4 * w), _block(4 * w, 8 * w), nn.MaxPool2d(2, ceil_mode=True),
        )  # fmt: skip
        self.head = nn.Linear(8 * w, classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate activations, (b, 8 * width)."""
        pooled: Tensor = self.stages(images).amax(dim=(2, 3))
        return pooled


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def build_net(classes: int, pixels: Tensor, *, width: int, stem_stride: int, seed: int) -> ConvNet:
    """A freshly initialised network that knows the data's own mean and spread."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ConvNet(classes, width=width, stem_stride=stem_stride)
    know_scale(net, pixels)
    return net


def know_scale(net: Classifier, pixels: Tensor) -> None:
    """Tell a network the mean and the spread of its data, (n, 3, h, w) uint8."""
    sample = pixels[:: max(1, len(pixels) // 5000)].float() / 255
    net.mean.copy_(sample.mean(dim=(0, 2, 3)).view(1, 3, 1, 1))
    net.std.copy_(sample.std(dim=(0, 2, 3)).clamp_min(1e-3).view(1, 3, 1, 1))


def train(
    net: Classifier,
    pixels: Tensor,  # (n, 3, h, w) uint8
    labels: Tensor,  # (n,) int64
    keys: np.ndarray,  # (n,) uint64, from the content of each sample
    recipe: Recipe,
    *,
    device: torch.device,
    on_batch: Callable[[int], None] = lambda count: None,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[Checkpoint], None] | None = None,
    perturb: Perturb | None = None,
) -> Training:
    """Train ``net`` in place; returns it with each sample's loss in every epoch."""
    net.to(device).to(memory_format=torch.channels_last).train()
    n = len(pixels)
    batch = min(recipe.batch_size, n)
    steps = recipe.epochs * math.ceil(n / batch)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.peak_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_rate, total_steps=steps + 1, pct_start=0.25 if steps >= 7 else 2 / (steps + 1),
        anneal_strategy="linear", div_factor=10, final_div_factor=1000, cycle_momentum=False,
    )  # fmt: skip
    losses = np.zeros((n, recipe.epochs), dtype=np.float32)
    if resume:
        _restore(resume, net, optimiser, schedule, losses, done=resume.epochs * math.ceil(n / batch))
        on_batch(n * resume.epochs)
    for epoch in range(resume.epochs if resume else 0, recipe.epochs):
        noise = content_noise(keys, recipe.seed, epoch)
        order = torch.from_numpy(np.argsort(noise, kind="stable"))
        draws = torch.from_numpy((noise >> np.uint64(8)).astype(np.int64))
        for rows in _even_batches(order, batch):
            images = _augment(pixels[rows], draws[rows], recipe)
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            answers = labels[rows].to(device)
            changed = perturb(net, images.float() / 255, answers) if perturb else None
            with autocast(device):
                logits = net(net.normalise(images) if changed is None else net.standardise(changed))
            loss = F.cross_entropy(logits.float(), answers, reduction="none")
            optimiser.zero_grad(set_to_none=True)
            loss.mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses[rows.numpy(), epoch] = loss.detach().cpu().numpy()
            on_batch(len(rows))
        if on_epoch and epoch + 1 < recipe.epochs:
            on_epoch(_checkpoint(epoch + 1, net, optimiser, losses))
    net.eval()
    return Training(net, losses)


def _checkpoint(epochs: int, net: nn.Module, optimiser: torch.optim.Optimizer, losses: np.ndarray) -> Checkpoint:
    tensors = {f"net.{name}": value.detach().cpu().clone() for name, value in net.state_dict().items()}
    for number, parameter in enumerate(net.parameters()):
        tensors[f"momentum.{number}"] = optimiser.state[parameter]["momentum_buffer"].detach().cpu().clone()
    tensors["rate"] = torch.tensor([group["lr"] for group in optimiser.param_groups], dtype=torch.float64)
    tensors["losses"] = torch.from_numpy(losses[:, :epochs].copy())
    return Checkpoint(epochs, {name: value.contiguous() for name, value in tensors.items()})


def _restore(
    kept: Checkpoint,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    losses: np.ndarray,
    *,
    done: int,
) -> None:
    """Bring everything that changes during training to where it was after ``done`` steps."""
    net.load_state_dict({name.removeprefix("net."): v for name, v in kept.tensors.items() if name.startswith("net.")})
    for number, parameter in enumerate(net.parameters()):
        # copy_ into a tensor like the parameter: the memory layout decides how sums are rounded
        momentum = torch.empty_like(parameter.detach()).copy_(kept.tensors[f"momentum.{number}"])
        optimiser.state[parameter]["momentum_buffer"] = momentum
    schedule.load_state_dict(schedule.state_dict() | {"last_epoch": done, "_step_count": done + 1})
    for group, rate in zip(optimiser.param_groups, kept.tensors["rate"].tolist(), strict=True):
        group["lr"] = rate
    losses[:, : kept.epochs] = kept.tensors["losses"].numpy()


@contextlib.contextmanager
def enough_threads(pixels_per_batch: int) -> Iterator[None]:
    """One CPU thread for batches too small to share: there, threads would mostly wait for each other."""
    before = torch.get_num_threads()
    if pixels_per_batch < _WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def content_noise(keys: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """A uniform uint64 per sample that depends on nothing but (key, seed, stream): splitmix64."""
    with np.errstate(over="ignore"):
        x = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(2 * (seed * 100003 + stream) + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bf16 where the hardware multiplies it natively, fp32 elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_bf16_supported())
    native = "avx512_bf16" in _cpu_flags() or "amx_bf16" in _cpu_flags()
    return torch.autocast("cpu", torch.bfloat16, enabled=native)


def _cpu_flags() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as info:
        for line in info:
            if line.startswith("flags"):
                return line
    return ""


def _even_batches(order: Tensor, batch: int) -> Iterator[Tensor]:
    """Split into nearly equal batches: a last batch of one row would upset batch normalisation."""
    yield from torch.tensor_split(order, math.ceil(len(order) / batch))


def _augment(images: Tensor, draws: Tensor, recipe: Recipe) -> Tensor:
    """Shift by up to ``max_shift`` pixels and flip, as each sample's own draws say."""
    b, _, h, w = images.shape
    span = 2 * recipe.max_shift + 1
    dy = draws % span - recipe.max_shift
    dx = (draws // span) % span - recipe.max_shift
    flipped = ((draws // span**2) % 2 == 1) & recipe.flip
    ys = (torch.arange(h)[None, :] + dy[:, None]).clamp(0, h - 1)
    xs = (torch.arange(w)[None, :] + dx[:, None]).clamp(0, w - 1)
    xs = torch.where(flipped[:, None], xs.flip(1), xs)
    rows = torch.arange(b)[:, None, None]
    return images.permute(0, 2, 3, 1)[rows, ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2)
