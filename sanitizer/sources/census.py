"""The census: one pass over a source that gives every item its final status and every sample its place."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import SourceError
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.ahead import Ahead
from sanitizer.sources.base import Found, Holds, Pixels, Sample, Source, Status, digest_of, view_digest_of
from sanitizer.sources.decode import LIMITS, Limits, Refused, Unreadable, decode, fit
from sanitizer.sources.facts import Fact, Facts
from sanitizer.sources.isolated import Decoder, could_cost_too_much, decoder
from sanitizer.sources.seen import MODEST, Decoded, Held, Look, Onlooker, is_modest
from sanitizer.store import Store

#: Decoded images are kept while they fit into this much; beyond, they are decoded again when they are needed.
KEEP_BYTES = 512 * 2**20
# So many items are read ahead of one that is decoded in another process: both go on at the same time.
_AHEAD = 64
_AHEAD_BYTES = 16 * 2**20


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
    _squares: dict[int, dict[str, Pixels]] = field(repr=False)  # side -> digest -> view, where those fit

    @property
    def enough(self) -> int | None:
        """To which side JPEGs were decoded at a fraction of their size, if they were."""
        return self._limits.enough

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

    def each_view(
        self, size: int, rows: Sequence[int] | NDArray[np.integer], *, resting: bool = False
    ) -> Iterator[tuple[int, Pixels]]:
        """Row and image, as a square, of every chosen row: one at a time, in whatever order they are at hand.

        ``resting``: nothing is decoded ahead while whoever asks works on one, for that needs every core.
        """
        assert self.holds == "images"
        if self._kept is None and size in self._squares:
            held = self._squares[size]
            yield from ((int(row), held[self.samples[row].digest]) for row in rows)
        elif self._kept is None:
            yield from self._again(rows, lambda pixels: fit(pixels, size), resting=resting)
        else:
            yield from ((row, fit(pixels, size)) for row, pixels in self._decoded(rows))

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

    def _again(
        self,
        rows: Sequence[int] | NDArray[np.integer],
        made: Callable[[Decoded], Decoded] = lambda decoded: decoded,
        *,
        resting: bool = False,
    ) -> Iterator[tuple[int, Decoded]]:
        """The chosen items read once more, each checked to be what was scanned, and what is made of them."""
        waiting: deque[tuple[int, Callable[[], Decoded]]] = deque()
        with Ahead[Decoded](lambda decoded: decoded.nbytes) as helpers:
            for row, content in self._found_again(rows):
                work = partial(self._made, content, made)
                modest = is_modest(content, self.samples[row].size)
                waiting.append((row, helpers.ask(work) if modest else work))
                most = _AHEAD if modest and helpers.threads and helpers.waiting <= _AHEAD_BYTES else 0
                while len(waiting) > most:
                    row, promise = waiting.popleft()
                    decoded = promise()
                    with helpers.resting(resting):
                        yield row, decoded
            for row, promise in waiting:
                decoded = promise()
                with helpers.resting(resting):
                    yield row, decoded

    def _made(self, content: bytes, made: Callable[[Decoded], Decoded]) -> Decoded:
        return made(decode(content, self._limits) if self.holds == "images" else np.frombuffer(content, "<f4"))

    def _found_again(self, rows: Sequence[int] | NDArray[np.integer]) -> Iterator[tuple[int, bytes]]:
        missing = {self.samples[row].id: int(row) for row in rows}
        wanted = None if len(missing) == len(self.samples) else frozenset(missing)
        for found in self._source.stream(wanted):
            row = missing.get(found.id)
            if row is None:
                continue
            if found.content is None or digest_of(found.content) != self.samples[row].digest:
                raise _changed(found.id)
            del missing[found.id]
            yield row, found.content
        if missing:
            raise _changed(next(iter(missing)))


def take_census(
    source: Source,
    *,
    limits: Limits = LIMITS,
    progress: Progress = SILENT,
    keep_bytes: int = KEEP_BYTES,
    store: Store | None = None,
    onlookers: Sequence[Onlooker] = (),
    sides: Callable[[], Sequence[int]] = list,
) -> Census:
    """Read and digest everything in ``source`` once, and decode what the store does not know.

    What is decoded is shown to ``onlookers``. Where not all of it fits into memory, squares of these ``sides`` may, so
    that whoever asks for such views later does not make everything be decoded again.
    """
    samples: list[Sample] = []
    others: list[Found] = []
    held = Held(keep_bytes, sides if source.holds == "images" else list)
    facts = Facts.of(store if source.holds == "images" else None, limits)
    with progress.stage("reading", None) as advance:
        for result, look in _examined(source, limits, facts, held, onlookers):
            if isinstance(result, Found):
                others.append(result)
            else:
                samples.append(result)
                held.add(result.digest, look)
            advance(1)
    facts.keep()
    return census_of(source, samples, others, limits, held.whole, held.squares)


def census_of(
    source: Source,
    samples: Sequence[Sample],
    others: Sequence[Found],
    limits: Limits,
    kept: dict[str, Decoded] | None = None,
    squares: dict[int, dict[str, Pixels]] | None = None,
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
        _squares=squares or {},
    )


def _examined(
    source: Source, limits: Limits, facts: Facts, held: Held, onlookers: Sequence[Onlooker]
) -> Iterator[tuple[Sample | Found, Look | None]]:
    """Every item as the sample it turns out to be, or with its final status; and what it looks like, if that is new."""
    if source.holds == "vectors":
        yield from map(_vector, source.stream())
        return
    with decoder(limits, look_at) as lent, Ahead(_bytes_of) as helpers:
        reading = _Reading(limits, facts, held, onlookers, lent, helpers)
        for found in source.stream():
            reading.take(found)
            while not reading.may_go_on:
                yield reading.settled()
        while reading.waiting:
            yield reading.settled()
    for onlooker in onlookers:
        onlooker.seen_all()


@dataclass
class _Reading:
    """One pass over a source: items are settled in its order, and some behind them are decoded meanwhile."""

    limits: Limits
    facts: Facts
    held: Held
    onlookers: Sequence[Onlooker]
    lent: Decoder
    helpers: Ahead[Look | None]
    waiting: deque[_Waiting] = field(default_factory=deque)

    def take(self, found: Found) -> None:
        """An item begins its way: what is new in it is being decoded."""
        content = found.content
        digest = "" if content is None else digest_of(content)
        if content is None or self.facts.get(digest) is not None:
            self.waiting.append(_Waiting(found, digest))
            return
        sides = self.held.wanted.union(onlooker.side for onlooker in self.onlookers)
        if could_cost_too_much(content):
            self.lent.send(content)
            self.waiting.append(_Waiting(replace(found, content=None), digest, sent=True))
        elif self.helpers.threads and not any(digest == other.digest for other in self.waiting):
            whole = self.held.whole is not None
            promise = self.helpers.ask(partial(_looked_modestly, content, self.limits, sides, whole=whole))
            self.waiting.append(_Waiting(found, digest, promise=promise))
        else:
            self.waiting.append(_Waiting(found, digest))

    @property
    def may_go_on(self) -> bool:
        """Whether to read on before the first item is settled: it is being worked on, and memory suffices."""
        if not self.waiting:
            return True
        first, waiting = self.waiting[0], self.lent.waiting + self.helpers.waiting
        busy = first.sent or first.promise is not None
        return busy and len(self.waiting) <= _AHEAD and waiting <= _AHEAD_BYTES

    def settled(self) -> tuple[Sample | Found, Look | None]:
        """The first item with its final status, and what it looks like, if that is new."""
        item, look = self.waiting.popleft(), None
        found, digest = item.found, item.digest
        if not digest:
            return found, None
        fact = None if item.sent or item.promise else self.facts.get(digest)
        if fact is None:
            look = self._received(item)
            fact = look.fact
            if fact.status is not Status.REFUSED:  # "does not fit into memory" may be true only today
                self.facts.learn(digest, fact)
        if fact.status is not Status.SCANNED:
            return replace(found, content=None, status=fact.status, reason=fact.reason), None
        if look is not None:
            self._show(digest, look)
        return Sample(found.id, digest, fact.view_digest, found.label, fact.size), look

    def _received(self, item: _Waiting) -> Look:
        """What an item comes to, wherever it is decoded."""
        if item.sent:
            return Look(*self.lent.receive())
        look = item.promise() if item.promise else None
        if look is None:
            assert item.found.content is not None
            look = Look(*look_at(item.found.content, self.limits))
        return look

    def _show(self, digest: str, look: Look) -> None:
        for onlooker in self.onlookers:
            with self.helpers.resting(onlooker.needs_every_core):
                onlooker.see(digest, look.square(onlooker.side))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An item whose turn has not come."""

    found: Found
    digest: str  # "" where there is no content
    sent: bool = False  # to the other process, which has its content
    promise: Callable[[], Look | None] | None = None  # of a helper in this one


def _vector(found: Found) -> tuple[Sample | Found, Look | None]:
    content = found.content
    if content is None:
        return found, None
    sample = _sample_of_vector(found, content)
    return sample, Look(Fact(Status.SCANNED, "", sample.view_digest, sample.size), np.frombuffer(content, "<f4"))


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


def _looked_modestly(content: bytes, limits: Limits, sides: Collection[int], *, whole: bool) -> Look | None:
    """The same, with squares, of images that may be decoded beside others; None of those that cost too much for that.

    ``whole``: the pixels are needed, too.
    """
    fact, pixels = look_at(content, replace(limits, max_pixels=min(limits.max_pixels, MODEST)))
    if fact.status is Status.REFUSED and limits.max_pixels > MODEST:
        return None
    if pixels is None:
        return Look(fact)
    return Look(fact, pixels if whole else None, {side: fit(pixels, side) for side in sides})


def _bytes_of(look: Look | None) -> int:
    return 0 if look is None else look.nbytes


def _changed(item: str) -> SourceError:
    return SourceError(f"{item!r} changed during the scan: scan again when nobody writes to the source")
