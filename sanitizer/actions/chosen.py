"""Which samples the gallery shows, what their pictures are made of, and what these are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.record import Verdict

if TYPE_CHECKING:
    from sanitizer.sources.census import Census

PATTERN, SUSPICIOUS, NEIGHBOUR, POINT = "pattern", "suspicious", "neighbour", "point"
PLANTED = "planted"

NEIGHBOURS_SHOWN = 3
#: How far a difference may be enlarged: a mean of many has less noise that could pass for a find.
GAIN, PATTERN_GAIN = 8.0, 16.0
#: Classes whose pattern is shown, and how many samples are in its two means at most.
PATTERNS, PATTERN_FLAGGED, PATTERN_OTHERS = 12, 200, 400
#: How many others of its class a sample without neighbours is compared with.
STAND_INS = 32
#: Points of one map at most, how many points of all maps have a picture, and the side of that.
MAP_FLAGGED, MAP_OTHERS, POINT_PICTURES, POINT_SIDE = 150, 350, 600, 24

#: Class name -> id -> (x, y), for the classes that have a map.
Positions = Mapping[str, Mapping[str, tuple[float, float]]]
#: Id -> the ids of samples that look like it and were not flagged.
Lookalikes = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One row of the gallery before anything is drawn."""

    id: str
    role: str
    class_name: str | None
    planted: bool
    row: int | None = None  # of the census; a pattern is no sample
    side: int  # of the picture at most
    of: Sequence[int] = ()  # the rows whose mean is the picture; none: no picture
    against: Sequence[int] = ()  # the rows whose mean is taken from it for the difference; none: no difference
    gain: float = GAIN


def choose(
    verdict: Verdict, census: Census, positions: Positions, alike: Lookalikes, limit: int, side: int
) -> list[Chosen]:
    """Everything to show, in order of importance: patterns, suspicious samples, their neighbours, points."""
    samples = _Samples(verdict, census)
    flagged = _balanced([row for row in verdict.suspicious().to_pylist() if row["id"] in samples.rows], limit)
    return [
        *_patterns(planted_classes(verdict), samples, side),
        *_suspicious(flagged, samples, alike, side),
        *_neighbours(flagged, samples, side // 2),
        *_points(positions, samples),
    ]


def planted_classes(verdict: Verdict) -> list[str]:
    """The classes in which planted samples were found, those with most of them first."""
    found = verdict.table.filter(pc.equal(verdict.table["kind"], PLANTED))["label_name"].to_pylist()
    counts = Counter(name for name in found if name is not None)
    return sorted(counts, key=lambda name: (-counts[name], name))


class _Samples:
    """Where in the census a verdict's samples are, class by class; trusted ones are in no class."""

    def __init__(self, verdict: Verdict, census: Census) -> None:
        self.rows = {sample.id: row for row, sample in enumerate(census.samples)}
        self._census = census
        planted = pc.equal(verdict.table["kind"], PLANTED)
        table = verdict.table.select(["id", "label_name", "score"])
        self._flagged = table.filter(planted).sort_by([("score", "descending"), ("id", "ascending")])
        self._others = table.filter(pc.invert(planted))
        self.planted = frozenset(self._flagged["id"].to_pylist())

    def flagged(self, class_name: str) -> list[str]:
        """What was planted in a class, the most suspicious first."""
        return self._known(self._flagged, class_name)

    def others(self, class_name: str | None) -> list[str]:
        """The rest of a class in the order of its keys: the first few are an even choice, and always the same."""
        samples = self._census.samples
        return sorted(self._known(self._others, class_name), key=lambda name: (samples[self.rows[name]].key, name))

    def rows_of(self, names: Sequence[str]) -> list[int]:
        """The places of some samples in the census."""
        return [self.rows[name] for name in names]

    def _known(self, table: pa.Table, class_name: str | None) -> list[str]:
        names = table["label_name"]
        of_class = pc.is_null(names) if class_name is None else pc.equal(names, class_name)
        return [name for name in table.filter(of_class)["id"].to_pylist() if name in self.rows]


def _balanced(rows: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` rows, their order kept: an equal share for each class, the rest by rank."""
    if not rows:
        return []
    share = max(1, limit // len({row["label_name"] for row in rows}))
    seen: Counter[str | None] = Counter()
    within: list[int] = []
    beyond: list[int] = []
    for rank, row in enumerate(rows):
        (within if seen[row["label_name"]] < share else beyond).append(rank)
        seen[row["label_name"]] += 1
    return [rows[rank] for rank in sorted((within + beyond)[:limit])]


def _patterns(classes: Sequence[str], samples: _Samples, side: int) -> Iterator[Chosen]:
    """What the planted samples of a class have in common, and the rest of the class has not."""
    for name in classes[:PATTERNS]:
        flagged, others = samples.flagged(name)[:PATTERN_FLAGGED], samples.others(name)[:PATTERN_OTHERS]
        if flagged:
            yield Chosen(
                id=name, role=PATTERN, class_name=name, planted=True, side=side, gain=PATTERN_GAIN,
                of=samples.rows_of(flagged), against=samples.rows_of(others),
            )  # fmt: skip


def _suspicious(flagged: Sequence[dict[str, Any]], samples: _Samples, alike: Lookalikes, side: int) -> Iterator[Chosen]:
    """The samples, each against those that look most like it: what differs may be what was planted."""
    stand_ins: dict[str | None, list[str]] = {}
    for row in flagged:
        name, class_name = row["id"], row["label_name"]
        like = [other for other in alike.get(name, ()) if other in samples.rows] or _neighbours_of(row, samples)
        if not like:
            if class_name not in stand_ins:
                stand_ins[class_name] = samples.others(class_name)[: STAND_INS + 1]
            like = [other for other in stand_ins[class_name] if other != name][:STAND_INS]
        place = samples.rows[name]
        yield Chosen(
            id=name, role=SUSPICIOUS, class_name=class_name, planted=name in samples.planted, row=place, side=side,
            of=(place,), against=samples.rows_of(like),
        )  # fmt: skip


def _neighbours(flagged: Sequence[dict[str, Any]], samples: _Samples, side: int) -> Iterator[Chosen]:
    """Those nearest to the samples above, once, whoever else they are near to."""
    classes: dict[str, str | None] = {}
    for row in flagged:
        for name in _neighbours_of(row, samples):
            classes.setdefault(name, row["label_name"])  # neighbours are searched within a class
    for name, class_name in classes.items():
        place = samples.rows[name]
        yield Chosen(
            id=name, role=NEIGHBOUR, class_name=class_name, planted=name in samples.planted, row=place, side=side,
            of=(place,),
        )  # fmt: skip


def _neighbours_of(row: dict[str, Any], samples: _Samples) -> list[str]:
    return [name for name in (row["nearest"] or ())[:NEIGHBOURS_SHOWN] if name in samples.rows]


def _points(positions: Positions, samples: _Samples) -> Iterator[Chosen]:
    """Some of both on every map, class by class in turn; who comes first has a picture."""
    ranked = [
        (not planted, rank, number, name)
        for number, (class_name, places) in enumerate(positions.items())
        for planted, names, most in (
            (True, samples.flagged(class_name), MAP_FLAGGED),
            (False, samples.others(class_name), MAP_OTHERS),
        )
        for rank, name in enumerate([name for name in names if name in places][:most])
    ]
    classes = list(positions)
    for place, (innocent, _, number, name) in enumerate(sorted(ranked)):
        row = samples.rows[name]
        yield Chosen(
            id=name, role=POINT, class_name=classes[number], planted=not innocent, row=row, side=POINT_SIDE,
            of=(row,) if place < POINT_PICTURES else (),
        )  # fmt: skip
