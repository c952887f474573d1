"""Cutting rows in two from many starts at once: the tails of every axis, two-means, then Fisher's border.

What ``two_means`` and ``sharpened`` do from one start, as products of all starts with all rows: a round costs two of
them. Most starts settle in the same few groups, which are told apart before anybody looks at them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.base import Floats

Groups = NDArray[np.bool_]  # (g, m), a group a row
#: From the groups' counts and the means of both sides, the direction along which each is cut again.
_Directions = Callable[[Floats, Floats, Floats], Floats]
#: Variance within groups below this share of the whole is float noise.
_NOISE = 1e-12


def tail_groups(rows: Floats, *, tail: float) -> Groups:
    """The smaller groups that centred rows fall into, started from either tail of every axis; each of them once."""
    lines = np.concatenate([rows.T, -rows.T])
    settled = sharpened_groups(rows, distinct(two_means_groups(rows, lines >= _tails(lines, tail)[:, None])))
    larger = settled.sum(axis=1) * 2 > settled.shape[1]
    return distinct(settled ^ larger[:, None])


def two_means_groups(rows: Floats, starts: Groups, *, rounds: int = 50) -> Groups:
    """Lloyd's algorithm for two groups of centred rows, from each start, until nothing moves."""
    return _settled(rows, starts, lambda _, inside, outside: inside - outside, rounds)


def sharpened_groups(rows: Floats, groups: Groups, *, ridge: float = 0.05, rounds: int = 10) -> Groups:
    """The border between two groups of centred rows redrawn with Fisher's discriminant, until nothing moves."""
    squares = rows.T @ rows

    def fisher(counts: Floats, inside: Floats, outside: Floats) -> Floats:
        return _fisher(squares, len(rows), counts, inside, outside, ridge)

    return _settled(rows, groups, fisher, rounds)


def fisher_directions(rows: Floats, groups: Groups, *, ridge: float = 0.05) -> Floats:
    """The direction along which each group of centred rows lies farthest apart, (g, d); 0 where there are not two."""
    counts = groups.sum(axis=1).astype(np.float64)
    found = np.zeros((len(groups), rows.shape[1]))
    two = np.flatnonzero(_apart(counts, len(rows)))
    inside, outside = _means(rows, groups[two], counts[two])
    found[two] = _fisher(rows.T @ rows, len(rows), counts[two], inside, outside, ridge)
    return found


def _settled(rows: Floats, starts: Groups, directions: _Directions, rounds: int) -> Groups:
    """Split at the midpoint of the group means along a direction, again and again; who has settled is left alone."""
    groups, moving = starts.copy(), np.arange(len(starts))
    for _ in range(rounds):
        counts = groups[moving].sum(axis=1).astype(np.float64)
        moving, counts = moving[two := _apart(counts, len(rows))], counts[two]
        if not len(moving):
            break
        before = groups[moving]
        inside, outside = _means(rows, before, counts)
        across = directions(counts, inside, outside)
        middle = ((inside + outside) / 2 * across).sum(axis=1)
        after = across @ rows.T > middle[:, None]
        groups[moving] = after
        moving = moving[(after != before).any(axis=1)]
    return groups


def _means(rows: Floats, groups: Groups, counts: Floats) -> tuple[Floats, Floats]:
    """The means of both sides of every group, by one product."""
    sums = groups.astype(np.float64) @ rows
    return sums / counts[:, None], (rows.sum(axis=0) - sums) / (len(rows) - counts)[:, None]


def _fisher(squares: Floats, size: int, counts: Floats, inside: Floats, outside: Floats, ridge: float) -> Floats:
    """The line between the means of each group in units of what varies within, of which a share is added."""
    share = np.stack([counts, size - counts]) / size
    between = sum(
        part[:, None, None] * mean[:, :, None] * mean[:, None, :]
        for part, mean in zip(share, (inside, outside), strict=True)
    )
    within = squares / size - between
    least = _NOISE * np.trace(squares) / size
    floor = ridge * np.maximum(np.trace(within, axis1=1, axis2=2), least) / len(squares)
    floor[floor == 0] = 1.0  # nothing varies: any direction will do
    ridged = within + floor[:, None, None] * np.eye(len(squares))
    return np.asarray(np.linalg.solve(ridged, (inside - outside)[:, :, None])[:, :, 0])


def _apart(counts: Floats, size: int) -> NDArray[np.bool_]:
    """Where both groups have more than one member."""
    return np.asarray((counts > 1) & (counts < size - 1))


def _tails(lines: Floats, tail: float) -> Floats:
    """Where the upper tail of every line starts."""
    return np.asarray(np.quantile(lines, 1 - tail, axis=1))


def distinct(groups: Groups) -> Groups:
    """Every group once, in the order in which they come first."""
    packed = np.packbits(groups, axis=1)
    first = {row.tobytes(): number for number, row in reversed(list(enumerate(packed)))}
    return groups[sorted(first.values())]
