"""A class without one of its parts: the axes along which what is left varies most, to look at that part along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from detectors.base import Floats, Rows
from detectors.looks import Axes, enough_axes
from detectors.residuals import Whitened
from detectors.whitening import principal_axes

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rest:
    """What is left of a class for one of its parts."""

    asked: Mask  # (m,) the part
    axes: Axes  # of the others when whitened, laid through residuals as they are
    along: Floats  # (m, k) where all of the class lie along them

    @property
    def shown(self) -> Floats:
        """Where the others lie, (others, k)."""
        return np.asarray(self.along[~self.asked])


def rests(
    white: Whitened, rows: Rows, part: np.ndarray, of_class: Callable[[], Floats], *, axes: int, rows_per_axis: int
) -> Iterator[Rest]:
    """The rest for every part of a class that leaves two samples at least; ``of_class``: the moments of the class."""
    parts = [part == number for number in np.unique(part)]
    left = [int((~asked).sum()) for asked in parts]
    counts = [enough_axes(size, axes=axes, rows_per_axis=rows_per_axis) if size > 1 else 0 for size in left]
    if min(left, default=0) < len(white.matrix):
        found = list(_of_few(white, rows, parts, counts))
    else:
        found = list(_of_many(white, rows, parts, counts, of_class()))
    if not found:
        return
    along = white.residuals.times(rows, np.concatenate([own.across for _, own in found], axis=1))
    ends = np.cumsum([own.across.shape[1] for _, own in found])
    for (asked, own), lines in zip(found, np.split(along, ends[:-1], axis=1), strict=True):
        yield _towards_heavier_tails(Rest(asked, own, lines - own.origin @ own.across))


def _towards_heavier_tails(rest: Rest) -> Rest:
    """The same, with axes that point to where few lie far out: the sign that they happen to have says nothing."""
    sign = np.where((rest.shown**3).sum(axis=0) < 0, -1.0, 1.0)
    return Rest(rest.asked, Axes(rest.axes.origin, rest.axes.across * sign), rest.along * sign)


_Leading = Iterator[tuple[Mask, Axes]]


def _of_few(white: Whitened, rows: Rows, parts: list[Mask], counts: list[int]) -> _Leading:
    """The leading axes of each rest, by samples that are fewer than dimensions."""
    seen = white.residuals.of(rows)
    turned = seen @ white.matrix
    for asked, count in zip(parts, counts, strict=True):
        if count:
            yield asked, Axes(seen[~asked].mean(axis=0), white.matrix @ principal_axes(turned[~asked], count).T)


def _of_many(white: Whitened, rows: Rows, parts: list[Mask], counts: list[int], of_class: Floats) -> _Leading:
    """By moments: those of a rest are those of the class less those of the part, and the last part is what is left."""
    moments = [white.residuals.moments(rows[asked]) for asked in parts[:-1]]
    moments.append(of_class - np.sum(moments, axis=0))
    width = len(white.matrix)
    for asked, own, most in zip(parts, moments, counts, strict=True):
        count = min(most, width)
        rest = of_class - own
        size, sums = rest[-1, -1], rest[-1, :-1]
        scatter = rest[:-1, :-1] - np.outer(sums, sums) / size
        varies = eigh(white.matrix @ scatter @ white.matrix, subset_by_index=(width - count, width - 1))[1]
        yield asked, Axes(sums / size, white.matrix @ varies[:, ::-1])
