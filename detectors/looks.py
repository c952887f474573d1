"""Directions in which a class falls into two groups, found in some of its samples and asked of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from detectors.base import Floats
from detectors.clustering import fisher_direction, sharpened, two_means
from detectors.whitening import principal_axes


@dataclass(frozen=True)
class Look:
    """A direction, with 0 where the rest of a class lies, in units of the spread within its two groups."""

    direction: Floats
    middle: float
    spread: float
    border: float  # half-way between the groups, in those units

    def __call__(self, rows: Floats) -> Floats:
        """How far out each row lies."""
        return np.asarray((rows @ self.direction - self.middle) / self.spread)

    def reversed(self) -> Look:
        """The same cut, seen from the other group."""
        return replace(self, direction=-self.direction, middle=-self.middle - 2 * self.border * self.spread)


def look_at(rows: Floats, group: np.ndarray, direction: Floats) -> Look | None:
    """The look along a direction that tells a group from the rest; None where it tells nothing."""
    if min(group.sum(), (~group).sum()) < 2:
        return None
    along = rows @ direction
    inside, outside = along[group], along[~group]
    spread = float(np.sqrt((inside.var() + outside.var()) / 2))
    if not spread > 1e-9 * max(1e-9, np.abs(along).max()):
        return None
    return Look(direction, float(outside.mean()), spread, float(inside.mean() - outside.mean()) / spread / 2)


def candidate_looks(rows: Floats, *, axes: int, rows_per_axis: int, tail: float) -> Iterator[tuple[Look, np.ndarray]]:
    """Ways to cut rows in two, one started from either tail of every leading axis; each with its smaller group.

    At most one axis for every ``rows_per_axis`` rows: in many dimensions any few rows fall apart.
    """
    if len(rows) < 2:
        return
    turned = principal_axes(rows, max(1, min(axes, len(rows) // rows_per_axis))).T
    reduced = (rows - rows.mean(axis=0)) @ turned
    for along in (*reduced.T, *-reduced.T):
        group = sharpened(reduced, two_means(reduced, along >= np.quantile(along, 1 - tail)))
        group = ~group if group.sum() * 2 > len(group) else group
        look = look_at(rows, group, turned @ fisher_direction(reduced, group))
        if look:
            yield look, group
