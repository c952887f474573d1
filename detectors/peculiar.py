"""Peculiar groups: part of a class is made of something that hardly an image of any other class has.

Every class has groups that differ in what their images are made of: dark ones, blurred ones, noisy ones. Other
classes have such images as well. What was planted under one label is found under that label only: a perturbation, a
trigger, a mark. The features that a perturbation was computed against are not asked, so it cannot hide from them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.base import Evidence, Floats, Rows, by_class
from detectors.diversity import diversity
from detectors.halves import evenly_parted
from detectors.lines import LEAST_GROUP
from detectors.looks import Look
from detectors.weighed import CuttingDetector
from detectors.whitening import class_residuals, clipped, whitener

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
        layout, classes = evidence.space("layout"), by_class(evidence)
        details = class_residuals(evidence, "frequency")
        scale = details.std(axis=0) + 1e-9
        details = clipped(details / scale)
        turned = whitener(details, ridge=self.ridge)
        centres = np.stack([evidence.space("frequency")[rows].mean(axis=0) for _, rows in classes]) / scale @ turned
        details = details @ turned
        found = [
            self._placed(details, np.delete(centres, place, axis=0) - centres[place], evidence, label, rows)
            for place, (label, rows) in enumerate(classes)
        ]
        weights = np.array([
            weight * diversity(layout[rows], position > BORDER) for rows, position, weight in found
        ])  # fmt: skip
        few = len(found) - 1 < ENOUGH_OTHERS
        for place, (rows, position, _) in enumerate(found):
            usual = max(np.delete(weights, place).max(initial=0), USUAL_OF_FEW if few else USUAL)
            yield rows, position, float(weights[place] / usual)

    def _placed(
        self, details: Floats, centres: Floats, evidence: Evidence, label: int, rows: Rows
    ) -> tuple[Rows, Floats, float]:
        """The rows of a class, each where it lies by what the other parts show, and how peculiar that is.

        ``centres``: of the other classes, seen from that of this one.
        """
        others = np.flatnonzero(evidence.labels != label)
        others = others[np.argsort(evidence.keys[others], kind="stable")][:COMPARED]
        chosen_by, weighed_by = details[others[0::2]], details[others[1::2]]
        part = evenly_parted(evidence.keys[rows], int(np.clip(SHOWN // len(rows), 2, 10)))
        position, elsewhere = np.zeros(len(rows)), [np.zeros(0)]
        for asked in (part == number for number in np.unique(part)):
            look = self._most_peculiar(details[rows[~asked]], chosen_by, centres)
            if look:
                position[asked] = _along(look, details[rows[asked]])
                elsewhere.append(_along(look, weighed_by))
        return rows, position, peculiarity(position, np.concatenate(elsewhere))

    def _most_peculiar(self, shown: Floats, others: Floats, centres: Floats) -> Look | None:
        """The cut through these samples that finds least of its group among the others."""
        looks = (_away_from(centres, look) for look, _ in self._candidates(shown))
        valued = [(peculiarity(_along(look, shown), _along(look, others)), look) for look in looks]
        value, best = max(valued, key=lambda pair: pair[0], default=(0.0, None))
        return best if value > 0 else None


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
