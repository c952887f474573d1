"""The map of a class: where its samples lie to each other, as the gallery placed them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sanitizer.actions.gallery import POINT
from sanitizer.actions.page.exhibits import Entry
from sanitizer.actions.page.pictures import Pictures

MAX_MAPS = 6
MAX_POINTS = 500  # of one map
MAX_TITLE = 60  # characters of an id: there are thousands of them
HEIGHT = 380  # pixels
MARGIN = 0.04
#: The direction in which planted samples differ is looked for where each half of the class, drawn by content, has four
#: of them and four others: never with fewer than the first of these, and for certain only from about the second on.
TOO_FEW, ENOUGH = 8, 24


@dataclass(frozen=True)
class Point:
    """One sample: across in percent, down in pixels."""

    id: str
    planted: bool
    x: float
    y: float
    uri: Markup | None
    card: int | None  # the card of the same sample, whose picture is larger


@dataclass(frozen=True)
class Map:
    """One class."""

    class_name: str
    points: Sequence[Point]  # the planted ones last, so that they lie before the others

    @property
    def planted(self) -> int:
        """How many of its points were flagged as planted."""
        return sum(point.planted for point in self.points)

    @property
    def axes(self) -> str:
        """What right and up mean."""
        fewest = min(self.planted, len(self.points) - self.planted)
        if fewest < TOO_FEW:
            return "Right and up: the two widest spreads of the class."
        apart = "Right: as the flagged ones differ, by what the other half of the class shows. Up: the widest spread of"
        return f"{apart} the rest." + ("" if fewest >= ENOUGH else " With few in either half: the two widest spreads.")


def maps(pictures: Pictures, cards: Mapping[str, int]) -> list[Map]:
    """A map for each class that has points, in the gallery's order; ``cards`` says which sample has which card."""
    classes: dict[str, list[Entry]] = {}
    for entry in pictures.exhibits.of(POINT):
        if _placed(entry):
            classes.setdefault(entry["class_name"] or "", []).append(entry)
    return [
        Map(name, _points(entries[:MAX_POINTS], pictures, cards)) for name, entries in list(classes.items())[:MAX_MAPS]
    ]


def _placed(entry: Entry) -> bool:
    return all(entry[axis] is not None and math.isfinite(entry[axis]) for axis in ("x", "y"))


def _points(entries: Sequence[Entry], pictures: Pictures, cards: Mapping[str, int]) -> list[Point]:
    across, up = (_shares([entry[axis] for entry in entries]) for axis in ("x", "y"))
    points = [
        Point(
            id=entry["id"],
            planted=bool(entry["planted"]),
            x=100 * right,
            y=HEIGHT * (1 - height),
            uri=pictures.uri(entry["thumbnail"]),
            card=cards.get(entry["id"]),
        )
        for entry, right, height in zip(entries, across, up, strict=True)
    ]
    return sorted(points, key=lambda point: point.planted)


def _shares(values: Sequence[float]) -> list[float]:
    """Values between the margins of a map; in its middle where they are all the same."""
    low, high = min(values), max(values)
    if high <= low:
        return [0.5] * len(values)
    return [MARGIN + (1 - 2 * MARGIN) * (value - low) / (high - low) for value in values]
