"""Batch normalisation remembers the training set: layer by layer, how a sample's activations fit what was usual.

FLARE (Hou et al. 2025) asks how likely they are; "Have You Poisoned My Data?" (2024) asks which class they are like.
"""

from __future__ import annotations

import numpy as np

from detectors.base import Detector, Evidence, Floats, by_class
from detectors.robust import class_units


class BatchNormLikelihood(Detector):
    """Samples whose activations are more, or less, likely than those of their class, in any of the layers.

    Both directions count: a trigger leaves activations that are rare, and a network that found a shortcut does
    little where it does much for others. A column's say grows with the logarithm, so that no layer drowns the rest.
    """

    needs = ("batchnorm",)
    sees = ("dispersed",)
    origin_free = False
    costly = True
    says = "Inside the network its activations are unlike those of its class."

    def _score(self, evidence: Evidence) -> Floats:
        deviations = class_units(evidence, evidence.space("batchnorm"))
        return np.asarray(np.log1p(deviations**2).sum(axis=1))


class BatchNormCentroid(Detector):
    """Samples whose activations have the statistics of another class than their own.

    The score is the distance to the centre of the own class less the distance to the nearest other one, in units
    of the spread within classes. Nothing looks like another class where there is none.
    """

    needs = ("channels",)
    sees = ("mislabelled",)
    origin_free = False
    costly = True
    says = "Inside the network its activations have the statistics of another class."

    def _score(self, evidence: Evidence) -> Floats:
        groups = [members for _, members in by_class(evidence)]
        scores = np.zeros(len(evidence))
        if len(groups) < 2:
            return scores
        means = np.array([_rows(evidence, members).mean(axis=0) for members in groups])
        spread = _spread_within(evidence, groups, means)
        varies = spread > 1e-6 * np.abs(means).max(axis=0)
        units = np.divide(1, spread, out=np.zeros_like(spread), where=varies)
        for own, members in enumerate(groups):
            distances = _distances(_rows(evidence, members) * units, means * units)
            others = np.delete(distances, own, axis=1)
            scores[members] = distances[:, own] - others.min(axis=1)
        return scores


def _rows(evidence: Evidence, members: np.ndarray) -> Floats:
    """The statistics of one class: those of all would be many numbers in double precision."""
    return np.asarray(evidence.spaces["channels"][members], dtype=np.float64)


def _spread_within(evidence: Evidence, groups: list[np.ndarray], means: Floats) -> Floats:
    """Standard deviation of every dimension around the class means, pooled over the classes, (d,)."""
    squares = np.zeros(means.shape[1])
    for members, mean in zip(groups, means, strict=True):
        squares += ((_rows(evidence, members) - mean) ** 2).sum(axis=0)
    return np.asarray(np.sqrt(squares / len(evidence)))


def _distances(rows: Floats, centres: Floats) -> Floats:
    """Root mean square difference of every row from every centre, (n, c)."""
    squares = [((rows - centre) ** 2).mean(axis=1) for centre in centres]
    return np.asarray(np.sqrt(np.stack(squares, axis=1)))
