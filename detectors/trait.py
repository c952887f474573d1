"""A shared trait: samples that contradict their label, and have something in common that such samples never have.

Every set has samples that look like another class. Planted ones whose trigger was not learned look so, too, and
carry the trigger besides: compared with the misfits of other classes, it is what they share. Whoever has the trait
and contradicts the label is worse than either alone, so the two log odds are added. A class is suspect when its misfits
show a trait that was found in others of them, or when confusion goes one way there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logit

from detectors.base import Detector, Evidence, Floats, Rows, by_class
from detectors.confusion import OneWayConfusion, answered, one_way_evidence
from detectors.halves import beyond_chance, evenly_halved
from detectors.precision import widened
from detectors.residuals import Residuals, Whitened, in_units
from detectors.whitening import whitening

#: Fewer misfits in either half of a class share nothing that can be told from chance.
LEAST_MISFITS = 6
#: Odds beyond this are no better known.
MOST_ODDS = 12.0
#: The most nats by which honest misfits of a class were seen to share more than those of other classes do.
HONEST_EXCESS = 0.4
#: So much of a class's misfits is honest at least.
HONEST_PART = 0.25
#: Standard errors by which that excess is taken to be smaller than it looks.
DOUBT = 2.0
#: Columns that are in double precision at a time.
COLUMNS = 32

#: Log odds of showing a trait, for any samples.
Trait = Callable[[Rows], Floats]


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
    innocent = 1.0

    def __init__(self, *, confident: float = 0.5, ridge: float = 0.01, rounds: int = 3) -> None:
        self.confident = confident
        self.ridge = ridge
        self.rounds = rounds

    def _score(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[0]

    def _class_scores(self, evidence: Evidence) -> Floats:
        return self._opinion(evidence)[1]

    def _opinion(self, evidence: Evidence) -> tuple[Floats, Floats]:
        said, half = evidence.derived(answered), evenly_halved(evidence.keys)
        scores: Floats = np.clip(-logit(np.clip(said.own, 0, 1)), -MOST_ODDS, MOST_ODDS)
        misfit, details = said.misfits(self.confident), self._beyond_content(evidence, said.taken_for)
        misfits, excess = np.flatnonzero(misfit), []
        for label, rows in by_class(evidence):
            ours, theirs = rows[misfit[rows]], misfits[evidence.labels[misfits] != label]
            shown: list[list[Floats]] = [[np.zeros(0)], [np.zeros(0)]]
            for side in (False, True):
                seen = [group[half[group] != side] for group in (ours, theirs)]
                if min(map(len, seen)) < LEAST_MISFITS:
                    continue
                trait = self._trait(details, *seen)
                asked = rows[half[rows] == side]
                scores[asked] += trait(asked)
                for odds, group in zip(shown, (ours, theirs), strict=True):
                    odds.append(trait(group[half[group] == side]))
            excess.append(shared(*map(np.concatenate, shown)))
        one_way = one_way_evidence(evidence) / OneWayConfusion.innocent
        return scores, np.maximum(one_way, np.array(excess) / HONEST_EXCESS)

    def _beyond_content(self, evidence: Evidence, taken_for: Rows) -> Whitened:
        """What samples are made of, beside what the class that they look like is made of, in units of its variation."""
        samples, agreeing = evidence.spaces["frequency"], np.flatnonzero(taken_for == evidence.labels)
        known = agreeing if len(agreeing) > 2 else np.arange(len(samples))
        classes, class_of = np.unique(taken_for, return_inverse=True)
        contents = np.zeros((len(classes), samples.shape[1]))
        for content, label in zip(contents, classes, strict=True):
            typical = agreeing[evidence.labels[agreeing] == label]
            content[:] = _median(samples, typical if len(typical) > 2 else agreeing if len(agreeing) else known)
        beyond = in_units(Residuals(samples, class_of, contents, np.ones(samples.shape[1])), known)
        everybody = beyond.moments(np.arange(len(samples)))
        return Whitened(beyond, whitening(everybody[:-1, :-1] / max(1, len(samples)), ridge=self.ridge))

    def _trait(self, details: Whitened, ours: Rows, theirs: Rows) -> Trait:
        """What our misfits share and theirs do not.

        In whitened details both groups vary alike, so their odds are linear. Some of our misfits are honest: each
        counts by its own odds of showing the trait.
        """
        seen = details.residuals.of(ours) @ details.matrix
        base = details.residuals.sums(theirs, np.ones((1, len(theirs))))[0] @ details.matrix / len(theirs)
        weight = np.ones(len(ours))
        for _ in range(self.rounds):
            middle = weight @ seen / weight.sum()
            trait = beyond_chance(middle - base, weight.sum() ** -0.5 + len(theirs) ** -0.5)
            border = (middle + base) / 2 @ trait
            odds = np.clip(seen @ trait - border, -MOST_ODDS, MOST_ODDS)
            weight = 1 / (1 + np.exp(-odds)) + 1e-3
        across = (details.matrix @ trait)[:, None]
        return lambda rows: np.clip(details.residuals.times(rows, across)[:, 0] - border, -MOST_ODDS, MOST_ODDS)


def _median(samples: np.ndarray, rows: Rows) -> Floats:
    """Of every column (d,), a few at a time; not a number where there are no rows."""
    found = np.full(samples.shape[1], np.nan)
    stored = np.take(samples, rows, axis=0)
    for start in range(0, samples.shape[1] if len(rows) else 0, COLUMNS):
        here = slice(start, start + COLUMNS)
        columns = widened(np.ascontiguousarray(stored[:, here].T), np.float64)
        found[here] = np.median(columns, axis=1, overwrite_input=True)
    return found


def shared(ours: Floats, theirs: Floats) -> float:
    """By how many nats, at least, some of our misfits show a trait more than theirs do.

    Odds against it are not counted, nor is what nearly all of ours have: a class may come from another camera, and its
    honest misfits with it.

    >>> some, none = np.repeat([3.0, -3.0], [100, 200]), np.full(300, -3.0)
    >>> round(shared(some, none), 1), shared(none + 6, none), shared(none[:1], none)
    (0.8, 0.0, 0.0)
    """
    if min(len(ours), len(theirs)) < 2:
        return 0.0
    common = max(0.0, float(np.quantile(ours, HONEST_PART) - np.quantile(theirs, HONEST_PART)))
    shown, elsewhere = np.maximum(ours - common, 0), np.maximum(theirs, 0)
    error = np.sqrt(shown.var() / len(shown) + elsewhere.var() / len(elsewhere))
    return float(max(0.0, shown.mean() - elsewhere.mean() - DOUBT * error))
