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
from detectors.tails import distinct

#: Residuals this short say nothing of their direction: half precision cannot tell where they point.
LEAST_RESIDUAL = 1e-5
#: A mean of unit gradients this short is that of gradients that cancel out.
LEAST_LENGTH = 1e-6
#: The share of a class, those that point farthest away, among which an opposite pole may start.
FARTHEST = 0.1
#: The share of a class from which on its members are masked, and not copied.
MOST = 0.25
#: Products that are in memory at a time.
AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Gradients:
    """Unit gradients of some samples as two factors; a sample without a direction has a residual of 0."""

    residual: Floats  # (m, C)
    feature: Floats  # (m, d)

    def cosine(self, members: NDArray[np.bool_]) -> Floats:
        """The cosine of each with the mean gradient of ``members``, (m,); 0 where either has no direction."""
        return np.asarray(self.cosines(members[None])[0])

    def cosines(self, groups: NDArray[np.bool_]) -> Floats:
        """The same for several groups, (g, m).

        Few members are compared one by one; of many, the mean (C, d) is smaller than the comparisons.
        """
        classes, width = self.residual.shape[1], self.feature.shape[1]
        few = groups.sum(axis=1) * (classes + width) < classes * width
        found = np.zeros(groups.shape)
        for number in np.flatnonzero(few):
            found[number] = self._with_members(groups[number])
        means = {number: self._mean(groups[number]) for number in np.flatnonzero(~few)}
        lengths = {number: np.linalg.norm(mean) for number, mean in means.items()}
        long = [number for number, length in lengths.items() if length > LEAST_LENGTH]
        if long:
            found[long] = self._products(np.concatenate([means[number] / lengths[number] for number in long]).T)
        return found

    def _with_members(self, members: NDArray[np.bool_]) -> Floats:
        pairs = (self.residual @ self.residual[members].T) * (self.feature @ self.feature[members].T)
        length = np.sqrt(max(0.0, pairs[members].mean()))
        return np.asarray(pairs.mean(axis=1) / length if length > LEAST_LENGTH else np.zeros(len(pairs)))

    def _mean(self, members: NDArray[np.bool_]) -> Floats:
        if members.mean() > MOST:  # a zero for the others is less than a copy of the features of these
            return np.asarray((self.residual * members[:, None]).T @ self.feature / members.sum())
        return np.asarray(self.residual[members].T @ self.feature[members] / members.sum())

    def _products(self, others: Floats) -> Floats:
        """With other gradients (d, g * C), (g, m): no gradient is written out, and few samples are read at a time."""
        classes = self.residual.shape[1]
        found = np.empty((others.shape[1] // classes, len(self.feature)))
        step = max(1, AT_ONCE // others.shape[1])
        for start in range(0, len(self.feature), step):
            here = slice(start, start + step)
            lines = (self.feature[here] @ others).reshape(-1, len(found), classes)
            found[:, here] = np.einsum("mgc,mc->gm", lines, self.residual[here])
        return found


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
    return Gradients(_unit(residual.copy(), LEAST_RESIDUAL), _unit(feature.copy(), 0))


def poles(gradients: Gradients, own_residual: Floats, *, share: float, starts: int, rounds: int = 5) -> Poles:
    """The two poles of one class: its confident half, and the ``share`` of it that draws the class out farthest.

    The paper starts the opposite pole at the one sample that points farthest away, which may be odd for reasons
    of its own. Here several, far from the class and from one another, are tried, and each pole moves to the
    middle of the samples nearest to it.
    """
    own = gradients.cosine(own_residual <= np.median(own_residual))
    groups = np.array(list(far_apart(gradients, own, starts)))
    return max(_moved(gradients, own, groups, share, rounds), key=lambda found: found.dispersion)


def _moved(gradients: Gradients, own: Floats, groups: NDArray[np.bool_], share: float, rounds: int) -> Iterator[Poles]:
    """The opposite pole where it settles from each start; starts that meet go on as one."""
    for left in range(rounds, -1, -1):
        found = [Poles(own, opposite) for opposite in gradients.cosines(groups)]
        nearest = np.array([_highest(there.nearness, share) for there in found])
        settled = (nearest == groups).all(axis=1) | (left == 0)
        yield from (there for there, is_settled in zip(found, settled, strict=True) if is_settled)
        if settled.all():
            break
        groups = distinct(nearest[~settled])


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
    """Rows at length one, in place; those that are too short are 0."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(lengths > least, lengths, np.inf)
    return rows


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

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        scores, dispersion = np.zeros(len(evidence)), []
        for label, members in by_class(evidence):
            residual, feature = evidence.part("residual", members), evidence.part("feature", members)
            own = -residual[:, label]
            gradients = Gradients(_unit(residual, LEAST_RESIDUAL), _unit(feature, 0))
            found = poles(gradients, own, share=self.share, starts=self.starts)
            scores[members] = found.nearness
            dispersion.append(found.dispersion)
        return scores, np.array(dispersion)

    def _score(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[0]

    def _class_scores(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[1]
