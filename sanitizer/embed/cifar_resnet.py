"""The residual networks for 32 x 32 images of He et al. (2016), 6n+2 layers, shortcuts without weights (option A)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sanitizer.embed.network import Shapes, WeightsOnMeta

SIDE = 32


class CifarResNet(nn.Module):
    """A 3x3 stem, three stages of ``blocks`` residual blocks each, average pooling, a linear head."""

    def __init__(self, blocks: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (b, classes)."""
        rows = F.relu(self.bn1(self.conv1(images)))
        rows = self.layer3(self.layer2(self.layer1(rows)))
        logits: Tensor = self.linear(rows.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.missing = outputs - inputs  # channels that the shortcut fills with zeros, half on either side

    def forward(self, rows: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(rows)))
        return F.relu(self.bn2(self.conv2(inner)) + self._shortcut(rows))

    def _shortcut(self, rows: Tensor) -> Tensor:
        if not self.missing:
            return rows
        half = self.missing // 2
        kept = rows[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, half, self.missing - half))


def _stage(inputs: int, outputs: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def from_shapes(shapes: Shapes) -> CifarResNet | None:
    """The network that these tensors belong to, depth and width read off them; None where they are another's."""
    blocks = len({name.split(".")[1] for name in shapes if name.startswith("layer1.")})
    stem, head = shapes.get("conv1.weight", ()), shapes.get("linear.weight", ())
    if not blocks or stem[1:] != (3, 3, 3) or len(head) != 2 or _names(blocks) != shapes.keys():
        return None
    with WeightsOnMeta():
        return CifarResNet(blocks, stem[0], head[0])


def _names(blocks: int) -> set[str]:
    """What the weights are called."""
    norms = ("weight", "bias", "running_mean", "running_var")
    found = {"linear.weight", "linear.bias"}
    places = [f"layer{stage}.{block}." for stage in (1, 2, 3) for block in range(blocks)]
    for prefix, numbers in (("", (1,)), *((place, (1, 2)) for place in places)):
        found |= {f"{prefix}conv{number}.weight" for number in numbers}
        found |= {f"{prefix}bn{number}.{norm}" for number in numbers for norm in norms}
    return found
