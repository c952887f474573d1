"""MobileNetV2 (Sandler et al. 2018) in its first home's flavour: asymmetric padding, its own names and scaling."""

from __future__ import annotations

from torch import Tensor, nn

from sanitizer.embed.network import Shapes, WeightsOnMeta, weight_shapes

SIDE = 224

#: Expansion, output channels, blocks, stride of the first: the paper's second table.
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


class MobileNetV2(nn.Module):
    """A strided stem, seventeen inverted residuals, a wide last convolution, average pooling, a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _conv(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for expansion, outputs, count, stride in _STAGES:
            for number in range(count):
                blocks.append(_Block(inputs, outputs, expansion, 1 if number else stride))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(inputs, 1280, 1)
        self.fc = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (b, classes)."""
        rows = self.head(self.blocks(self.stem(images)))
        logits: Tensor = self.fc(rows.mean(dim=(2, 3)))
        return logits


class _Conv(nn.Sequential):
    """Convolution, batch normalisation and, but for projections, a ReLU that ends at 6."""


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True) -> _Conv:
    """Padded at the end only where it strides: "SAME" of an even size, and all sizes from 224 to 14 are even."""
    layer = _Conv()
    if stride == 2:
        layer.add_module("pad", nn.ZeroPad2d((0, 1, 0, 1)))
    padding = kernel // 2 if stride == 1 else 0
    layer.add_module("conv", nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
    layer.add_module("bn", nn.BatchNorm2d(outputs, eps=1e-3))
    if active:
        layer.add_module("act", nn.ReLU6(inplace=True))
    return layer


class _Block(nn.Module):
    """Widen, filter each channel by itself, narrow; and add the input where its shape is kept."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        widen = [_conv(inputs, inner, 1)] if expansion > 1 else []
        filtered = _conv(inner, inner, 3, stride=stride, groups=inner)
        self.seq = nn.Sequential(*widen, filtered, _conv(inner, outputs, 1, active=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.seq(rows)
        return rows + out if self.residual else out


def from_shapes(shapes: Shapes) -> MobileNetV2 | None:
    """The network that these tensors belong to, or None."""
    head = shapes.get("fc.weight", ())
    if head[1:] != (1280,) or "stem.conv.weight" not in shapes:
        return None
    with WeightsOnMeta():
        net = MobileNetV2(head[0])
    return net if weight_shapes(net).keys() == shapes.keys() else None
