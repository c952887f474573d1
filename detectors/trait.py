"""A shared trait: samples that contradict their label, and have something in common that such samples never have.

Every set has samples that look like another class. Planted ones whose trigger was not learned look so, too, and
carry the trigger besides: compared with the misfits of other classes, it is what they share. Whoever has the trait
and contradicts the label is worse than either alone, so the two log odds are added.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from detectors.base import Detector, Evidence, Floats, Rows
from detectors.confusion import OneWayConfusion, one_way_evidence, probabilities
from detectors.halves import beyond_chance, evenly_halved
from detectors.whitening import clipped, whitened

#: Fewer misfits in either half of a class share nothing that can be told from chance.
LEAST_MISFITS = 6
#: Odds beyond this are no better known.
MOST_ODDS = 12.0


class SharedTrait(Detector):
    """Whoever contradicts the label like the planted, and is made of what only they are made of.

    Settings:
        confident: samples taken for another class with at least this probability are misfits.
        ridge: share of the mean eigenvalue that is added before whitening.
        rounds: how often the misfits are weighed anew by how much of the trait they show.
    """

    needs = ("frequency", "residual")
    sees = ("mislabelled",)
    origin_free = False
    says = "It looks like another class and shares a trait with others of its label that do, and with no one else."
    innocent = OneWayConfusion.innocent

    def __init__(self, *, confident: float = 0.5, ridge: float = 0.01, rounds: int = 3) -> None:
        self.confident = confident
        self.ridge = ridge
        self.rounds = rounds

    def _score(self, evidence: Evidence) -> Floats:
        probability = probabilities(evidence)
        taken_for = probability.argmax(axis=1)
        misfit = (taken_for != evidence.labels) & (probability.max(axis=1) >= self.confident)
        details = self._beyond_content(evidence, taken_for)
        own = probability[np.arange(len(evidence)), evidence.labels]
        scores: Floats = np.clip(-logit(np.clip(own, 0, 1)), -MOST_ODDS, MOST_ODDS)
        half = evenly_halved(evidence.keys)
        for label in evidence.classes:
            rows = evidence.rows(int(label))
            ours, theirs = rows[misfit[rows]], np.flatnonzero(misfit & (evidence.labels != label))
            for side in (False, True):
                seen = [group[half[group] != side] for group in (ours, theirs)]
                if min(map(len, seen)) >= LEAST_MISFITS:
                    asked = rows[half[rows] == side]
                    scores[asked] += self._odds(details, seen[0], seen[1], asked)
        return scores

    def _class_scores(self, evidence: Evidence) -> Floats:
        return one_way_evidence(evidence)

    def _beyond_content(self, evidence: Evidence, taken_for: Rows) -> Floats:
        """What samples are made of, beside what the class that they look like is made of, in units of its variation."""
        details = evidence.space("frequency").copy()
        agreeing = taken_for == evidence.labels
        for label in np.unique(taken_for):
            typical = agreeing & (evidence.labels == label)
            details[taken_for == label] -= np.median(details[typical if typical.sum() > 2 else agreeing], axis=0)
        known = details[agreeing] if agreeing.sum() > 2 else details
        return whitened(clipped(details / (known.std(axis=0) + 1e-9)), ridge=self.ridge)

    def _odds(self, details: Floats, ours: Rows, theirs: Rows, asked: Rows) -> Floats:
        """Log odds that a sample shows what our misfits share and theirs do not.

        In whitened details both groups vary alike, so their odds are linear. Some of our misfits are honest: each
        counts by its own odds of showing the trait.
        """
        base, weight = details[theirs].mean(axis=0), np.ones(len(ours))
        for _ in range(self.rounds):
            middle = weight @ details[ours] / weight.sum()
            trait = beyond_chance(middle - base, weight.sum() ** -0.5 + len(theirs) ** -0.5)
            border = (middle + base) / 2 @ trait
            odds = np.clip(details[ours] @ trait - border, -MOST_ODDS, MOST_ODDS)
            weight = 1 / (1 + np.exp(-odds)) + 1e-3
        return np.asarray(np.clip(details[asked] @ trait - border, -MOST_ODDS, MOST_ODDS))
