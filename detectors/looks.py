"""Directions in which a class falls into two groups, found in some of its samples and asked of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from detectors.base import Floats
from detectors.tails import fisher_directions, tail_groups
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
        return self.along(rows @ self.direction)

    def along(self, line: Floats) -> Floats:
        """How far out rows lie of which it is known where they fall on the direction."""
        return np.asarray((line - self.middle) / self.spread)

    def reversed(self) -> Look:
        """The same cut, seen from the other group."""
        return replace(self, direction=-self.direction, middle=-self.middle - 2 * self.border * self.spread)


@dataclass(frozen=True)
class Axes:
    """A few axes through some rows: where they start, and how long a row is along each."""

    origin: Floats  # (d,)
    across: Floats  # (d, k)

    def __call__(self, rows: Floats) -> Floats:
        """Rows as they lie along the axes, (m, k)."""
        return np.asarray((rows - self.origin) @ self.across)

    def outward(self, look: Look) -> Look:
        """A look along the axes as one at the rows themselves."""
        direction = self.across @ look.direction
        return replace(look, direction=direction, middle=look.middle + float(self.origin @ direction))


def look_at(rows: Floats, group: np.ndarray, direction: Floats) -> Look | None:
    """The look along a direction that tells a group from the rest; None where it tells nothing."""
    if min(group.sum(), (~group).sum()) < 2:
        return None
    return look_along(rows @ direction, group, direction)


def look_along(line: Floats, group: np.ndarray, direction: Floats) -> Look | None:
    """The same, of rows of which it is known where they fall on the direction."""
    if min(group.sum(), (~group).sum()) < 2:
        return None
    inside, outside = line[group], line[~group]
    spread = float(np.sqrt((inside.var() + outside.var()) / 2))
    if not spread > 1e-9 * max(1e-9, np.abs(line).max()):
        return None
    return Look(direction, float(outside.mean()), spread, float(inside.mean() - outside.mean()) / spread / 2)


def enough_axes(size: int, *, axes: int, rows_per_axis: int) -> int:
    """At most one axis for every ``rows_per_axis`` rows: in many dimensions any few rows fall apart."""
    return max(1, min(axes, size // rows_per_axis))


def looks_along(reduced: Floats, *, tail: float) -> Iterator[tuple[Look, np.ndarray]]:
    """Ways to cut centred rows in their own axes, started from either tail of each; with the smaller group."""
    groups = tail_groups(reduced, tail=tail)
    directions = fisher_directions(reduced, groups)
    for group, direction, line in zip(groups, directions, directions @ reduced.T, strict=True):
        look = look_along(line, group, direction)
        if look:
            yield look, group


def candidate_looks(rows: Floats, *, axes: int, rows_per_axis: int, tail: float) -> Iterator[tuple[Look, np.ndarray]]:
    """Ways to cut rows in two, one started from either tail of every leading axis; each with its smaller group."""
    if len(rows) < 2:
        return
    turned = principal_axes(rows, enough_axes(len(rows), axes=axes, rows_per_axis=rows_per_axis)).T
    own = Axes(rows.mean(axis=0), turned)
    for look, group in looks_along(own(rows), tail=tail):
        yield own.outward(look), group
