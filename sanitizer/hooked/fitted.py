"""All that a fitted hook knows: small enough to be sent to every process, and the same wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sanitizer.hooked.cells import view_digest_of_cell
from sanitizer.hooked.columns import Columns, Rows
from sanitizer.hooked.lookup import Judged, Lookup

_BATCH = 256  # rows whose stored bytes are held at once
_FIRST = 10  # rows of a leak that are named


@dataclass(frozen=True, slots=True)
class Leak:
    """Rows of a split whose image is also in the fitted one: how many, and where the first of them are."""

    rows: int
    first: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unseen:
    """A row that was not judged at fit."""

    cell: Any
    label: int | None  # None: of no class that was fitted
    relabelled: bool  # its image was there, under another label


@dataclass(frozen=True)
class Fitted:
    """What one scan found, and everything that must change the fingerprint of a mapped dataset."""

    split: str | None
    columns: Columns
    table: bytes = field(repr=False)
    digest: str  # of the verdict: data, parameters, and the contents of networks
    implementation: str  # of our code; the library sees no more of it than the name of a class
    sentence: str

    def judged(self, rows: Rows, unreadable: Judged, unseen: Callable[[list[Unseen]], list[Judged]]) -> list[Judged]:
        """What is said of each row; ``unseen`` is asked about those that were not judged at fit, all at once."""
        lookup = Lookup.unpacked(self.table)
        said: list[Judged | None] = []
        strange: list[Unseen] = []
        for cell, label in zip(rows.images, rows.labels, strict=True):
            view = view_digest_of_cell(cell, lookup.view_of)
            said.append(unreadable if view is None else lookup.find(view, label))
            if view is not None and said[-1] is None:
                strange.append(Unseen(cell, label, lookup.knows(view)))
        found = iter(unseen(strange) if strange else ())
        return [next(found) if judged is None else judged for judged in said]

    def leak(self, dataset: Any) -> Leak:
        """The rows of a dataset whose image was fitted, whatever their label."""
        lookup = Lookup.unpacked(self.table)
        cells = (cell for rows in self.stored(dataset, labels=False) for cell in rows[self.columns.image])
        views = (view_digest_of_cell(cell, lookup.view_of) for cell in cells)
        places = [place for place, view in enumerate(views) if view is not None and lookup.knows(view)]
        return Leak(len(places), tuple(places[:_FIRST]))

    def stored(self, dataset: Any, *, labels: bool = True) -> Iterator[dict[str, list[Any]]]:
        """Images and labels of a dataset in batches, as they are stored: what is known is not decoded again."""
        names = self.columns.names_in(dataset.column_names, labels=labels)
        rows = dataset.with_format(None).select_columns(names)
        kind = rows.features[self.columns.image]
        if getattr(kind, "decode", False):
            rows = rows.cast_column(self.columns.image, type(kind)(decode=False))
        yield from rows.iter(_BATCH)
