"""Peculiar groups: part of a class is made of something that hardly an image of any other class has.

Every class has groups that differ in what their images are made of: dark ones, blurred ones, noisy ones. Other
classes have such images as well. What was planted under one label is found under that label only: a perturbation, a
trigger, a mark. The features that a perturbation was computed against are not asked, so it cannot hide from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.halves import evenly_parted
from detectors.lines import LEAST_GROUP
from detectors.looks import Axes, Look, looks_along
from detectors.residuals import class_moments, usual_residuals, whitened
from detectors.rests import Rest, rests
from detectors.weighed import CuttingDetector

#: Half-way from the rest of a class to the centre of the group.
BORDER = 0.5
#: A class is cut in more parts the smaller it is, for a group of a few to be there in what is left of it: this by its
#: size, from 2 to 10.
SHOWN = 2000
#: Samples of other classes that a class is compared with, at most: one half while choosing, the other to weigh.
COMPARED = 4096
#: A class is compared with the most peculiar of the others; fewer others are no measure of what is usual.
ENOUGH_OTHERS = 7
#: What a class has at least to be compared with, in nats a sample: with enough others, and without.
USUAL, USUAL_OF_FEW = 0.03, 0.2


def peculiarity(inside: Floats, elsewhere: Floats) -> float:
    """How much more of a class than of the others lies beyond the border, in nats a sample (Kullback-Leibler).

    >>> peculiarity(np.repeat([1.0, 0.0], [10, 90]), np.repeat([1.0, 0.0], [10, 90]))
    0.0
    >>> round(peculiarity(np.repeat([1.0, 0.0], [10, 90]), np.zeros(999)), 2)
    0.37
    """
    if (inside > BORDER).sum() < LEAST_GROUP:
        return 0.0
    here = float((inside > BORDER).mean())
    there = float((elsewhere > BORDER).sum() + 1) / (len(elsewhere) + 1)
    if not there < here < 1:
        return 0.0
    return float(here * np.log(here / there) + (1 - here) * np.log((1 - here) / (1 - there)))


class PeculiarGroup(CuttingDetector):
    """Who belongs to the group of its class that other classes have least of, by what the images are made of.

    A cut is chosen in a part of a class and weighed in the rest; the class then is compared with the others, each
    with its own most peculiar group.

    Settings as of every ``CuttingDetector``.
    """

    needs = ("frequency", "layout")
    sees = ("shifted", "tight")
    says = "It belongs to a group whose pixels have something that hardly an image of another class has."
    innocent = 2.5

    def __init__(self, *, ridge: float = 0.1, axes: int = 16, rows_per_axis: int = 10, tail: float = 0.05) -> None:
        super().__init__(ridge=ridge, axes=axes, rows_per_axis=rows_per_axis, tail=tail)

    def _weighed(self, evidence: Evidence) -> Iterator[tuple[Rows, Floats, float]]:
        details = whitened(evidence, "frequency", by=usual_residuals, ridge=self.ridge)
        compared = _others(evidence)
        known = np.unique(np.concatenate([np.zeros(0, np.int64), *compared]))
        seen = details.residuals.of(known)
        found = []
        for place, ((label, rows), others) in enumerate(zip(by_class(evidence), compared, strict=True)):
            part = evenly_parted(evidence.keys[rows], int(np.clip(SHOWN // len(rows), 2, 10)))
            of_class = partial(class_moments, evidence, label, "frequency", usual_residuals)
            left = rests(details, rows, part, of_class, axes=self.axes, rows_per_axis=self.rows_per_axis)
            looked_at = _Elsewhere(seen, np.searchsorted(known, others), details.residuals.centres, place)
            position, elsewhere = self._placed(left, len(rows), looked_at)
            weight = peculiarity(position, elsewhere) * diversity(evidence.part("layout", rows), position > BORDER)
            found.append((rows, position, weight))
        weights = np.array([weight for _, _, weight in found])
        few = len(found) - 1 < ENOUGH_OTHERS
        for place, (rows, position, weight) in enumerate(found):
            usual = max(np.delete(weights, place).max(initial=0), USUAL_OF_FEW if few else USUAL)
            yield rows, position, weight / usual

    def _placed(self, left: Iterable[Rest], size: int, others: _Elsewhere) -> tuple[Floats, Floats]:
        """Where each sample of a class lies by what the other parts show, and where some of other classes lie."""
        position, elsewhere = np.zeros(size), [np.zeros(0)]
        for rest in left:
            chosen_by, weighed_by = others.samples(rest.axes)
            look = self._most_peculiar(rest.shown, chosen_by, others.centres(rest.axes))
            if look:
                position[rest.asked] = _along(look, rest.along[rest.asked])
                elsewhere.append(_along(look, weighed_by))
        return position, np.concatenate(elsewhere)

    def _most_peculiar(self, shown: Floats, others: Floats, centres: Floats) -> Look | None:
        """The cut through these samples that finds least of its group among the others."""
        looks = (_away_from(centres, look) for look, _ in looks_along(shown, tail=self.tail))
        valued = [(peculiarity(_along(look, shown), _along(look, others)), look) for look in looks]
        value, best = max(valued, key=lambda pair: pair[0], default=(0.0, None))
        return best if value > 0 else None


@dataclass(frozen=True)
class _Elsewhere:
    """Other classes, for one of them to be compared with."""

    seen: Floats  # (s, d) residuals of some samples
    places: Rows  # of those of other classes, by content
    classes: Floats  # (C, d) where the classes lie
    own: int

    def samples(self, axes: Axes) -> tuple[Floats, Floats]:
        """Where samples of other classes lie along axes, about their own centres: one half to choose, one to weigh."""
        along = axes(self.seen)[self.places]
        return along[0::2], along[1::2]

    def centres(self, axes: Axes) -> Floats:
        """Where the centres of other classes lie, seen from that of this one."""
        along = self.classes @ axes.across
        return np.asarray(np.delete(along, self.own, axis=0) - along[self.own] - axes.origin @ axes.across)


def _others(evidence: Evidence) -> list[Rows]:
    """For every class some samples of the others, chosen and ordered by content."""
    order, chosen = np.argsort(evidence.keys, kind="stable"), []
    for label, rows in by_class(evidence):
        enough = order[: COMPARED + len(rows)]
        chosen.append(enough[evidence.labels[enough] != label][:COMPARED])
    return chosen


def _away_from(centres: Floats, look: Look) -> Look:
    """The look at the group that is farther from the other classes: the smaller one may be what is left of the class.

    Which of the two is planted is seen by where other classes lie as they are, each with its own content, so a few of
    them do not tell; whether anything is, by how they scatter about their own centres, which content does not move.
    """
    nearer = len(centres) >= ENOUGH_OTHERS and np.median(_along(look, centres)) > BORDER
    return look.reversed() if nearer else look


def _along(look: Look, rows: Floats) -> Floats:
    """Where rows lie: the rest of the class around 0, the centre of the group at 1."""
    return look(rows) / (2 * look.border)
