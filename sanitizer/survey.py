"""A survey: a source listed and digested in full, and decoded only as far as a plan needs to be sure of itself."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Found, Pixels, Sample, Source, Status, digest_of
from sanitizer.sources.census import KEEP_BYTES, Census, census_of, look_at
from sanitizer.sources.decode import LIMITS
from sanitizer.sources.facts import Fact, Facts
from sanitizer.store import Store

#: Images that are decoded to see what they are and how long that takes...
SPECIMENS = 64
#: ... unless so many seconds have passed.
PATIENCE = 3.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A source as it looks without decoding it."""

    census: Census  # exact if ``exact``; otherwise new contents are taken for images of the usual size
    exact: bool
    bytes: int
    known: int  # items whose content the store has met before
    new: int  # contents that have to be decoded to be counted
    specimens: tuple[Pixels, ...]
    listing: float  # seconds to stream and digest everything
    decoding: float  # seconds to decode one image

    @property
    def decoded_bytes(self) -> int:
        """All samples as arrays."""
        depth = 3 if self.census.holds == "images" else 4
        return sum(depth * sample.size[0] * sample.size[1] for sample in self.census.samples)

    @property
    def kept(self) -> bool:
        """Whether what is decoded stays in memory from the first reading on."""
        return not self.known and self.decoded_bytes <= KEEP_BYTES


@dataclass(frozen=True, slots=True)
class _Item:
    found: Found  # without its content
    digest: str
    length: int


def survey(source: Source, store: Store | None = None, progress: Progress = SILENT) -> Survey:
    """List and digest everything, and decode the ``SPECIMENS`` new contents that come first by digest."""
    facts = Facts.of(store if source.holds == "images" else None, LIMITS)
    items: list[_Item] = []
    others: list[Found] = []
    new: dict[str, int] = {}
    chosen: list[tuple[int, bytes]] = []  # a heap; on its top lies what is wanted least
    start = time.perf_counter()
    with progress.stage("listing", None) as advance:
        for found in source.stream():
            advance(1)
            if found.content is None:
                others.append(found)
                continue
            digest = digest_of(found.content)
            items.append(_Item(replace(found, content=None), digest, len(found.content)))
            if source.holds == "images" and facts.get(digest) is None:
                new[digest] = new.get(digest, 0) + 1
                if new[digest] == 1:
                    heapq.heappush(chosen, (-int(digest, 16), found.content))
                    if len(chosen) > SPECIMENS:
                        heapq.heappop(chosen)
    listing = time.perf_counter() - start
    examined, specimens, decoding = _examined(sorted(content for _, content in chosen))
    known = {item.digest: fact for item in items if (fact := facts.get(item.digest))}
    return Survey(
        census=_census(source, items, others, known | examined),
        exact=source.holds == "vectors" or len(examined) == len(new),
        bytes=sum(item.length for item in items),
        known=sum(item.digest in known for item in items),
        new=len(new) if store else sum(new.values()),  # without a store every copy is decoded
        specimens=specimens, listing=listing, decoding=decoding,
    )  # fmt: skip


def _examined(contents: Iterable[bytes]) -> tuple[dict[str, Fact], tuple[Pixels, ...], float]:
    """What the specimens turn out to be, their pixels, and the seconds that one of them took."""
    facts: dict[str, Fact] = {}
    specimens: list[Pixels] = []
    start = time.perf_counter()
    for content in contents:
        facts[digest_of(content)], pixels = look_at(content, LIMITS)
        if pixels is not None:
            specimens.append(pixels)
        if time.perf_counter() - start > PATIENCE:
            break
    return facts, tuple(specimens), (time.perf_counter() - start) / max(1, len(facts))


def _census(source: Source, items: Iterable[_Item], others: list[Found], facts: dict[str, Fact]) -> Census:
    """The census that reading everything would give, but for contents that nobody has looked at."""
    samples, rest = [], list(others)
    guess = _usual(facts.values())
    for item in items:
        label = item.found.label
        if source.holds == "vectors":
            samples.append(Sample(item.found.id, item.digest, item.digest, label, (item.length // 4, 1)))
            continue
        fact = facts.get(item.digest, guess)
        if fact.status is Status.SCANNED:
            samples.append(Sample(item.found.id, item.digest, fact.view_digest, label, fact.size))
        else:
            rest.append(replace(item.found, status=fact.status, reason=fact.reason))
    return census_of(source, samples, rest, LIMITS)


def _usual(facts: Iterable[Fact]) -> Fact:
    """What a content is taken for that nobody has looked at: an image of the usual size, if there are images."""
    found = list(facts)
    sizes = np.array([fact.size for fact in found if fact.status is Status.SCANNED])
    if not len(sizes):
        return found[0] if found else Fact(Status.UNREADABLE, "nobody has looked")
    width, height = np.median(sizes, axis=0)
    return Fact(Status.SCANNED, "", "", (int(width), int(height)))
