"""The plan: what a scan will need, measured on small parts of it before any of it is done.

The source is listed and digested in full, which is cheap and makes the counts exact. Everything dear is done to a
little: a few images decoded, a few batches trained or embedded, detectors asked about made-up samples.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Graph, MissingEvidence, Neighbors
from sanitizer.pipeline import ScanSettings, choose_detectors, expect_samples, opened, recall_of
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Found, Sample, Source, Status, digest_of, view_digest_of
from sanitizer.sources.census import KEEP_BYTES, Census
from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode, fit
from sanitizer.sources.facts import Fact, Facts
from sanitizer.sources.pooled import PooledSource
from sanitizer.store import Store
from sanitizer.writing import refuse_inside

if TYPE_CHECKING:
    import torch

    from sanitizer.embed.backbone import Backbone
    from sanitizer.embed.probe import ProbePlan
    from sanitizer.extraction import Extraction

#: Images that are decoded to see how long that takes.
SPECIMENS = 64
#: Training steps that are taken: the first ones are slower than all that follow.
WARM_UP, MEASURED = 2, 4
#: Seconds after which a measurement is content with what it has.
PATIENCE = 5.0
#: A pass without gradients takes about this part of a training step.
FORWARD = 1 / 3
#: Rows of a fitted head, rows that ask and that are searched, rows of a class that detectors are asked about.
HEAD_ROWS, ASKING_ROWS, SEARCHED_ROWS, CLASS_ROWS = 2000, 512, 8192, 512
#: Wider spaces are measured at this width; what is done to them grows with its square.
WIDTH = 512
#: What a scanned sample adds to a verdict folder beside its scores, and to the store's facts; as measured.
VERDICT_BYTES, FACT_BYTES = 360, 90
#: A page without samples, and pictures of a usual number of suspects in gallery and page.
REPORT_BYTES, PICTURE_BYTES = 30_000, 500_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a scan will need."""

    samples: int
    bytes: int  # as stored
    known: int  # samples whose content the store has met before
    computed: int  # samples that a network has to look at
    recalled: bool  # the store has the verdict itself
    stages: tuple[tuple[str, float], ...]  # name, seconds
    memory_bytes: int  # at its peak
    disk_bytes: int  # of the verdict folder, and in the store

    @property
    def seconds(self) -> float:
        """The whole scan."""
        return sum(seconds for _, seconds in self.stages)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"{self.samples:,} samples, {quantity(self.bytes)}; {self.known:,} of them known to the store, "
            f"{self.computed:,} to be computed"
        ]
        if self.recalled:
            lines.append("Nothing will be computed: the store has the verdict of this very scan.")
        width = max((len(name) for name, _ in self.stages), default=0)
        lines += [f"{name:<{width}}  {duration(seconds):>11}" for name, seconds in self.stages]
        needs = f"{quantity(self.memory_bytes)} of memory, {quantity(self.disk_bytes)} of disk"
        return [*lines, f"about {duration(self.seconds)}, {needs}"]


def duration(seconds: float) -> str:
    """A time for people, no more exact than an estimate is.

    >>> duration(0.2), duration(42.4), duration(158), duration(9000)
    ('< 1 s', '42 s', '2 min 40 s', '2 h 30 min')
    """
    if seconds < 0.95:
        return "< 1 s"
    if seconds < 95:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        minutes, rest = divmod(round(seconds / 10) * 10, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def quantity(count: float) -> str:
    """Bytes for people.

    >>> quantity(512), quantity(15_000_000), quantity(1.8e9)
    ('512 bytes', '15.0 MB', '1.8 GB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.0f} {unit}" if count >= 99.5 * size else f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def plan_scan(
    source: Any, settings: ScanSettings | None = None, out: str | Path | None = None, progress: Progress = SILENT
) -> Plan:
    """What ``scan`` with the same arguments will need; refuses what it would refuse, and starts nothing."""
    settings = settings or ScanSettings()
    detectors = choose_detectors(settings.detectors)
    store = Store.open(settings.store)
    suspect, trusted = opened(source, settings)
    pool = PooledSource(suspect, trusted) if trusted else suspect
    if store:
        refuse_inside(store.root, suspect.root)
    for one in (suspect, trusted) if out is not None else ():
        refuse_inside(Path(str(out)), one.root if one else None)
    found = survey(pool, store, progress)
    expect_samples(found.census, pool)
    with progress.stage("measuring", None):
        return _Planning(found, settings, detectors, store).plan(suspect.uri)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A source as far as it is known without decoding it: contents new to the store are taken for images like
    those that were decoded."""

    census: Census
    bytes: int
    known: int  # items whose content the store knows
    new: int  # different contents that it does not
    specimens: tuple[NDArray[np.uint8], ...]  # decoded
    listing: float  # seconds to stream and digest everything
    decoding: float  # seconds for one image

    @property
    def kept(self) -> bool:
        """Whether decoded images stay in memory from the first reading on."""
        return not self.known and self.decoded_bytes <= KEEP_BYTES

    @property
    def decoded_bytes(self) -> int:
        """All samples, decoded."""
        depth = 3 if self.census.holds == "images" else 4
        return sum(depth * sample.size[0] * sample.size[1] for sample in self.census.samples)


def survey(source: Source, store: Store | None = None, progress: Progress = SILENT) -> Survey:
    """List and digest everything; decode the ``SPECIMENS`` new contents that come first by digest."""
    items: list[tuple[Found, str, int]] = []  # without content, its digest, its length
    others: list[Found] = []
    chosen: list[tuple[int, str, bytes]] = []  # a heap, its top the last to be wanted
    facts = Facts.of(store if source.holds == "images" else None, LIMITS)
    seen: set[str] = set()
    start = time.perf_counter()
    with progress.stage("listing", None) as advance:
        for found in source.stream():
            advance(1)
            if found.content is None:
                others.append(found)
                continue
            digest = digest_of(found.content)
            items.append((replace(found, content=None), digest, len(found.content)))
            if facts.get(digest) is None and digest not in seen:
                seen.add(digest)
                heapq.heappush(chosen, (-int(digest, 16), digest, found.content))
                if len(chosen) > SPECIMENS:
                    heapq.heappop(chosen)
    listing = time.perf_counter() - start
    if source.holds == "vectors":
        samples = [Sample(item.id, digest, digest, item.label, (size // 4, 1)) for item, digest, size in items]
        return _surveyed(source, samples, others, known=0, new=0, specimens=(), listing=listing, decoding=0.0,
                         size=sum(size for *_, size in items))  # fmt: skip
    examined, specimens, decoding = _examined(chosen)
    samples = []
    guess = _usual(examined.values())
    for item, digest, _ in items:
        fact = facts.get(digest) or examined.get(digest) or guess
        if fact.status is Status.SCANNED:
            samples.append(Sample(item.id, digest, fact.view_digest, item.label, fact.size))
        else:
            others.append(replace(item, status=fact.status, reason=fact.reason))
    known = sum(facts.get(digest) is not None for _, digest, _ in items)
    new = len(seen) if store else len(items)  # without a store copies are decoded each
    return _surveyed(source, samples, others, known=known, new=new, specimens=specimens, listing=listing,
                     decoding=decoding, size=sum(size for *_, size in items))  # fmt: skip


def _surveyed(source: Source, samples: list[Sample], others: list[Found], *, size: int, **rest: Any) -> Survey:
    names = source.class_names
    samples.sort(key=lambda sample: (sample.digest, "" if sample.label is None else names[sample.label], sample.id))
    counts = Counter(other.status for other in others)
    census = Census(
        holds=source.holds, class_names=names, samples=tuple(samples), others=tuple(others),
        counts={status: counts[status] for status in Status} | {Status.SCANNED: len(samples)},
        _source=source, _limits=LIMITS, _kept=None,
    )  # fmt: skip
    return Survey(census=census, bytes=size, **rest)


def _examined(chosen: Sequence[tuple[int, str, bytes]]) -> tuple[dict[str, Fact], tuple[NDArray[np.uint8], ...], float]:
    """What the specimens turn out to be, their pixels, and the seconds that one of them took."""
    facts: dict[str, Fact] = {}
    images = []
    start = time.perf_counter()
    for _, digest, content in chosen:
        try:
            pixels = decode(content, LIMITS)
        except (Unreadable, Refused) as why:
            status = Status.UNREADABLE if isinstance(why, Unreadable) else Status.REFUSED
            facts[digest] = Fact(status, str(why))
            continue
        height, width, _ = pixels.shape
        facts[digest] = Fact(Status.SCANNED, "", view_digest_of(pixels), (width, height))
        images.append(pixels)
        if time.perf_counter() - start > PATIENCE:
            break
    return facts, tuple(images), (time.perf_counter() - start) / max(1, len(facts))


def _usual(facts: Any) -> Fact:
    """What a content is taken for that nobody has looked at: an image of the usual size, if there are any."""
    sizes = np.array([fact.size for fact in facts if fact.status is Status.SCANNED])
    if not len(sizes):
        return next(iter(facts), Fact(Status.UNREADABLE))
    width, height = np.median(sizes, axis=0)
    return Fact(Status.SCANNED, "", "", (int(width), int(height)))


@dataclass
class _Planning:
    """One plan in the making: stages and bytes add up as it goes."""

    found: Survey
    settings: ScanSettings
    detectors: Mapping[str, Detector]
    store: Store | None
    stages: list[tuple[str, float]] = field(default_factory=list)
    held: int = 0  # bytes of memory beside what is in use when everything is loaded and warm
    disk: int = 0
    computed: int = 0

    @property
    def _n(self) -> int:
        return len(self.found.census.samples)

    def plan(self, uri: str) -> Plan:
        census = self.found.census
        extract = self._extraction()
        recalled = recall_of(self.store, census, self.settings, self.detectors, uri)
        if recalled:
            self.stages.append(("reading", self.found.listing))
            memory = _in_use()
        else:
            self._reading()
            width, spaces = self._spaces(extract)
            memory = _in_use()
            self._graphs(width, spaces, str(extract.device))
            self._detectors(width, spaces)
            memory += self.held + self._judging_bytes(width, spaces)
        return Plan(
            samples=self._n, bytes=self.found.bytes, known=self._n if recalled else self.found.known,
            computed=self.computed, recalled=recalled, stages=tuple(self.stages), memory_bytes=memory,
            disk_bytes=self.disk + self._folder_bytes() * (1 if recalled or not self.store else 2),
        )  # fmt: skip

    def _extraction(self) -> Extraction:
        start = time.perf_counter()
        from sanitizer.embed.device import resolve_device
        from sanitizer.evidence import build_evidence  # noqa: F401 - loaded here because a scan loads it
        from sanitizer.extraction import Extraction

        settings = self.settings
        extract = Extraction(
            model=settings.model, reference=settings.reference, budget=settings.budget, seed=settings.seed,
            device=resolve_device(settings.device), store=self.store,
        )  # fmt: skip
        extract.expect(self.found.census)
        self.stages.append(("starting", time.perf_counter() - start))
        return extract
