"""The direction of a sample's gradient (after AGPD, Yuan et al. 2025): towards its class, or towards an opposite pole.

The gradient of the last layer is residual (x) feature. Its inner product with a class's mean gradient is that of
two small matrices, and the cosine of two of them the product of two cosines: none is ever written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, by_class

#: Residuals this short say nothing of their direction: half precision cannot tell where they point.
LEAST_RESIDUAL = 1e-5
#: A mean of unit gradients this short is that of gradients that cancel out.
LEAST_LENGTH = 1e-6
#: The share of a class, those that point farthest away, among which an opposite pole may start.
FARTHEST = 0.1


@dataclass(frozen=True)
class Gradients:
    """Unit gradients of some samples as two factors; a sample without a direction has a residual of 0."""

    residual: Floats  # (m, C)
    feature: Floats  # (m, d)

    def cosine(self, members: NDArray[np.bool_]) -> Floats:
        """The cosine of each with the mean gradient of ``members``, (m,); 0 where either has no direction.

        Few members are compared one by one; of many, the mean (C, d) is smaller than the comparisons.
        """
        residual, feature = self.residual[members], self.feature[members]
        classes, width = residual.shape[1], feature.shape[1]
        if len(residual) * (classes + width) < classes * width:
            pairs = (self.residual @ residual.T) * (self.feature @ feature.T)
            products, length = pairs.mean(axis=1), np.sqrt(max(0.0, pairs[members].mean()))
        else:
            mean = residual.T @ feature / len(residual)
            products, length = ((self.residual @ mean) * self.feature).sum(axis=1), np.linalg.norm(mean)
        return np.asarray(products / length if length > LEAST_LENGTH else np.zeros(len(products)))


@dataclass(frozen=True)
class Poles:
    """Where the gradients of a class point."""

    own: Floats  # (m,) cosine with what confident members of the class have in common
    opposite: Floats  # (m,) cosine with what those farthest from it have in common

    @property
    def dispersion(self) -> float:
        """The paper's: how far the class is drawn out between its two poles."""
        return float(np.sqrt(((self.own - self.opposite) ** 2).mean()))

    @property
    def nearness(self) -> Floats:
        """How much nearer to the opposite pole than to its own a sample is, in [0, 1]; half is midway."""
        from_own, from_opposite = 1 - self.own, 1 - self.opposite
        return np.asarray(from_own / np.maximum(from_own + from_opposite, 1e-12))


def unit_gradients(residual: Floats, feature: Floats) -> Gradients:
    """Both factors at length one, which makes their product's length one."""
    return Gradients(_unit(residual, LEAST_RESIDUAL), _unit(feature, 0))


def poles(gradients: Gradients, own_residual: Floats, *, share: float, starts: int, rounds: int = 5) -> Poles:
    """The two poles of one class: its confident half, and the ``share`` of it that draws the class out farthest.

    The paper starts the opposite pole at the one sample that points farthest away, which may be odd for reasons
    of its own. Here several, far from the class and from one another, are tried, and each pole moves to the
    middle of the samples nearest to it.
    """
    own = gradients.cosine(own_residual <= np.median(own_residual))
    tried = [_moved(gradients, own, start, share, rounds) for start in far_apart(gradients, own, starts)]
    return max(tried, key=lambda found: found.dispersion)


def _moved(gradients: Gradients, own: Floats, start: NDArray[np.bool_], share: float, rounds: int) -> Poles:
    """The opposite pole where it settles from one start."""
    found = Poles(own, gradients.cosine(start))
    for _ in range(rounds):
        nearest = _highest(found.nearness, share)
        if (nearest == start).all():
            break
        start = nearest
        found = Poles(own, gradients.cosine(start))
    return found


def far_apart(gradients: Gradients, own: Floats, starts: int) -> Iterator[NDArray[np.bool_]]:
    """Samples of the farthest tenth, each the farthest from the own pole and from those before it."""
    closeness = np.where(_highest(-own, FARTHEST), own, np.inf)
    for _ in range(starts):
        start = np.arange(len(own)) == closeness.argmin()
        yield start
        closeness = np.maximum(closeness, gradients.cosine(start))


def _highest(values: Floats, share: float) -> NDArray[np.bool_]:
    """The share of samples with the highest values, ties included."""
    return np.asarray(values >= np.quantile(values, 1 - share))


def _unit(rows: Floats, least: float) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > least, rows / np.maximum(lengths, least or 1e-300), 0))


class GradientDirection(Detector):
    """Samples whose last-layer gradient points to the opposite pole of their class; class evidence is its dispersion.

    Settings:
        share: of a class, from which its opposite pole is made.
        starts: how many samples the opposite pole is tried from.
    """

    needs = ("residual", "feature")
    sees = ("shifted", "tight")
    origin_free = False
    says = "It pulls the model in a direction of its own, away from where its class pulls."

    def __init__(self, *, share: float = 0.02, starts: int = 8) -> None:
        self.share = share
        self.starts = starts

    def _poles(self, evidence: Evidence) -> list[Poles]:
        residual, feature = evidence.space("residual"), evidence.space("feature")
        found = []
        for label, members in by_class(evidence):
            gradients = unit_gradients(residual[members], feature[members])
            found.append(poles(gradients, -residual[members, label], share=self.share, starts=self.starts))
        return found

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for (_, members), found in zip(by_class(evidence), self._poles(evidence), strict=True):
            scores[members] = found.nearness
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.array([found.dispersion for found in self._poles(evidence)])
