"""From scores to a decision: which class hides planted samples, which samples those are, and how sure that is.

Every threshold of the product lives here. The order is: classes first, samples second. A class is suspect
when a detector's class evidence leaves what clean data shows; only inside such a class are samples flagged
as planted. Elsewhere scores rank, and flag nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Floats, by_class
from sanitizer.conformal import benjamini_hochberg, conformal_p, smallest_visible
from sanitizer.membership import TINY, group_members, rank_p, scattered_members

Bools = NDArray[np.bool_]

#: A class hides a planted group when its evidence exceeds the highest known from clean data this many times.
CLASS_MARGIN = 1.25
#: In a class that one detector has found to hide something, others need this much evidence to say who it is.
SECOND_MARGIN = 0.75
#: Benjamini-Hochberg level for members of a planted group, within its class.
MEMBER_FDR = 0.05
#: ... and for planted samples that form no group, but contradict the label of a class that is known to hide them:
#: there a good part of the least certain is planted.
SCATTERED_FDR = 0.25
#: ... and it lies at least this part of the way to the group's centre.
MEMBER_REACH = 1 / 3
#: Smaller classes are reported, never dropped from.
LEAST_CLASS = 10
#: Never flag more than this share of a class, nor (``max_drop``) of the set.
MOST_OF_CLASS = 0.5
#: A group must have so many members to be called planted: fewer cannot be told from odd samples.
LEAST_GROUP = 4
#: At such odds that another label fits better, a label is called wrong.
LABEL_ODDS = 10.0
#: The trusted are contaminated if they take part in a planted group, sample for sample, this many times more than
#: the honest may: at a false discovery rate of q, at most q times as often as the suspects.
CONTAMINATED = 2.0
#: Samples whose detector score is in the top this share of their class name that detector as a reason.
NOTABLE = 0.01


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How scores become decisions: within the set itself, or by comparison with trusted samples."""

    max_drop: float = 0.2
    fdr: float = 0.05
    trusted: Bools | None = None  # which samples of the evidence are trusted; None: there are none

    @property
    def kind(self) -> str:
        """Which of the two it is."""
        return "self" if self.trusted is None else "trusted"

    def facts(self) -> dict[str, object]:
        """For the summary: the kind, the size of the reference, the thresholds, and what it means."""
        if self.trusted is None:
            return {"kind": self.kind, "size": 0, "class_margin": CLASS_MARGIN, "says": self.says()}
        sizes = {"size": int(self.trusted.sum()), "smallest_visible": self._smallest_visible()}
        return {"kind": self.kind, **sizes, "fdr": self.fdr, "says": self.says()}

    def says(self) -> str:
        """For people."""
        if self.trusted is None:
            return (
                "Self-calibrated: no trusted reference was given, so scores were compared within the set itself. "
                "There is no guarantee on false alarms; at most "
                f"{self.max_drop:.0%} of the set and {MOST_OF_CLASS:.0%} of a class can be flagged."
            )
        suspects, fewest = int((~self.trusted).sum()), self._smallest_visible()
        limit = f"fewer than {fewest:,} planted samples ({fewest / max(1, suspects):.2%})"
        return (
            f"Calibrated on {self.trusted.sum():,} trusted samples, which were treated like the suspects: if they are "
            f"clean and drawn alike, the chance of any flag on clean data is at most {self.fdr:.3g}. A reference of "
            f"this size cannot reveal {'anything' if self.blind else limit}."
        )

    @property
    def blind(self) -> bool:
        """Whether nothing could be flagged, whatever the scores: there are too few trusted samples."""
        return self.trusted is not None and self._smallest_visible() > int((~self.trusted).sum())

    def _smallest_visible(self) -> int:
        assert self.trusted is not None
        return smallest_visible(int(self.trusted.sum()), int((~self.trusted).sum()), self.fdr)


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
    doubts: list[str]  # why the conclusion cannot be relied on

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

    @property
    def decides(self) -> bool:
        """Whether it can get a sample flagged; others only describe what was flagged."""
        return self.detector.innocent is not None or self.detector.label_odds

    @property
    def sees_scattered(self) -> bool:
        """Whether all it can find are samples that form no group, but contradict their label."""
        return self.detector.sees == ("mislabelled",)

    def class_evidence(self, place: int) -> float:
        """Evidence that a class hides a planted group, in units of the highest met on clean data; 0 if it has none."""
        return 0.0 if self.detector.label_odds else self._beyond_clean(place)

    def doubts_labels(self, place: int) -> bool:
        """Whether its odds are heard in a class: always, unless it says itself where they mean something."""
        if not self.detector.label_odds:
            return False
        return self.detector.innocent is None or self._beyond_clean(place) >= CLASS_MARGIN

    def _beyond_clean(self, place: int) -> float:
        if self.class_scores is None or self.detector.innocent is None:
            return 0.0
        weight = float(self.class_scores[place] / self.detector.innocent)
        return weight if np.isfinite(weight) else 0.0


@dataclass(frozen=True)
class _Groups:
    """What lies in the classes, before anybody is flagged for it."""

    planted: Bools
    severity: Floats
    distance: Floats  # within the group that it was found in, or odds: settles who is worse where p-values tie
    deciding: list[dict[str, Bools]]  # for each class, the detectors that suspect it, and whom each of them names
    weights: list[float]
    reasons: list[str]


def judge(evidence: Evidence, opinions: Mapping[str, Opinion], calibration: Calibration) -> Judgement:
    """Decide. The rate of poison is not known, not asked for, and not assumed."""
    found = _groups(evidence, opinions)
    odds = highest_odds(evidence, opinions)
    wrong = contradicted(evidence, odds, found.planted)
    found = replace(found, distance=np.where(wrong, odds, found.distance))
    doubts: list[str] = []
    if calibration.trusted is None:
        chosen, notes = _capped(found.planted | wrong, found, calibration)
        planted, label = chosen & found.planted, chosen & wrong
        p_value = np.maximum(10.0**-found.severity, TINY)
    else:
        p_value, flagged = _by_comparison(found.severity, calibration.trusted, calibration.fdr)
        chosen, notes = _capped(flagged, found, calibration)
        label, planted = chosen & wrong, chosen & ~wrong
        doubts = _contaminated(evidence, opinions, found, calibration.trusted)
        unconfirmed = found.planted & ~calibration.trusted & ~flagged
        # A group of which nothing can be confirmed is no clean bill; the fringe of one that was found is a note.
        no_clean_bill = not (doubts or flagged.any()) and unconfirmed.sum() >= LEAST_GROUP
        (doubts if no_clean_bill else notes).extend(_said_of(int(unconfirmed.sum())))
    return Judgement(
        suspicious=planted | label,
        kind=np.select([planted, label], ["planted", "label"], ""),
        score=found.severity,
        p_value=p_value,
        reasons=_reasons(evidence, opinions, found, planted | label),
        classes=(classes := _findings(evidence, found, planted, label, calibration)),
        notes=[*notes, *_unjudged(classes, evidence)],
        doubts=[*doubts, *_inconclusive(classes, calibration)],
    )


def _groups(evidence: Evidence, opinions: Mapping[str, Opinion]) -> _Groups:
    """Classes first: which of them hide something, and who belongs to it."""
    n = len(evidence)
    severity = -np.log10(fused_ranks(evidence, opinions)) + 0.0
    distance = np.zeros(n)
    planted = np.zeros(n, bool)
    groups = by_class(evidence) if _labelled(evidence) else []
    weights = [_weights(opinions, place) for place in range(len(groups))]
    reasons = [""] * len(groups)
    deciding: list[dict[str, Bools]] = [{} for _ in groups]
    for place, (label, members) in enumerate(groups):
        chosen = np.zeros(len(members), bool)
        heard = SECOND_MARGIN if max(weights[place].values()) >= CLASS_MARGIN else np.inf
        for name in (name for name, weight in weights[place].items() if weight >= heard):
            scores, innocent = opinions[name].scores, _unsuspected(evidence, opinions[name], but=label)
            named, log_p, far = _members(opinions[name], place, scores[members], scores[innocent])
            distance[members] = np.where(named & ~chosen, far, distance[members])
            severity[members] = np.maximum(severity[members], -log_p / np.log(10))
            deciding[place][name] = named
            chosen |= named
        if deciding[place]:
            planted[members], reasons[place] = _restrained(
                chosen, severity[members], distance[members], evidence.class_names[label]
            )
    return _Groups(planted, severity, distance, deciding, [max(found.values()) for found in weights], reasons)


def _unsuspected(evidence: Evidence, opinion: Opinion, *, but: int) -> Bools:
    """The samples of all other classes in which an opinion sees nothing, whatever others see there."""
    calm = [label for place, label in enumerate(evidence.classes) if opinion.class_evidence(place) < CLASS_MARGIN]
    return np.asarray(np.isin(evidence.labels, calm) & (evidence.labels != but))


def _members(opinion: Opinion, place: int, scores: Floats, innocent: Floats) -> tuple[Bools, Floats, Floats]:
    """Who of a class that an opinion suspects belongs to what is planted there; see ``membership``."""
    if opinion.sees_scattered:
        return scattered_members(scores, innocent, level=SCATTERED_FDR)
    weights = opinion.class_scores if opinion.detector.centred else None
    centre = None if weights is None else float(weights[place])
    return group_members(scores, innocent, level=MEMBER_FDR, reach=MEMBER_REACH, centre=centre)


def highest_odds(evidence: Evidence, opinions: Mapping[str, Opinion]) -> Floats:
    """The highest log odds that any detector gives another label of a sample; -inf where none gives odds."""
    highest = np.full(len(evidence), -np.inf)
    for opinion in (opinion for opinion in opinions.values() if opinion.detector.label_odds):
        for place, (_, members) in enumerate(by_class(evidence)):
            if opinion.doubts_labels(place):
                highest[members] = np.maximum(highest[members], opinion.scores[members])
    return highest


def contradicted(evidence: Evidence, odds: Floats, planted: Bools) -> Bools:
    """Samples whose label is called wrong; with the planted, at most half of a class."""
    wrong = np.asarray((odds >= np.log(LABEL_ODDS)) & ~planted)
    for _, members in by_class(evidence):
        most = int(MOST_OF_CLASS * len(members)) if len(members) >= LEAST_CLASS else 0
        room = max(0, most - int(planted[members].sum()))
        wrong[members] = worst_of(wrong[members], odds[members], odds[members], room)
    return wrong


def fused_ranks(evidence: Evidence, opinions: Mapping[str, Opinion]) -> Floats:
    """The smallest of the deciding detectors' rank p-values within the class, times their number (Bonferroni).

    Poison that a network has learned is tight and easy, poison that it has not is isolated and hard: a
    detector for one is blind to the other, so the union counts, never the mean.
    """
    best = np.ones(len(evidence))
    heard = [opinion for opinion in opinions.values() if opinion.decides] or list(opinions.values())
    for opinion in heard:
        for _, members in by_class(evidence):
            best[members] = np.minimum(best[members], rank_p(opinion.scores[members]))
    return np.minimum(1.0, best * max(1, len(heard)))


def _weights(opinions: Mapping[str, Opinion], place: int) -> dict[str, float]:
    """Each opinion's evidence against a class, the strongest first."""
    weights = {name: opinion.class_evidence(place) for name, opinion in opinions.items()}
    return dict(sorted(weights.items(), key=lambda item: -item[1])) or {"": 0.0}


def _restrained(chosen: Bools, severity: Floats, distance: Floats, class_name: str) -> tuple[Bools, str]:
    """Apply the caps of one class; says in words what they did."""
    count, size = int(chosen.sum()), len(chosen)
    nobody = np.zeros(size, bool)
    if size < LEAST_CLASS:
        return nobody, f"the class has only {size} samples: reported, nothing flagged"
    if count < LEAST_GROUP:
        return nobody, f"a group stands apart, but only {count} samples are clearly in it: nothing flagged"
    if count > MOST_OF_CLASS * size:
        worst = worst_of(chosen, severity, distance, int(MOST_OF_CLASS * size))
        return worst, f"{count} of {size} look planted: capped at {MOST_OF_CLASS:.0%}"
    return chosen, f"{count} of {size} samples form a second population inside {class_name!r}"


def _by_comparison(severity: Floats, trusted: Bools, fdr: float) -> tuple[Floats, Bools]:
    """Conformal p-values and who falls at ``fdr``; the trusted themselves are not judged."""
    p = conformal_p(severity, severity[trusted])
    flagged = np.zeros(len(severity), bool)
    flagged[~trusted] = benjamini_hochberg(p[~trusted], fdr)
    return p, flagged


def _said_of(unconfirmed: int) -> list[str]:
    """What self-calibration sees and the guarantee does not allow to flag."""
    line = f"{unconfirmed} samples look planted, but not beyond what the trusted reference can tell: see their scores"
    return [line] if unconfirmed else []


def _contaminated(evidence: Evidence, opinions: Mapping[str, Opinion], found: _Groups, trusted: Bools) -> list[str]:
    """Classes in which the trusted samples take part in what looks planted, more than the honest may."""
    doubts = []
    for place, (label, members) in enumerate(by_class(evidence) if _labelled(evidence) else []):
        ours, theirs = members[trusted[members]], members[~trusted[members]]
        inside, beside = int(found.planted[ours].sum()), int(found.planted[theirs].sum())
        if inside < LEAST_GROUP:
            continue
        scattered = any(opinions[name].sees_scattered for name in found.deciding[place])
        honest = SCATTERED_FDR if scattered else MEMBER_FDR
        if inside * len(theirs) >= CONTAMINATED * honest * beside * len(ours):
            name = evidence.class_names[label]
            doubts.append(f"the trusted reference looks contaminated: {inside} of its {name!r} samples look planted")
    return doubts


def _findings(
    evidence: Evidence, found: _Groups, planted: Bools, label: Bools, calibration: Calibration
) -> list[ClassFinding]:
    """One line for each class, about its suspects alone."""
    findings = []
    for place, (name, members) in enumerate(by_class(evidence) if _labelled(evidence) else []):
        reason = found.reasons[place]
        if calibration.trusted is not None:
            members = members[~calibration.trusted[members]]
            count = int(planted[members].sum())
            pooled = f"{reason} (trusted ones included)" if reason else ""
            reason = f"{count} of {len(members)} samples stand out from the trusted ones" if count else pooled
        count, wrong = int(planted[members].sum()), int(label[members].sum())
        findings.append(ClassFinding(name, len(members), found.weights[place], count > 0, count, wrong, reason))
    return findings


def _labelled(evidence: Evidence) -> bool:
    return bool((evidence.labels >= 0).any())


def _inconclusive(classes: list[ClassFinding], calibration: Calibration) -> list[str]:
    """Whether nothing could have been found, whatever was there."""
    if calibration.blind:
        size, enough = calibration.facts()["size"], math.ceil(1 / calibration.fdr)
        return [f"{size} trusted samples can reveal nothing at --fdr {calibration.fdr}: give at least {enough}"]
    if calibration.trusted is not None or any(finding.size >= LEAST_CLASS for finding in classes):
        return []
    if classes:
        return ["no class is large enough to be judged"]
    return ["without labels scores only rank the samples: give labels, or a reference with --trusted"]


def _unjudged(classes: list[ClassFinding], evidence: Evidence) -> list[str]:
    """Classes too small for any conclusion are named, not passed over."""
    small = [evidence.class_names[one.label] for one in classes if one.size < LEAST_CLASS and not one.hidden]
    if not small:
        return []
    shown = ", ".join(map(repr, small[:5])) + (", ..." if len(small) > 5 else "")
    have = "1 class has" if len(small) == 1 else f"{len(small)} classes have"
    return [f"{have} fewer than {LEAST_CLASS} samples and cannot be judged: {shown}"]


def _capped(chosen: Bools, found: _Groups, calibration: Calibration) -> tuple[Bools, list[str]]:
    """Never flag more than ``max_drop`` of the set; a note says so when more would be."""
    size = len(chosen) if calibration.trusted is None else int((~calibration.trusted).sum())
    count, most = int(chosen.sum()), int(calibration.max_drop * size + 1e-9)
    if count <= most:
        return chosen, []
    limit = f"--max-drop {calibration.max_drop}"
    return worst_of(chosen, found.severity, found.distance, most), [
        f"{count} samples look suspicious; only the {most} worst are flagged ({limit})"
    ]


def worst_of(chosen: Bools, severity: Floats, distance: Floats, most: int) -> Bools:
    """Of the chosen, so many: the most severe, and among these the farthest."""
    kept = np.zeros(len(chosen), bool)
    kept[np.lexsort((-distance, -severity, ~chosen))[:most]] = True
    return kept & chosen


def _reasons(
    evidence: Evidence, opinions: Mapping[str, Opinion], found: _Groups, flagged: Bools
) -> list[tuple[str, ...]]:
    """Why each flagged sample was flagged: who decided it first, then who ranks it high, at least the loudest."""
    reasons: list[tuple[str, ...]] = [()] * len(evidence)
    odds = [name for name, opinion in opinions.items() if opinion.detector.label_odds]
    for place, (_, members) in enumerate(by_class(evidence)):
        ranks = {name: rank_p(opinion.scores[members]) for name, opinion in opinions.items() if flagged[members].any()}
        for position, row in enumerate(members):
            if flagged[row]:
                deciding = found.deciding[place] if found.planted[row] else {}
                names = [name for name, named in deciding.items() if named[position]]
                names += [name for name in odds if _contradicts(opinions[name], place, row)]
                names += [name for name, rank in ranks.items() if rank[position] <= NOTABLE]
                names = names or [min(ranks, key=lambda name: ranks[name][position])]
                reasons[row] = tuple(opinions[name].detector.says for name in dict.fromkeys(names))
    return reasons


def _contradicts(opinion: Opinion, place: int, row: int) -> bool:
    """Whether it says that the label of a sample is wrong."""
    return opinion.doubts_labels(place) and bool(opinion.scores[row] >= np.log(LABEL_ODDS))
