"""From scores to a decision: which class hides planted samples, which samples those are, and how sure that is.

Every threshold of the product lives here. The order is: classes first, samples second. A class is suspect
when a detector's class evidence leaves what clean data shows; only inside such a class are samples flagged
as planted. Elsewhere scores rank, and flag nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from detectors.base import Detector, Evidence, Floats, by_class

Bools = NDArray[np.bool_]

#: A class hides a planted group when its evidence exceeds the highest known from clean data this many times.
CLASS_MARGIN = 1.25
#: Benjamini-Hochberg level for members of a planted group, within its class.
MEMBER_FDR = 0.05
#: ... and it lies at least this part of the way to the group's centre.
MEMBER_REACH = 1 / 3
#: Smaller classes are reported, never dropped from.
LEAST_CLASS = 10
#: Never flag more than this share of a class, nor (``max_drop``) of the set.
MOST_OF_CLASS = 0.5
#: A group must have so many members to be called planted: fewer cannot be told from odd samples.
LEAST_GROUP = 4
#: Below this a p-value is no number any more.
_TINY = 1e-300
#: Samples whose detector score is in the top this share of their class name that detector as a reason.
NOTABLE = 0.01


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How scores became decisions, and what that guarantees."""

    kind: str = "self"
    max_drop: float = 0.2

    def facts(self) -> dict[str, object]:
        """For the summary: the kind, the size of the reference, the thresholds, and what it means."""
        return {"kind": self.kind, "size": 0, "class_margin": CLASS_MARGIN, "says": self.says()}

    def says(self) -> str:
        """For people."""
        return (
            "Self-calibrated: no trusted reference was given, so scores were compared within the set itself. "
            "There is no guarantee on false alarms; at most "
            f"{self.max_drop:.0%} of the set and {MOST_OF_CLASS:.0%} of a class can be flagged."
        )


@dataclass(frozen=True)
class ClassFinding:
    """What was concluded about one class."""

    label: int
    size: int
    score: float  # class evidence in units of the highest known from clean data
    hidden: bool
    suspicious: int
    label_suspects: int
    reason: str


@dataclass(frozen=True)
class Judgement:
    """The decision on arrays: row i is sample i of the evidence."""

    suspicious: Bools
    kind: NDArray[np.str_]  # "", "planted", "label"
    score: Floats  # -log10 of the fused p-value: higher is worse, without the limit of floats
    p_value: Floats
    reasons: list[tuple[str, ...]]
    classes: list[ClassFinding]
    notes: list[str]

    @property
    def conclusive(self) -> bool:
        """Whether there was any class large enough to be judged."""
        return any(finding.size >= LEAST_CLASS for finding in self.classes)

    @property
    def poison_found(self) -> bool:
        """The data-set-level answer: some class hides a planted group."""
        return bool((self.kind == "planted").any())


@dataclass(frozen=True)
class Opinion:
    """One detector's answer: a score per sample, and class evidence if it gives any."""

    detector: Detector
    scores: Floats  # (n,)
    class_scores: Floats | None  # one per occurring class

    def class_evidence(self, place: int) -> float:
        """Evidence against a class, in units of the highest met on clean data; 0 if it does not decide."""
        if self.class_scores is None or self.detector.innocent is None:
            return 0.0
        weight = float(self.class_scores[place] / self.detector.innocent)
        return weight if np.isfinite(weight) else 0.0


def judge(evidence: Evidence, opinions: Mapping[str, Opinion], calibration: Calibration) -> Judgement:
    """Decide. The rate of poison is not known, not asked for, and not assumed."""
    n = len(evidence)
    severity = -np.log10(fused_ranks(evidence, opinions)) + 0.0
    distance = np.zeros(n)  # within the group that it was found in: settles who is worse where p-values tie
    planted = np.zeros(n, bool)
    groups = by_class(evidence)
    strongest = [_strongest(opinions, place) for place in range(len(groups))]
    suspect = np.isin(
        evidence.labels, [g[0] for g, (_, weight) in zip(groups, strongest, strict=True) if weight >= CLASS_MARGIN]
    )
    reasons = [""] * len(groups)
    for place, ((label, members), (name, weight)) in enumerate(zip(groups, strongest, strict=True)):
        if weight >= CLASS_MARGIN:
            scores = opinions[name].scores
            distance[members] = z = deviations(scores[members])
            share = tail_share(scores[members], scores[~suspect])
            log_p = np.maximum(stats.norm.logsf(z), np.log(np.maximum(share, _TINY)))
            severity[members] = np.maximum(severity[members], -log_p / np.log(10))
            chosen = group_members(z, np.exp(log_p))
            planted[members], reasons[place] = _restrained(chosen, severity[members], z, evidence.class_names[label])
    planted, notes = _capped(planted, severity, distance, calibration)
    classes = [
        ClassFinding(label, len(rows), weight, bool(planted[rows].any()), int(planted[rows].sum()), 0, reason)
        for (label, rows), (_, weight), reason in zip(groups, strongest, reasons, strict=True)
    ]
    return Judgement(
        suspicious=planted,
        kind=np.where(planted, "planted", ""),
        score=severity,
        p_value=np.maximum(10.0**-severity, _TINY),
        reasons=_reasons(evidence, opinions, [name for name, _ in strongest], planted),
        classes=classes,
        notes=[*notes, *_unjudged(classes, evidence)],
    )


def fused_ranks(evidence: Evidence, opinions: Mapping[str, Opinion]) -> Floats:
    """The smallest of all detectors' rank p-values within the class, times their number (Bonferroni).

    Poison that a network has learned is tight and easy, poison that it has not is isolated and hard: a
    detector for one is blind to the other, so the union counts, never the mean.
    """
    best = np.ones(len(evidence))
    for opinion in opinions.values():
        for _, members in by_class(evidence):
            best[members] = np.minimum(best[members], rank_p(opinion.scores[members]))
    return np.minimum(1.0, best * max(1, len(opinions)))


def rank_p(scores: Floats) -> Floats:
    """The share of a class that scores at least as high.

    >>> rank_p(np.array([3.0, 1.0, 2.0, 2.0]))
    array([0.25, 1.  , 0.75, 0.75])
    """
    ascending = np.sort(scores)
    return np.asarray((len(scores) - np.searchsorted(ascending, scores, side="left")) / len(scores))


def deviations(scores: Floats) -> Floats:
    """Scores of a class in standard deviations, if its lower half is clean and normal (median, lower-half spread)."""
    centre = np.median(scores)
    below = centre - scores[scores <= centre]
    spread = 1.4826 * np.median(below)
    if not spread > 1e-9 * np.abs(scores).max():
        return np.asarray(stats.norm.isf(rank_p(scores)))
    return np.asarray((scores - centre) / spread)


def group_members(z: Floats, p: Floats) -> Bools:
    """The planted group of a suspect class: significant, and lying with the group rather than on the way to it.

    Natural scores have longer tails than the normal law; where the group lies far out they must not join it.
    """
    significant = benjamini_hochberg(p, MEMBER_FDR)
    if not significant.any():
        return significant
    return np.asarray(significant & (z >= MEMBER_REACH * np.median(z[significant])))


def tail_share(scores: Floats, innocent: Floats) -> Floats:
    """The share of the samples of all unsuspected classes that score at least as high.

    A second null that can only object: where they never score so high, the class's own null decides.

    >>> tail_share(np.array([0.5, 2.5, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    array([1. , 0.5, 0. ])
    """
    above = len(innocent) - np.searchsorted(np.sort(innocent), scores, side="left")
    return np.asarray(above / max(1, len(innocent)))


def benjamini_hochberg(p: Floats, level: float) -> Bools:
    """Which hypotheses fall at a false discovery rate.

    >>> benjamini_hochberg(np.array([0.001, 0.5, 0.02, 0.9]), 0.05)
    array([ True, False,  True, False])
    """
    ascending = np.sort(p)
    passed = np.flatnonzero(ascending <= level * np.arange(1, len(p) + 1) / max(1, len(p)))
    return np.asarray(p <= ascending[passed[-1]]) if len(passed) else np.zeros(len(p), bool)


def _strongest(opinions: Mapping[str, Opinion], place: int) -> tuple[str, float]:
    weights = {name: opinion.class_evidence(place) for name, opinion in opinions.items()}
    name = max(weights, key=weights.__getitem__, default="")
    return name, weights.get(name, 0.0)


def _restrained(chosen: Bools, severity: Floats, distance: Floats, class_name: str) -> tuple[Bools, str]:
    """Apply the caps of one class; says in words what they did."""
    count, size = int(chosen.sum()), len(chosen)
    nobody = np.zeros(size, bool)
    if size < LEAST_CLASS:
        return nobody, f"the class has only {size} samples: reported, nothing flagged"
    if count < LEAST_GROUP:
        return nobody, f"a group stands apart, but only {count} samples are clearly in it: nothing flagged"
    if count > MOST_OF_CLASS * size:
        worst = _worst(chosen, severity, distance, int(MOST_OF_CLASS * size))
        return worst, f"{count} of {size} look planted: capped at {MOST_OF_CLASS:.0%}"
    return chosen, f"{count} of {size} samples form a second population inside {class_name!r}"


def _unjudged(classes: list[ClassFinding], evidence: Evidence) -> list[str]:
    """Classes too small for any conclusion are named, not passed over."""
    small = [evidence.class_names[finding.label] for finding in classes if finding.size < LEAST_CLASS]
    if not small:
        return []
    shown = ", ".join(map(repr, small[:5])) + (", ..." if len(small) > 5 else "")
    have = "1 class has" if len(small) == 1 else f"{len(small)} classes have"
    return [f"{have} fewer than {LEAST_CLASS} samples and cannot be judged: {shown}"]


def _capped(planted: Bools, severity: Floats, distance: Floats, calibration: Calibration) -> tuple[Bools, list[str]]:
    """Never flag more than ``max_drop`` of the set; a note says so when more look planted."""
    count, most = int(planted.sum()), int(calibration.max_drop * len(planted) + 1e-9)
    if count <= most:
        return planted, []
    limit = f"--max-drop {calibration.max_drop}"
    return _worst(planted, severity, distance, most), [
        f"{count} samples look planted; only the {most} worst are flagged ({limit})"
    ]


def _worst(chosen: Bools, severity: Floats, distance: Floats, most: int) -> Bools:
    kept = np.zeros(len(chosen), bool)
    kept[np.lexsort((-distance, -severity, ~chosen))[:most]] = True
    return kept & chosen


def _reasons(
    evidence: Evidence, opinions: Mapping[str, Opinion], deciding: list[str], planted: Bools
) -> list[tuple[str, ...]]:
    """Why each flagged sample was flagged, the deciding detector first."""
    reasons: list[tuple[str, ...]] = [()] * len(evidence)
    for (_, members), first in zip(by_class(evidence), deciding, strict=True):
        if not planted[members].any():
            continue
        notable = {name: rank_p(opinion.scores[members]) <= NOTABLE for name, opinion in opinions.items()}
        for position, row in enumerate(members):
            if planted[row]:
                others = [name for name, marks in notable.items() if marks[position] and name != first]
                reasons[row] = tuple(opinions[name].detector.says for name in [first, *others])
    return reasons
