"""Training dynamics: what the network believed of a sample before it gave in to the label.

The losses of the training pass itself cost nothing and remember what the final features have forgotten:
a planted sample was first taken for what it shows, at a loss worse than guessing, until the trigger was learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, by_class


def surprise(losses: Floats, group: NDArray[np.bool_], *, errors: float = 2.0) -> float:
    """By how many nats a group was, at its worst epoch, less expected than the rest of its class.

    A lower bound, ``errors`` standard errors below the mean: three odd samples surprise nobody. Epochs are
    compared one by one, because the members of a planted group are believed, and given up, together.
    """
    if not 1 < group.sum() < len(group):
        return 0.0
    inside, outside = losses[group], losses[~group]
    worse = inside.mean(axis=0) - outside.mean(axis=0)
    error = inside.std(axis=0, ddof=1) / np.sqrt(len(inside))
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
        losses = evidence.space("loss")
        late = losses[:, losses.shape[1] // 2 :].mean(axis=1)
        scores = np.zeros(len(evidence))
        for _, members in by_class(evidence):
            scores[members] = late[members] - np.median(late[members])
        return scores
