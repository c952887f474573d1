"""How the scores lie: counted exactly in few bins, so that a reader can try another threshold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from sanitizer.actions.page.words import number
from sanitizer.record import Verdict
from sanitizer.sources.base import Status

BINS = 60
HEIGHT = 200  # pixels
ROOM = 92.0  # percent of the width, the rest is for what is written at the side
#: Detectors say no smaller p-value than 1e-300, and nobody needs one.
END_OF_SCALE = 300
#: What is counted apart, with the width of its bars: no kind is told by its colour alone.
KINDS = {"": 0.92, "planted": 0.62, "label": 0.32}
#: Two marks on an axis keep this part of its length between them.
_APART = 0.06

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bar:
    """One kind of samples in one bin: across in percent, up in pixels."""

    kind: str
    x: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class Histogram:
    """Counts of samples by score. A bin reaches from its floor up to the next; the last one has no ceiling."""

    floors: Sequence[float]
    counts: Mapping[str, Sequence[int]]  # by kind, of every bin
    lowest_planted: float | None
    highest: float

    @property
    def bars(self) -> list[Bar]:
        """The bars, wide ones first, so that narrow ones lie before them."""
        edges = [*self.floors, self.highest]
        tallest = max(max(counts) for counts in self.counts.values())
        names = {"": "not flagged", "planted": "planted", "label": "label in doubt"}
        return [
            Bar(
                kind=kind,
                x=self.across(low) + (1 - KINDS[kind]) / 2 * (width := self.across(high) - self.across(low)),
                width=KINDS[kind] * width,
                height=_up(count, tallest),
                says=f"score {number(low)} to {number(high)}: {count:,} {names[kind]}",
            )
            for kind in KINDS
            for low, high, count in zip(edges, edges[1:], self.counts[kind], strict=False)
            if count
        ]

    @property
    def rows(self) -> list[tuple[float, int, int, int]]:
        """The bins that hold anything, for readers who want numbers."""
        table = zip(self.floors, *(self.counts[kind] for kind in KINDS), strict=True)
        return [row for row in table if any(row[1:])]

    @property
    def score_marks(self) -> list[tuple[str, float]]:
        """Round scores, and where they stand in percent."""
        least = 0 if self.highest >= 5 else -1
        at = [0.0] + [step * 10.0**power for power in range(least, 4) for step in (1, 2, 5)]
        return [(number(score), self.across(score)) for score in _spread(at, self.highest, self._share)]

    @property
    def count_marks(self) -> list[tuple[str, float]]:
        """Round counts, and how high they stand in pixels."""
        tallest = max(max(counts) for counts in self.counts.values())
        powers = [power for power in range(1, 12) if 10**power <= tallest] or [0]
        return [(f"{10**power:,}".replace(",000", "k", 1), _up(10**power, tallest)) for power in powers]

    @property
    def saturated(self) -> bool:
        """Whether scores reach the end of the scale."""
        return self.highest >= END_OF_SCALE - 1

    @property
    def data(self) -> Markup:
        """Numbers alone, for the script: nothing in it can end the element that holds it."""
        text = json.dumps({"floors": self.floors, "places": [round(self.across(floor), 3) for floor in self.floors],
                           "rest": self.counts[""], "planted": self.counts["planted"],
                           "label": self.counts["label"]})  # fmt: skip
        return embedded(text)

    @property
    def start(self) -> int:
        """The bin in which the lowest planted score lies; the last one where nothing is planted."""
        if self.lowest_planted is None:
            return len(self.floors) - 1
        return int(np.searchsorted(self.floors, self.lowest_planted, side="right")) - 1

    def across(self, score: float) -> float:
        """Where a score stands, in percent of the width."""
        return ROOM * self._share(score)

    def _share(self, score: float) -> float:
        # Most scores lie below 2 and planted ones anywhere up to 300: as logarithms both can be read.
        return min(1.0, math.log1p(max(score, 0.0)) / math.log1p(self.highest))


def histogram(verdict: Verdict) -> Histogram | None:
    """Counts over everything that was scanned; None where nothing has a score."""
    table = verdict.table.filter(pc.equal(verdict.table["status"], str(Status.SCANNED)))
    scores = np.asarray(table["score"].to_numpy(), np.float64)
    known = np.isfinite(scores)
    if not known.any():
        return None
    scores = scores[known]
    kinds = np.where(table["suspicious"].to_numpy(), table["kind"].to_numpy(), "")[known]
    highest = max(1.0, float(scores.max()))
    floors = _floors(highest)
    planted = scores[kinds == "planted"]
    counts: dict[str, Sequence[int]] = {kind: _counted(scores[kinds == kind], floors) for kind in KINDS}
    return Histogram(floors.tolist(), counts, float(planted.min()) if len(planted) else None, highest)


def embedded(text: str) -> Markup:
    r"""JSON as it may stand inside a script element: whatever it says, no tag, no comment, no line of its own.

    >>> embedded('"</script>"')
    Markup('"\\u003c/script\\u003e"')
    """
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _floors(highest: float) -> Floats:
    """Where bins begin, as numbers that can be said in full: what is shown is what is compared with."""
    ideal = np.expm1(np.linspace(0.0, math.log1p(highest), BINS + 1))[:-1]
    return np.unique([float(f"{floor:.3g}") for floor in ideal])


def _counted(scores: Floats, floors: Floats) -> list[int]:
    places = np.searchsorted(floors, np.maximum(scores, 0.0), side="right") - 1
    return np.bincount(places, minlength=len(floors)).tolist()  # type: ignore[no-any-return]


def _up(count: int, tallest: int) -> float:
    """The height of a count, in logarithms: one sample is to be seen beside a hundred thousand."""
    return HEIGHT * math.log1p(count) / math.log1p(max(tallest, 1))


def _spread(values: Iterable[float], highest: float, share: Callable[[float], float]) -> list[float]:
    """The values up to the highest that do not crowd each other."""
    kept: list[float] = []
    for value in values:
        if value <= highest and (not kept or share(value) - share(kept[-1]) >= _APART):
            kept.append(value)
    return kept
