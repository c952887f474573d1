"""Samples as their difference from the mean of their class, made block by block: no space is ever held in double.

What several detectors want to know of a space is kept with the evidence: means, units and covariances, and no samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.precision import widened
from detectors.scatter import scatter
from detectors.whitening import whitening

#: Rows that are in double precision at a time: few enough to stay in a processor's cache.
BLOCK = 512
#: The moments of all classes are kept as long as they take no more than this share of the stored samples.
SMALL = 1 / 2


@dataclass(frozen=True, eq=False)
class Residuals:
    """A space less the means of its classes, in units, and clipped: strays must not set the scale."""

    samples: np.ndarray  # (n, d) as they are stored
    class_of: Rows  # (n,) numbers without gaps
    means: Floats  # (C, d)
    units: Floats  # (d,)
    most: float = np.inf  # units that nothing counts for more than

    @property
    def centres(self) -> Floats:
        """Where the classes lie, in the same units, (C, d)."""
        return np.asarray(self.means / self.units)

    def of(self, rows: Rows) -> Floats:
        """The residuals of these samples, (m, d)."""
        found = widened(np.take(self.samples, rows, axis=0), np.float64)
        found = (found - self.means[self.class_of[rows]]) / self.units
        return np.clip(found, -self.most, self.most, out=found) if np.isfinite(self.most) else found

    def times(self, rows: Rows, across: Floats) -> Floats:
        """Where they lie along directions (d, k), (m, k)."""
        along = np.empty((len(rows), across.shape[1]))
        for here, block in self.blocks(rows):
            along[here] = block @ across
        return along

    def sums(self, rows: Rows, groups: np.ndarray) -> Floats:
        """The sum of each group (g, m) of them, (g, d)."""
        total = np.zeros((len(groups), len(self.units)))
        for here, block in self.blocks(rows):
            total += groups[:, here].astype(np.float64) @ block
        return total

    def moments(self, rows: Rows) -> Floats:
        """Their outer products summed, each row with a one at its end, (d + 1, d + 1): squares, sums and count."""
        total = np.zeros((len(self.units) + 1,) * 2)
        for _, block in self.blocks(rows):
            total[:-1, :-1] += block.T @ block
            total[-1, :-1] += block.sum(axis=0)
        total[:-1, -1], total[-1, -1] = total[-1, :-1], len(rows)
        return total

    def blocks(self, rows: Rows) -> Iterator[tuple[slice, Floats]]:
        """The residuals of these samples, a few at a time, with their places among them."""
        for start in range(0, len(rows), BLOCK):
            here = slice(start, start + BLOCK)
            yield here, self.of(rows[here])


@dataclass(frozen=True, eq=False)
class Whitened:
    """Residuals, and the symmetric matrix that would whiten them: directions are turned by it, and no sample."""

    residuals: Residuals
    matrix: Floats  # (d, d)


def residuals(evidence: Evidence, space: str) -> Residuals:
    """The residuals of a space as it is."""
    samples, width = evidence.spaces[space], np.shape(evidence.spaces[space])[1]
    class_of = np.searchsorted(evidence.classes, evidence.labels)
    raw = Residuals(samples, class_of, np.zeros((len(evidence.classes), width)), np.ones(width))
    for number, (_, rows) in enumerate(by_class(evidence)):
        raw.means[number] = sum(block.sum(axis=0) for _, block in raw.blocks(rows)) / len(rows)
    return raw


def usual_residuals(evidence: Evidence, space: str) -> Residuals:
    """The same in units of their standard deviation, and clipped."""
    return in_units(evidence.derived(residuals, space), np.arange(len(evidence)))


def in_units(raw: Residuals, known: Rows, *, most: float = 5.0) -> Residuals:
    """Residuals in units of the standard deviation of the ``known``, clipped at so many of them."""
    sums, squares = np.zeros(len(raw.units)), np.zeros(len(raw.units))
    for _, block in raw.blocks(known):
        sums += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
    count = max(1, len(known))
    variance = squares / count - (sums / count) ** 2
    return replace(raw, units=np.sqrt(np.maximum(variance, 0)) + 1e-9, most=most)


def whitened(evidence: Evidence, space: str, *, by: Callable[[Evidence, str], Residuals], ridge: float) -> Whitened:
    """A space whitened by the covariance within its classes: what several detectors ask for is found once."""
    total = np.zeros((np.shape(evidence.spaces[space])[1],) * 2)
    for label in evidence.classes:
        total += class_moments(evidence, int(label), space, by)[:-1, :-1]
    covariance = total / max(1, len(evidence))
    return Whitened(evidence.derived(by, space), whitening(covariance, ridge=ridge))


def class_moments(evidence: Evidence, label: int, space: str, by: Callable[[Evidence, str], Residuals]) -> Floats:
    """The moments of a class, which are kept if those of all classes are small beside the samples."""
    stored = evidence.spaces[space]
    if space == "feature" and by is residuals:  # others ask for these as well
        moments = np.pad(scatter(evidence, label), (0, 1))
        moments[-1, -1] = len(evidence.rows(label))
        return moments
    small = 8 * len(evidence.classes) * stored.shape[1] ** 2 <= SMALL * stored.size * stored.dtype.itemsize
    return evidence.derived(_moments, label, space, by) if small else _moments(evidence, label, space, by)


def _moments(evidence: Evidence, label: int, space: str, by: Callable[[Evidence, str], Residuals]) -> Floats:
    return evidence.derived(by, space).moments(evidence.rows(label))
