"""The suspicious samples one by one: a card each, and what the cards can be filtered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from sanitizer.actions.gallery import NEIGHBOUR, NEIGHBOURS_SHOWN, SUSPICIOUS
from sanitizer.actions.page.agreement import speakers
from sanitizer.actions.page.pictures import Picture, Pictures
from sanitizer.record import Verdict

MAX_CARDS = 200
MAX_REASONS = 5


@dataclass(frozen=True)
class Card:
    """One suspicious sample as the page shows it."""

    place: int  # among all cards
    picture: Picture
    difference: Markup | None  # how it differs from unflagged look-alikes, enlarged
    row: Mapping[str, Any]  # of the verdict table
    scores: Sequence[tuple[str, float]]  # detector, score
    reasons: Sequence[tuple[str, str]]  # what was said, and by which detector
    nearest: Sequence[Picture]
    losses: Sequence[float]
    class_place: int  # in ``Samples.classes``: filters compare numbers, never names from outside
    detector_places: Sequence[int]  # in ``Samples.detectors``


@dataclass(frozen=True)
class Chapter:
    """Suspicious samples of one kind."""

    kind: str
    found: int  # how many there are; not all of them have a card
    cards: Sequence[Card]


@dataclass(frozen=True)
class Samples:
    """All chapters: what looks planted, then labels in doubt."""

    chapters: Sequence[Chapter]
    classes: Sequence[str]
    detectors: Sequence[str]

    @property
    def cards(self) -> list[Card]:
        """The cards of all chapters."""
        return [card for chapter in self.chapters for card in chapter.cards]


def samples(verdict: Verdict, pictures: Pictures) -> Samples:
    """The suspicious samples that the gallery holds, most suspicious first."""
    ids = pa.array([entry["id"] for entry in pictures.exhibits.of(SUSPICIOUS)], pa.string())
    flagged = verdict.suspicious()
    rows = flagged.filter(pc.is_in(flagged["id"], ids)).slice(0, MAX_CARDS).to_pylist()
    names = speakers(verdict.summary)
    said = [[(reason, names.get(reason, "")) for reason in row["reasons"] or ()] for row in rows]
    classes = sorted({row["label_name"] for row in rows if row["label_name"] is not None})
    detectors = sorted({name for reasons in said for _, name in reasons if name})
    columns = [name for name in verdict.table.column_names if name.startswith("score_")]
    cards = []
    for place, (row, reasons) in enumerate(zip(rows, said, strict=True)):
        entry = pictures.exhibits.by_name[row["id"], SUSPICIOUS]
        cards.append(
            Card(
                place=place,
                picture=pictures.of(row["id"], SUSPICIOUS),
                difference=pictures.uri(entry["difference"]),
                row=row,
                scores=[(name.removeprefix("score_"), row[name]) for name in columns],
                reasons=reasons[:MAX_REASONS],
                nearest=[pictures.of(name, NEIGHBOUR) for name in (row["nearest"] or ())[:NEIGHBOURS_SHOWN]],
                losses=entry["losses"] or (),
                class_place=-1 if row["label_name"] is None else classes.index(row["label_name"]),
                detector_places=sorted({detectors.index(name) for _, name in reasons if name}),
            )
        )
    kinds = flagged["kind"].to_pylist()
    chapters = [
        Chapter(kind, kinds.count(kind), [card for card in cards if card.row["kind"] == kind])
        for kind in dict.fromkeys(kinds)
    ]
    return Samples(chapters, classes, detectors)
