"""Rows rounded to bf16, and what can be proven about distances from products of them.

One product gives half the squared distances of all pairs, itself in bf16: b_i is a rounded row, h_i half its squared
length in three parts of eight bits, and (-b_i, h_i, 1) times (b_j, 1, h_j) is |b_i - b_j|^2 / 2. By the triangle
inequality that is off by what the two rows lost in rounding, which is known, and by the rounding of the product, which
is bounded: so a cut can be named below which every neighbour within a given distance must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 2.0**-8  # of bf16, relative
_SINGLE = 2.0**-24  # of fp32, in which products are summed
_SAFE = 1 + 1e-4  # for roundings of lengths, distances and bounds themselves
_PARTS = 3  # of bf16 that hold a number of fp32
_CHUNK = 4096  # rows at a time: no second copy of all


@dataclass(frozen=True)
class Halved:
    """n rows of d numbers, around a centre."""

    right: Tensor  # (n, d + 6) bf16: the right side of a product
    length: Tensor  # (n,) of the rounded rows
    lost: Tensor  # (n,) how far each is from what it was

    @classmethod
    def of(cls, rows: Tensor, centre: Tensor) -> Halved:
        """Round them, a part at a time."""
        import torch

        n, d = rows.shape
        columns = torch.ones((n, d + 2 * _PARTS), dtype=torch.bfloat16, device=rows.device)
        length, lost = (torch.empty(n, device=rows.device) for _ in range(2))
        for start in range(0, n, _CHUNK):
            part = slice(start, start + _CHUNK)
            centred = rows[part].float() - centre
            columns[part, :d] = centred
            rounded = columns[part, :d].float()
            length[part] = rounded.norm(dim=1)
            lost[part] = centred.sub_(rounded).norm(dim=1)
        lost = _SAFE * lost + 2 * _SINGLE * length  # centring rounds too
        rest = length.square() / 2
        for column in range(d + _PARTS, d + 2 * _PARTS):
            columns[:, column] = rest
            rest = rest - columns[:, column].float()
        return cls(columns, length, lost)

    def __getitem__(self, rows: slice) -> Halved:
        return Halved(self.right[rows], self.length[rows], self.lost[rows])

    def __len__(self) -> int:
        return len(self.right)

    def left(self) -> Tensor:
        """The left side, (n, d + 6)."""
        import torch

        d = self.right.shape[1] - 2 * _PARTS
        rows, ones, halves = self.right[:, :d], self.right[:, d : d + _PARTS], self.right[:, d + _PARTS :]
        return torch.cat([-rows, halves, ones], dim=1)


@dataclass(frozen=True)
class Bounds:
    """What a row may be off by, when it is compared with any of a reference."""

    longest: float
    most_lost: float
    lost_share: float  # of the length
    roundings: float  # of sums in fp32, of the lengths and of the product

    @classmethod
    def of(cls, reference: Halved) -> Bounds:
        """Over all rows of a reference."""
        share = (reference.lost / reference.length.clamp(min=1e-30)).max()
        sums = (8 if reference.right.is_cuda else 1) * (3 * reference.right.shape[1] + 8) * _SINGLE
        return cls(_SAFE * float(reference.length.max()), float(reference.lost.max()), float(share), sums)

    def farthest(self, rows: Halved, half: Tensor) -> Tensor:
        """How far apart rows can be whose product is at most ``half`` (m,)."""
        half = half.clamp(min=0)
        # Whoever is more than four times as long as the row has a product of a quarter of its own square, and more.
        near = (4 * rows.length).maximum((8 * half).sqrt()).clamp(max=self.longest)
        apart = (2 * half * (1 + _ROUNDING) + self._sums(rows, near)).sqrt()
        return _SAFE * (apart + rows.lost + self._lost(near))

    def cut(self, rows: Halved, distance: Tensor) -> Tensor:
        """What the product of everybody within ``distance`` (m,) cannot exceed."""
        near = (1.02 * (rows.length + distance)).clamp(max=self.longest)
        apart = _SAFE * distance + rows.lost + self._lost(near)
        return _SAFE * (apart.square() + self._sums(rows, near)) / 2 * (1 + _ROUNDING)

    def _sums(self, rows: Halved, near: Tensor) -> Tensor:
        return self.roundings * (rows.length.square() + near.square())

    def _lost(self, near: Tensor) -> Tensor:
        return (self.lost_share * near).clamp(max=self.most_lost)
