"""Where classes lie, and what samples add to that (SCAn, Tang et al. 2021), without the farthest of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.stats import chi2

from detectors.base import Evidence, Floats, Rows
from detectors.scatter import scatter

#: Shrinkage that is granted to any number of samples: a network may have units that never fire.
LEAST_SHRINKAGE = 1e-3
#: Below this share of the largest distance between classes they do not differ: float noise.
_NOISE = 1e-13


@dataclass(frozen=True)
class Decomposition:
    """Where classes lie, and what samples add to that."""

    means: Floats  # (C, d)
    between: Floats  # (d, d) covariance of the class means
    within: Floats  # (d, d) covariance of the variation that all classes share


@dataclass
class Moments:
    """Sums over the samples of several classes, each around the average of its class."""

    counts: list[int]
    averages: list[Floats]  # (d,)
    scatter: Floats  # (d, d) products
    fourth: float = 0.0  # squared squared lengths

    def shrinkage(self) -> float:
        """Ledoit and Wolf's: how far the variation has to be drawn towards a ball to be invertible."""
        size, width = sum(self.counts), len(self.scatter)
        if size < 2 or width < 2:
            return 1.0 if size < 2 else LEAST_SHRINKAGE
        squares = float(np.square(self.scatter).sum()) / size**2
        missed = squares - (np.trace(self.scatter) / size) ** 2 / width
        noise = min((self.fourth / size - squares) / size, missed)
        return max(LEAST_SHRINKAGE, noise / missed if noise else 0.0)


def decompose(known: Moments, *, shrinkage: float, rounds: int = 100) -> Decomposition:
    """Expectation-maximisation for x = mean + variation, both normal.

    The expected mean of a class is S_between (S_between + S_within / n)^-1 times its average. In the axes that
    make S_within one and S_between diagonal that is a factor an axis, for all classes at once; there are no
    more such axes than classes.
    """
    counts, averages = np.array(known.counts), np.stack(known.averages)
    centre = averages.mean(axis=0)
    offsets = averages - centre
    within = _shrunk(known.scatter / counts.sum(), shrinkage)
    means = offsets
    for _ in range(rounds):
        expected = _expected(means, offsets, counts, within)
        settled = np.allclose(expected, means, rtol=0, atol=1e-5 * np.sqrt(np.trace(within)))
        means = expected
        missed = offsets - means
        within = _shrunk((known.scatter + (missed * counts[:, None]).T @ missed) / counts.sum(), shrinkage)
        if settled:
            break
    return Decomposition(centre + means, means.T @ means / len(means), within)


def shared_variation(evidence: Evidence, *, trimmed: float, rounds: int = 3) -> Floats:
    """The covariance within classes (d, d), without the ``trimmed`` share of each class that lies farthest out.

    Scaled so that the median distance is that of a normal cloud, for a trimmed cloud looks small.
    """
    labels = [int(label) for label in evidence.classes]
    width = evidence.spaces["feature"].shape[1]
    squared = np.zeros(len(evidence))
    kept = _nothing(width)
    for label in labels:
        rows = _rows(evidence, label)
        _add(kept, rows, np.ones(len(rows), dtype=bool), scatter(evidence, label))
    for _ in range(rounds):
        found = decompose(kept, shrinkage=kept.shrinkage())
        factor, kept = np.asarray(np.linalg.cholesky(found.within), np.float64), _nothing(width)
        for label, mean in zip(labels, found.means, strict=True):
            rows = _rows(evidence, label)
            distances = _squared_lengths(factor, rows - mean)
            squared[evidence.rows(label)] = distances
            _add(kept, rows, distances <= np.quantile(distances, 1 - trimmed), scatter(evidence, label))
    scale = float(np.median(squared) / chi2.ppf(0.5, width))
    return np.asarray(found.within * (scale or 1.0))


def _rows(evidence: Evidence, label: int) -> Floats:
    return evidence.part("feature", evidence.rows(label))


def _nothing(width: int) -> Moments:
    return Moments([], [], np.zeros((width, width)))


def _add(known: Moments, rows: Floats, kept: NDArray[np.bool_], products: Floats) -> None:
    """Add a class of which some rows are kept; ``products`` are those of all its centred rows."""
    average = rows.mean(axis=0)
    left_out = rows[~kept] - average
    count = int(kept.sum())
    moved = -left_out.sum(axis=0) / count  # from the average of all to that of the kept
    known.counts.append(count)
    known.averages.append(average + moved)
    known.scatter += products - left_out.T @ left_out - count * np.outer(moved, moved)
    offsets = rows[kept] - known.averages[-1]
    known.fourth += float(np.square(np.einsum("ij,ij->i", offsets, offsets)).sum())


def _expected(means: Floats, offsets: Floats, counts: Rows, within: Floats) -> Floats:
    """The means that the classes' offsets make likely, if means scatter like these, (C, d)."""
    factor = np.linalg.cholesky(within)
    axes, lengths, _ = np.linalg.svd(solve_triangular(factor, means.T, lower=True), full_matrices=False)
    axes, lengths = axes[:, far := lengths > _NOISE * lengths.max()], lengths[far]
    reliability = counts[:, None] * lengths**2 / len(means)
    along = solve_triangular(factor, offsets.T, lower=True).T @ axes
    return np.asarray((along * (reliability / (reliability + 1))) @ (factor @ axes).T)


def _squared_lengths(factor: Floats, rows: Floats) -> Floats:
    """In units of the covariance of which this is the Cholesky factor."""
    inner = solve_triangular(factor, rows.T, lower=True, overwrite_b=True, check_finite=False)
    return np.asarray(np.einsum("ij,ij->j", inner, inner))


def _shrunk(covariance: Floats, shrinkage: float) -> Floats:
    ball = np.trace(covariance) / len(covariance) or 1.0
    return np.asarray((1 - shrinkage) * covariance + shrinkage * ball * np.eye(len(covariance)))
