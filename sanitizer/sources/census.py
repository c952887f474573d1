"""The census: one pass over a source that gives every item its final status and every sample its place."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import SourceError
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Found, Holds, Pixels, Sample, Source, Status, digest_of, view_digest_of
from sanitizer.sources.decode import LIMITS, Limits, Refused, Unreadable, decode, fit
from sanitizer.sources.facts import Fact, Facts
from sanitizer.sources.isolated import Decoder, could_cost_too_much, decoder
from sanitizer.store import Store

#: Decoded images are kept while they fit into this much; beyond, they are decoded again when they are needed.
KEEP_BYTES = 512 * 2**20
# So many items are read ahead of one that is decoded in another process: both go on at the same time.
_AHEAD = 64
_AHEAD_BYTES = 16 * 2**20

#: An image as pixels (h, w, 3), or a vector (d,).
Decoded = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """Everything found in a source; row i of every array is sample i, in canonical order.

    Canonical order is by (digest, label name, id): paths and listing order change nothing.
    """

    holds: Holds
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    others: tuple[Found, ...]  # what was not scanned, without content
    counts: dict[Status, int]
    _source: Source = field(repr=False)
    _limits: Limits = field(repr=False)
    _kept: dict[str, Decoded] | None = field(repr=False)  # digest -> what was decoded, while it fits into memory

    def labels(self) -> NDArray[np.int64]:
        """The label of each sample, -1 where there is none."""
        return np.array([-1 if sample.label is None else sample.label for sample in self.samples], np.int64)

    def keys(self) -> NDArray[np.uint64]:
        """A number for each sample that depends on its content alone."""
        return np.array([sample.key for sample in self.samples], np.uint64)

    def native_side(self) -> int:
        """The median of the shorter sides: how large the images of this source are."""
        return int(np.median([min(sample.size) for sample in self.samples])) if self.samples else 0

    def only(self, rows: Sequence[int] | NDArray[np.integer]) -> Census:
        """The census of some of the samples, as if nothing else had been found; ``rows`` ascend."""
        samples = tuple(self.samples[row] for row in rows)
        return replace(self, samples=samples, counts=self.counts | {Status.SCANNED: len(samples)})

    def views(self, size: int, rows: Sequence[int] | NDArray[np.integer] | None = None) -> Pixels:
        """The images as squares, (m, size, size, 3), in canonical order or in that of ``rows``."""
        chosen = np.arange(len(self.samples)) if rows is None else np.asarray(rows, np.int64)
        views = np.empty((len(chosen), size, size, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for place, row in enumerate(chosen):
            places.setdefault(int(row), []).append(place)
        for row, view in self.each_view(size, list(places)):
            views[places[row]] = view
        return views

    def each_view(self, size: int, rows: Sequence[int] | NDArray[np.integer]) -> Iterator[tuple[int, Pixels]]:
        """Row and image, as a square, of every chosen row: one at a time, in whatever order they are at hand."""
        assert self.holds == "images"
        for row, pixels in self._decoded(rows):
            yield row, fit(pixels, size)

    def each_image(self, rows: Sequence[int] | NDArray[np.integer]) -> Iterator[tuple[int, Pixels]]:
        """Row and image, at its own size, of every chosen row, in whatever order they are at hand."""
        assert self.holds == "images"
        return self._decoded(rows)

    def vectors(self) -> NDArray[np.float32]:
        """Ready-made vectors, (n, d), in canonical order."""
        assert self.holds == "vectors"
        rows = np.empty((len(self.samples), self.samples[0].size[0] if self.samples else 0), np.float32)
        for row, vector in self._decoded(range(len(self.samples))):
            rows[row] = vector
        return rows

    def _decoded(self, rows: Sequence[int] | NDArray[np.integer]) -> Iterator[tuple[int, Decoded]]:
        if self._kept is None:
            yield from self._again(rows)
            return
        for row in rows:
            yield int(row), self._kept[self.samples[row].digest]

    def _again(self, rows: Sequence[int] | NDArray[np.integer]) -> Iterator[tuple[int, Decoded]]:
        """The chosen items read once more, each checked to be what was scanned."""
        missing = {self.samples[row].id: int(row) for row in rows}
        wanted = None if len(missing) == len(self.samples) else frozenset(missing)
        for found in self._source.stream(wanted):
            row = missing.get(found.id)
            if row is None:
                continue
            if found.content is None or digest_of(found.content) != self.samples[row].digest:
                raise _changed(found.id)
            del missing[found.id]
            yield row, _decode(found.content, self.holds, self._limits)
        if missing:
            raise _changed(next(iter(missing)))


def take_census(
    source: Source,
    *,
    limits: Limits = LIMITS,
    progress: Progress = SILENT,
    keep_bytes: int = KEEP_BYTES,
    store: Store | None = None,
) -> Census:
    """Read and digest everything in ``source`` once, and decode what the store does not know."""
    samples: list[Sample] = []
    others: list[Found] = []
    kept: dict[str, Decoded] | None = {}
    kept_bytes = 0
    facts = Facts.of(store if source.holds == "images" else None, limits)
    with progress.stage("reading", None) as advance:
        for result, decoded in _examined(source, limits, facts):
            if isinstance(result, Found):
                others.append(result)
            else:
                samples.append(result)
                if kept is not None and result.digest not in kept:
                    kept_bytes += 0 if decoded is None else decoded.nbytes
                    if decoded is None or kept_bytes > keep_bytes:
                        kept = None
                    else:
                        kept[result.digest] = decoded
            advance(1)
    facts.keep()
    return census_of(source, samples, others, limits, kept)


def census_of(
    source: Source,
    samples: Sequence[Sample],
    others: Sequence[Found],
    limits: Limits,
    kept: dict[str, Decoded] | None = None,
) -> Census:
    """What was found, put into canonical order and counted."""
    names = source.class_names

    def place(sample: Sample) -> tuple[str, str, str]:
        return sample.digest, "" if sample.label is None else names[sample.label], sample.id

    counts = Counter(other.status for other in others)
    return Census(
        holds=source.holds,
        class_names=names,
        samples=tuple(sorted(samples, key=place)),
        others=tuple(others),
        counts={status: counts[status] for status in Status} | {Status.SCANNED: len(samples)},
        _source=source,
        _limits=limits,
        _kept=kept,
    )


def _examined(source: Source, limits: Limits, facts: Facts) -> Iterator[tuple[Sample | Found, Decoded | None]]:
    """Every item as the sample it turns out to be, or with its final status; and what was decoded, if it was."""
    if source.holds == "vectors":
        for found in source.stream():
            content = found.content
            yield (
                (found, None) if content is None else (_sample_of_vector(found, content), np.frombuffer(content, "<f4"))
            )
        return
    with decoder(limits, look_at) as lent:
        waiting: deque[_Waiting] = deque()
        for found in source.stream():
            digest = "" if found.content is None else digest_of(found.content)
            sent = found.content is not None and facts.get(digest) is None and could_cost_too_much(found.content)
            if sent and found.content is not None:
                lent.send(found.content)
            waiting.append(_Waiting(replace(found, content=None) if sent else found, digest, sent))
            while waiting and (lent.idle or len(waiting) > _AHEAD or lent.waiting > _AHEAD_BYTES):
                yield _settled(waiting.popleft(), lent, limits, facts)
        while waiting:
            yield _settled(waiting.popleft(), lent, limits, facts)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An item whose turn has not come."""

    found: Found
    digest: str  # "" where there is no content
    sent: bool  # to the other process, which has its content


def _settled(item: _Waiting, lent: Decoder, limits: Limits, facts: Facts) -> tuple[Sample | Found, Pixels | None]:
    found, digest, pixels = item.found, item.digest, None
    if not digest:
        return found, None
    fact = None if item.sent else facts.get(digest)
    if fact is None:
        fact, pixels = lent.receive() if found.content is None else look_at(found.content, limits)
        if fact.status is not Status.REFUSED:  # "does not fit into memory" may be true only today
            facts.learn(digest, fact)
    if fact.status is not Status.SCANNED:
        return replace(found, content=None, status=fact.status, reason=fact.reason), None
    return Sample(found.id, digest, fact.view_digest, found.label, fact.size), pixels


def _sample_of_vector(found: Found, content: bytes) -> Sample:
    digest = digest_of(content)
    return Sample(found.id, digest, digest, found.label, (len(content) // 4, 1))


def look_at(content: bytes, limits: Limits) -> tuple[Fact, Pixels | None]:
    """What stored bytes come to, and their pixels if they are an image."""
    try:
        pixels = decode(content, limits)
    except Unreadable as why:
        return Fact(Status.UNREADABLE, str(why)), None
    except Refused as why:
        return Fact(Status.REFUSED, str(why)), None
    height, width, _ = pixels.shape
    return Fact(Status.SCANNED, "", view_digest_of(pixels), (width, height)), pixels


def _decode(content: bytes, holds: Holds, limits: Limits) -> Decoded:
    return decode(content, limits) if holds == "images" else np.frombuffer(content, "<f4")


def _changed(item: str) -> SourceError:
    return SourceError(f"{item!r} changed during the scan: scan again when nobody writes to the source")
