"""The hook for ``datasets``: a scan that ``Dataset.map`` and ``Dataset.filter`` can ask about every row."""

from __future__ import annotations

import copy
import difflib
import functools
import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sanitizer.additions import reference
from sanitizer.errors import SourceError, UsageError
from sanitizer.hooked.cells import pixels_of_cell
from sanitizer.hooked.columns import Columns, values_of
from sanitizer.hooked.fitted import Fitted, Leak, Unseen
from sanitizer.hooked.lookup import NO_LABEL, Judged, Lookup
from sanitizer.progress import SILENT, Progress
from sanitizer.record import Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.huggingface import is_dataset
from sanitizer.store import implementation

if TYPE_CHECKING:
    from datasets import Features

    from sanitizer.pipeline import ScanSettings

log = logging.getLogger("sanitizer")

#: The columns that ``map`` adds.
SUSPICIOUS, SCORE, KIND = "suspicious", "poison_score", "kind"
UNSEEN = Judged(False, math.nan, "unseen")
UNREADABLE = Judged(False, math.nan, "unreadable")


@dataclass(frozen=True, init=False, repr=False)
class Sanitizer:
    """Scans a dataset once, then tells ``Dataset.map`` and ``Dataset.filter`` about each of its rows.

    A row is found again by the pixels of its image and by its label, wherever it went since: shuffled, selected,
    concatenated, streamed, stored or decoded. ``map`` adds ``suspicious`` (bool), ``poison_score`` (float32, higher =
    worse, NaN where there is none) and ``kind``:

    - ``""``: nothing found; ``"planted"``, ``"label"``: suspicious, as the verdict says;
    - ``"unseen"``: not judged at fit, for it was not there, or not under this label. With a store it is judged as its
      nearest fitted neighbours of the same label were; without one it is not suspicious, and its score is NaN. Unless
      it is suspicious ``keep`` keeps it, or drops it with ``unseen="drop"``; with ``unseen="raise"`` it is an error. A
      warning is logged once.
    - ``"unreadable"``: no image that may be decoded, so nothing to train on: not suspicious, and ``keep`` drops it.
      The library decodes images before ``map`` can ask about them: where some are broken, cast the column to
      ``Image(decode=False)``, or use ``split``.

    Args:
        unseen: What becomes of rows that were not judged: "keep", "drop" or "raise".
        **settings: Those of ``ScanSettings``.
    """

    settings: ScanSettings
    unseen: Literal["keep", "drop", "raise"]
    _fitted: Fitted | None
    _verdict: Verdict | None = field(compare=False)

    def __init__(self, *, unseen: Literal["keep", "drop", "raise"] = "keep", **settings: Any) -> None:
        if unseen not in ("keep", "drop", "raise"):
            raise UsageError(f"unseen: expected keep, drop or raise, got {unseen!r}: choose one")
        self._set(settings=_scan_settings(settings), unseen=unseen, _fitted=None, _verdict=None)

    def fit(self, dataset: Any, *, split: str | None = None, progress: Progress = SILENT) -> Sanitizer:
        """Scan a dataset, or whatever ``open_source`` takes, and return a sanitizer that knows it.

        With a store, an unchanged set is scanned only once, in whatever process. Of a ``DatasetDict`` the split
        "train" is fitted, or the only one, or the one named ``split``. If a path is fitted whose classes are called
        by numbers, the numbers in the label column are taken for these names.

        ``progress`` is told how far the scan is; it stays with this call, and no row is asked about it.
        """
        chosen, split = _chosen(dataset, split)
        columns = {"image_column": self.settings.image_column, "label_column": self.settings.label_column}
        source = open_source(chosen, **columns)
        if source.holds != "images":
            raise SourceError(f"expected images in {source.uri!r}, got {source.holds}: use sanitizer.scan for these")
        verdict = _scanned(chosen, self.settings, progress)
        for why in verdict.incomplete:
            log.warning("the scan is incomplete: %s", why)
        fitted = copy.copy(self)
        knowledge = Fitted(
            split=split,
            columns=Columns.of(chosen, source, **columns),
            table=Lookup.packed(verdict.table),
            digest=verdict.digest,
            implementation=implementation("sanitizer", "detectors"),
            sentence=verdict.summary["answer"]["sentence"],
        )
        fitted._set(_fitted=knowledge, _verdict=verdict)
        return fitted

    @property
    def verdict(self) -> Verdict:
        """What the scan concluded; it stays in the process that fitted."""
        self._known()
        if self._verdict is None:
            raise UsageError("expected the Sanitizer that was fitted, got a copy without its verdict: fit again")
        return self._verdict

    def features(self, features: Mapping[str, Any]) -> Features:
        """The features of a dataset after ``map``."""
        from datasets import Features, Value

        added = {SUSPICIOUS: Value("bool"), SCORE: Value("float32"), KIND: Value("string")}
        return Features({**features, **added})

    def __call__(self, rows: Mapping[str, Any], *_where: Any) -> dict[str, Any]:
        """What is said of a batch of rows, or of one row; for ``map``, with or without indices and rank.

        Neither is needed, for rows are known by their content.
        """
        fitted = self._known()
        if not isinstance(rows, Mapping):
            raise UsageError(f"expected rows as a mapping of columns, got {type(rows).__name__}: map without a format")
        asked = fitted.columns.read(rows)
        said = fitted.judged(asked, UNREADABLE, self._unseen)
        scores = np.array([row.score for row in said], np.float32)  # of plain floats, the library would make doubles
        if not asked.batched:
            return {SUSPICIOUS: said[0].suspicious, SCORE: scores[0], KIND: said[0].kind}
        return {SUSPICIOUS: [row.suspicious for row in said], SCORE: scores, KIND: [row.kind for row in said]}

    def keep(self, rows: Any, *columns: Any) -> bool | list[bool]:
        """Whether a row is to be trained on; for ``filter``, batched or not.

        Rows that were mapped are taken at their word, others are looked up. With ``input_columns``, name "kind", or
        "suspicious" and "kind": "suspicious" alone does not tell which rows are unseen or unreadable, and keeps them.
        """
        if isinstance(rows, Mapping):
            said = rows if SUSPICIOUS in rows and KIND in rows else self(rows)
            rows, columns = said[SUSPICIOUS], (said[KIND],)
        told = [values_of(column) for column in (rows, *columns)]
        if isinstance(told[0], list):
            return [self._keeps(row) for row in zip(*told, strict=True)]
        return self._keeps(told)

    def split(self, dataset: Any) -> tuple[Any, Any]:
        """The rows to be trained on and the others, of a ``Dataset`` or of every split of a ``DatasetDict``.

        Rows are looked up by their stored bytes, so images that cannot be decoded break nothing.
        """
        if not is_dataset(dataset):
            came = type(dataset).__name__
            raise UsageError(f"expected a Dataset or DatasetDict, got {came}: use filter(sanitizer.keep)")
        if isinstance(dataset, dict):
            pairs = {name: self.split(part) for name, part in dataset.items()}
            clean, quarantined = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
            return type(dataset)(clean), type(dataset)(quarantined)
        kept = np.concatenate([self.keep(rows) for rows in self._known().stored(dataset)] or [[]]).astype(bool)
        return dataset.select(np.flatnonzero(kept)), dataset.select(np.flatnonzero(~kept))

    def leaks(self, dataset: Any, *, split: str | None = None) -> dict[str, Leak]:
        """For every other split: the rows whose image is also in the fitted one, whatever their label.

        ``split`` names the fitted one, if it was not fitted as a part of a ``DatasetDict`` and is not called "train".
        """
        fitted = self._known()
        if not (is_dataset(dataset) and isinstance(dataset, dict)):
            raise UsageError(f"expected a DatasetDict, got {type(dataset).__name__}: put the splits into one")
        own = split or fitted.split or "train"
        return {name: fitted.leak(part) for name, part in dataset.items() if name != own}

    def _unseen(self, rows: list[Unseen]) -> list[Judged]:
        """What is said of rows that were not judged at fit: as of their fitted neighbours, where those are known."""
        fitted = self._known()
        for row in rows:
            what = "another label than at fit" if row.relabelled else "an image that was not there at fit"
            if self.unseen == "raise":
                raise UsageError(
                    f"expected rows that were fitted, met one with {what}: fit this set, or use "
                    "Sanitizer(unseen='keep')"
                )
            _warn_once(fitted.digest, what, "keeps" if self.unseen == "keep" else "drops")
        known = reference(self.settings.store, fitted.digest)
        if known is None:
            return [UNSEEN] * len(rows)
        images = [pixels_of_cell(row.cell) for row in rows]
        labels = [NO_LABEL if row.label is None else row.label for row in rows]
        found = known.judged([image for image in images if image is not None], labels)
        return [Judged(suspicious, score, UNSEEN.kind) for suspicious, score in found]

    def __getstate__(self) -> dict[str, Any]:
        """All but the verdict, which is large, and which no row is looked up in."""
        return {**self.__dict__, "_verdict": None}

    def __repr__(self) -> str:
        shown = {one.name: getattr(self.settings, one.name) for one in fields(self.settings)} | {"unseen": self.unseen}
        default = _defaults()
        settings = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value != default[name])
        return f"Sanitizer({settings}): {self._fitted.sentence if self._fitted else 'not fitted.'}"

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _known(self) -> Fitted:
        if self._fitted is None:
            raise UsageError(
                "expected a fitted Sanitizer, got one that has seen no data: use what fit(dataset) returns"
            )
        return self._fitted

    def _keeps(self, told: Any) -> bool:
        """Nothing that is told of a row speaks against it."""
        if not all(isinstance(value, bool | str) for value in told):
            raise UsageError(f"expected the columns {SUSPICIOUS} and {KIND}, got {told!r}: filter what was mapped")
        harmless = ("", UNSEEN.kind) if self.unseen == "keep" else ("",)
        return all(value in harmless if isinstance(value, str) else not value for value in told)


def _scan_settings(given: dict[str, Any]) -> ScanSettings:
    """The settings of a scan; one that nobody knows is refused."""
    from sanitizer.pipeline import ScanSettings

    known = _defaults()
    for name in given.keys() - known.keys():
        close = difflib.get_close_matches(name, known, n=1)
        raise UsageError(f"expected a setting of a scan, got {name!r}: try {close[0] if close else ', '.join(known)}")
    if "detectors" in given:
        names = given["detectors"]
        given = given | {"detectors": (names,) if isinstance(names, str) else tuple(names)}
    settings = ScanSettings(**given)
    if settings.decoding != "exact":  # rows are known by their pixels, which scaled decoding changes
        raise UsageError(f"decoding: expected 'exact' here, got {settings.decoding!r}: use sanitizer.scan")
    return settings


def _defaults() -> dict[str, Any]:
    from sanitizer.pipeline import ScanSettings

    return {one.name: one.default for one in fields(ScanSettings)} | {"unseen": "keep"}


def _chosen(dataset: Any, split: str | None) -> tuple[Any, str | None]:
    """What is to be fitted, and the name of the split that it is."""
    if not isinstance(dataset, dict):
        if split is not None:
            raise UsageError(f"split: expected it with a DatasetDict only, got {split!r} with another: leave it out")
        return dataset, None
    name = split or ("train" if "train" in dataset or len(dataset) != 1 else next(iter(dataset)))
    if name not in dataset:
        raise UsageError(f"split: expected one of {', '.join(map(str, dataset))}, got {name!r}: name it with split=")
    return dataset[name], name


def _scanned(chosen: Any, settings: ScanSettings, progress: Progress) -> Verdict:
    """The verdict; only one that is written to a folder is remembered, so there is one for a moment."""
    from sanitizer.pipeline import scan

    with tempfile.TemporaryDirectory() as folder:
        return scan(chosen, Path(folder) / "verdict", settings, progress)


@functools.cache
def _warn_once(_fit: str, what: str, does: str) -> None:
    """Once for each fit in each process."""
    log.warning("met a row with %s: such rows were not judged, are of kind 'unseen', and keep %s them", what, does)
