"""Looking again: another probe, from another seed, that was trained without what the first look flagged.

One probe sees one thing. What it has not learned, another may; and where the plainest of the poison is gone, the rest
is no longer outvoted by it. Only what a probe has a say in is asked again: pixels say the same twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector
from sanitizer.verdict import MOST_OF_CLASS, Calibration, ClassFinding, Judgement, worst_of

#: What a probe computes; a detector that reads none of it has nothing new to say.
OF_A_PROBE = frozenset({"feature", "residual", "loss"})
#: Two looks have two chances to be wrong.
LOOKS = 2


@dataclass(frozen=True)
class SecondLook:
    """What the second look concluded about the samples that the first had not flagged."""

    judgement: Judgement
    rows: NDArray[np.int64]  # of the whole set: row i of the judgement is sample rows[i]
    labels: NDArray[np.int64]  # of the whole set
    model: Mapping[str, object]  # who looked

    def added_to(self, first: Judgement) -> Judgement:
        """Both looks as one judgement: whoever flagged a sample, it is flagged; within the caps of a single look."""
        second = self._within_half_of_each_class(first)
        chance = np.ones(len(first.p_value))
        chance[self.rows] = second.p_value
        score = np.zeros(len(first.score))
        score[self.rows] = second.score
        suspicious, kind, reasons = first.suspicious.copy(), first.kind.copy(), list(first.reasons)
        for row, at in zip(np.flatnonzero(second.suspicious), self.rows[second.suspicious], strict=True):
            suspicious[at], kind[at], reasons[at] = True, second.kind[row], second.reasons[row]
        return replace(
            first,
            suspicious=suspicious,
            kind=kind,
            reasons=reasons,
            score=np.maximum(np.maximum(first.score, score) - np.log10(LOOKS), 0),
            p_value=np.minimum(1, LOOKS * np.minimum(first.p_value, chance)),
            classes=[self._of_class(one, second) for one in first.classes],
            notes=[*first.notes, _said(int(first.suspicious.sum()), int(second.suspicious.sum()))],
        )

    def _within_half_of_each_class(self, first: Judgement) -> Judgement:
        """No class loses more than it may in one look."""
        suspicious = self.judgement.suspicious.copy()
        for label in np.unique(self.labels):
            here = np.flatnonzero(self.labels[self.rows] == label)
            members = self.labels == label
            room = int(MOST_OF_CLASS * members.sum()) - int(first.suspicious[members].sum())
            score = self.judgement.score[here]
            suspicious[here] = worst_of(suspicious[here], score, score, max(0, room))
        return replace(self.judgement, suspicious=suspicious, kind=np.where(suspicious, self.judgement.kind, ""))

    def _of_class(self, one: ClassFinding, second: Judgement) -> ClassFinding:
        here = self.labels[self.rows] == one.label
        planted = int((here & (second.kind == "planted")).sum())
        labels = int((here & (second.kind == "label")).sum())
        evidence = [other.score for other in second.classes if other.label == one.label]
        reason = "; ".join(part for part in (one.reason, f"a second look found {planted} more") if part)
        return replace(
            one,
            score=max([one.score, *evidence]),
            hidden=one.hidden or planted > 0,
            suspicious=one.suspicious + planted,
            label_suspects=one.label_suspects + labels,
            reason=reason if planted else one.reason,
        )


def asked_again(detectors: Mapping[str, Detector]) -> dict[str, Detector]:
    """Those who can get a sample flagged by what a probe tells them."""
    deciding = {name: one for name, one in detectors.items() if one.innocent is not None or one.label_odds}
    return {name: one for name, one in deciding.items() if OF_A_PROBE.intersection(one.needs)}


def left_to_flag(first: Judgement, calibration: Calibration) -> Calibration | None:
    """The calibration of the second look: of ``max_drop`` it has what the first has left; None if that is nothing."""
    n, flagged = len(first.suspicious), int(first.suspicious.sum())
    left = calibration.max_drop * n - flagged
    return replace(calibration, max_drop=min(1.0, left / (n - flagged))) if left >= 1 else None


def _said(flagged: int, more: int) -> str:
    """For people."""
    without = f"without the {flagged} flagged" if flagged else "from another seed"
    return f"a second look, {without}, flagged {more or 'no'} more"
