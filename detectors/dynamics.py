"""Training dynamics: what the network believed of a sample before it gave in to the label.

The losses of the training pass itself cost nothing and remember what the final features have forgotten:
a planted sample was first taken for what it shows, at a loss worse than guessing, until the trigger was learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, Rows, by_class

#: The loss of an even chance: below it, the label is more likely than not, and counts as learned.
LEARNED = float(np.log(2))
#: Losses below this are certainty, and half precision.
LEAST_LOSS = 1e-3
#: Samples whose losses are in double precision at a time.
BLOCK = 4096


def surprise(losses: Floats, group: NDArray[np.bool_], *, errors: float = 2.0) -> float:
    """By how many nats a group was, at its worst epoch, less expected than the rest of its class.

    A lower bound, ``errors`` standard errors below the mean: three odd samples surprise nobody. Epochs are
    compared one by one, because the members of a planted group are believed, and given up, together.
    """
    return Losses.of(losses).surprise(np.flatnonzero(group), errors=errors)


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of a class, for many of its groups to be compared with the rest of it."""

    values: Floats  # (m, epochs)
    total: Floats  # (epochs,)

    @classmethod
    def of(cls, values: Floats) -> Losses:
        """With their sum, which is that of any group and of its rest."""
        return cls(values, values.sum(axis=0))

    def surprise(self, members: Rows, *, errors: float = 2.0) -> float:
        """See ``surprise``."""
        size = len(members)
        if not 1 < size < len(self.values):
            return 0.0
        inside = self.values[members]
        mean = inside.mean(axis=0)
        worse = mean - (self.total - size * mean) / (len(self.values) - size)
        error = inside.std(axis=0, ddof=1) / np.sqrt(size)
        return float(max(0.0, (worse - errors * error).max()))


class PersistentLoss(Detector):
    """Samples that the network would not learn: the mean loss of the second half of training.

    Scored against the typical sample of the same class, since some classes are harder than others.
    """

    needs = ("loss",)
    sees = ("mislabelled",)
    origin_free = False
    says = "It kept contradicting its label to the end of training."

    def _score(self, evidence: Evidence) -> Floats:
        return beyond_class(
            of_losses(evidence, lambda losses: losses[:, losses.shape[1] // 2 :].mean(axis=1)), evidence
        )


class EarlyEase(Detector):
    """Samples that were learned too early (after ABL, Li et al. 2021): their loss fell most in the first third.

    A trigger is easier to learn than what images show. The fall is counted from a sample's first loss or from
    guessing, whichever is worse: some were learned before their first loss was taken, others were at first taken
    for what they show.
    """

    needs = ("loss",)
    sees = ("shifted", "tight")
    origin_free = False
    says = "It was learned sooner than the rest of its class, as something easier than its content would be."

    def _score(self, evidence: Evidence) -> Floats:
        guessing = np.log(max(1, len(evidence.classes)))

        def fall(losses: Floats) -> Floats:
            early = losses[:, : (losses.shape[1] + 2) // 3].mean(axis=1)
            return np.asarray(np.maximum(losses[:, 0], guessing) - early)

        return beyond_class(of_losses(evidence, fall), evidence)


class AreaUnderMargin(Detector):
    """Samples that were never clearly their label's: low mean log odds over training (after Pleiss et al. 2020).

    The paper's margin is that of logits; the log odds of the label are the margin over all other classes together.
    """

    needs = ("loss",)
    sees = ("mislabelled",)
    origin_free = False
    says = "Throughout training the odds stood against its label."

    def _score(self, evidence: Evidence) -> Floats:
        return beyond_class(of_losses(evidence, lambda losses: -log_odds(losses).mean(axis=1)), evidence)


class Forgetting(Detector):
    """Samples that were learned and lost again (Toneva et al. 2019), or never learned at all."""

    needs = ("loss",)
    sees = ("mislabelled",)
    origin_free = False
    says = "The model kept forgetting it after it had learned it, or never did learn it."

    def _score(self, evidence: Evidence) -> Floats:
        return beyond_class(of_losses(evidence, forgotten), evidence)


def of_losses(evidence: Evidence, formula: Callable[[Floats], Floats]) -> Floats:
    """What a formula makes of the losses of every sample (n,), some samples at a time."""
    order = np.arange(len(evidence))
    found = [formula(evidence.part("loss", order[start : start + BLOCK])) for start in range(0, len(order), BLOCK)]
    return np.concatenate([np.zeros(0), *found])


def log_odds(losses: Floats) -> Floats:
    """log(p / (1 - p)) of labels whose loss is -log p.

    >>> log_odds(np.array([np.log(2), -np.log(0.9)])).round(2)
    array([0. , 2.2])
    """
    settled = np.maximum(losses, LEAST_LOSS)
    return np.asarray(-settled - np.log(-np.expm1(-settled)))


def forgotten(losses: Floats) -> Floats:
    """Nats of loss that came back, from epoch to epoch, after a sample had been learned, (n,).

    Who was never learned is treated as forgotten in every epoch, by all that was missing.

    >>> forgotten(np.array([[2.0, 0.25, 0.5, 0.25], [2.0, 2.0, 2.0, 2.0], [2.0, 1.0, 0.5, 0.25]])).round(2)
    array([0.25, 5.23, 0.  ])
    """
    was_learned = losses[:, :-1] < LEARNED
    rises = np.where(was_learned, np.maximum(np.diff(losses, axis=1), 0), 0).sum(axis=1)
    missing = np.maximum(losses - LEARNED, 0).sum(axis=1)
    return np.asarray(np.where((losses < LEARNED).any(axis=1), rises, missing))


def beyond_class(values: Floats, evidence: Evidence) -> Floats:
    """Values beyond the median of each sample's class, since some classes are harder than others."""
    scores = np.zeros(len(evidence))
    for _, members in by_class(evidence):
        scores[members] = values[members] - np.median(values[members])
    return scores
