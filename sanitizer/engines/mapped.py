"""Spaces from what workers saw: the census and the features of one reading, and what pixels say, of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sanitizer.embed.backbone import Backbone, open_backbone
from sanitizer.embed.kept import SHARD_ROWS, keep_space, kept_rows, kept_space
from sanitizer.engines.cluster import Cluster
from sanitizer.engines.looking import KNOWN, Looking, Place, Shrinking, anywhere, identity
from sanitizer.engines.pixels import pixel_space, put_together
from sanitizer.engines.references import blocks_of
from sanitizer.errors import SourceError
from sanitizer.extraction import Decoded, Extraction, pixel_side
from sanitizer.sources.base import Found, Sample, Source, Status
from sanitizer.sources.census import Census, census_of
from sanitizer.sources.facts import Fact, Facts

#: Where a sample's features lie that no store has: network, then digest -> a row of float16, as bytes.
Features = dict[str, dict[str, bytes]]


@dataclass(frozen=True)
class Seen:
    """What one reading of everything left here, besides the census."""

    place: Place
    blocks: list[pa.Table]
    backbones: Mapping[str, Backbone]
    features: Features


@dataclass
class _Tally:
    """What became of the items so far."""

    facts: Facts
    networks: tuple[str, ...]
    features: Features
    samples: list[Sample] = field(default_factory=list)
    others: list[tuple[int, Found]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        if row["status"] == Status.SCANNED:
            fact = Fact(Status.SCANNED, "", row["view_digest"], (row["width"], row["height"]))
            self.facts.learn(row["digest"], fact)
            for number, network in enumerate(self.networks):
                self.features[network][row["digest"]] = row[f"feature{number}"]
        elif row["status"] == KNOWN:
            known = self.facts.get(row["digest"])
            assert known is not None  # it is one of those that were said to be known
            fact = known
        else:
            fact = Fact(Status(row["status"]), row["reason"])
        if fact.status is Status.SCANNED:
            self.samples.append(Sample(row["id"], row["digest"], fact.view_digest, row["label"], fact.size))
        else:
            self.others.append((row["place"], Found(row["id"], row["label"], None, fact.status, fact.reason)))


@dataclass(frozen=True)
class Seeing:
    """One reading of everything, by whoever has the time: read, decoded and embedded once."""

    cluster: Cluster
    place: Place
    networks: tuple[str, ...]
    extraction: Extraction  # as it will be asked, where images are seen here

    def see(self, source: Source) -> tuple[Census, Seen]:
        """The census, and what the networks saw on the way."""
        backbones = {name: open_backbone(name, device=self.extraction.device) for name in self.networks}
        facts = Facts.of(self.extraction.store, self.place.limits)
        tally = _Tally(facts, self.networks, {name: {} for name in self.networks})
        blocks = [
            pa.table({"id": pa.array(ids, pa.string()), "place": [number] * len(ids)})
            for number, ids in enumerate(blocks_of(source))
        ]
        total = sum(map(len, blocks))
        with self.extraction.progress.stage("decoding and embedding", total) as advance:
            for table in self.cluster.results(blocks, Looking, **self._looking(backbones, facts)):
                for row in table.to_pylist():
                    tally.add(row)
                advance(len(table))
        facts.keep()
        others = [found for _, found in sorted(tally.others, key=lambda other: other[0])]
        found = census_of(source, tally.samples, others, self.place.limits)
        if sum(found.counts.values()) != total:
            raise SourceError("the source changed during the scan: scan again when nobody writes to it")
        return found, Seen(self.place, blocks, backbones, tally.features)

    def _looking(self, backbones: Mapping[str, Backbone], facts: Facts) -> dict[str, Any]:
        """What the workers are told."""
        known = _known(facts, [self.extraction.rows_shelf(backbone) for backbone in backbones.values()])
        return {
            "place": self.place, "networks": self.networks, "device": self.extraction.device.type,
            "expected": [identity(backbone) for backbone in backbones.values()],
            "known": np.sort(np.array([bytes.fromhex(digest) for digest in known], "S32")),
        }  # fmt: skip


def _known(facts: Facts, shelves: list[Any]) -> set[str]:
    """Contents that need no second look: the store has what they are, and what every network saw."""
    embedded = [
        {digest.hex() for table in shelf.tables() for digest in table["digest"].to_pylist()}
        for shelf in shelves
        if shelf is not None
    ]
    return {digest for digest in set.intersection(*embedded) if facts.get(digest)} if embedded else set()


@dataclass(frozen=True, kw_only=True)
class Mapped(Extraction):
    """As on one machine, but that images stay with the workers."""

    cluster: Cluster
    seen: Seen

    def _backbone(self, name: str) -> Backbone:
        return self.seen.backbones[anywhere(name)]

    def _frozen(self, census: Census, backbone: Backbone) -> NDArray[np.float16]:
        held = next(self.seen.features[name] for name, one in self.seen.backbones.items() if one is backbone)
        digests = [sample.digest for sample in census.samples]

        def compute(rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
            for start in range(0, len(rows), SHARD_ROWS):
                part = rows[start : start + SHARD_ROWS]
                yield part, np.stack([np.frombuffer(held[digests[row]], np.float16) for row in part])

        with self.timed(f"embedding with {backbone.name}"):
            return kept_rows(self.store, self.rows_shelf(backbone), digests, backbone.width, compute)

    def _of_pixels(self, census: Census, decoded: Decoded) -> dict[str, NDArray[Any]]:  # noqa: ARG002 - not here
        shelves = {space: self.pixel_shelf(census, space) for space in self.pixel_spaces(census)}
        kept = {space: kept_space(shelf) for space, shelf in shelves.items() if shelf}
        spaces = {space: rows for space, rows in kept.items() if rows is not None}
        missing = [space for space in shelves if space not in spaces]
        for space, rows in self._computed(census, missing) if missing else ():
            shelf = shelves[space]
            if shelf:
                keep_space(shelf, rows)
            spaces[space] = rows
        return spaces

    def _computed(self, census: Census, missing: list[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every image once more, small; then each space by one worker that has them all."""
        side, workers = pixel_side(census), self.cluster
        digests = np.array([sample.digest for sample in census.samples], "S64")
        with self.timed("view pixels"), self.progress.stage("view pixels", len(digests)) as advance:
            parts = workers.kept(self.seen.blocks, Shrinking, place=self.seen.place, side=side)
            images = workers.task(put_together, digests, side, *parts)
            labels, keys = workers.put(census.labels()), workers.put(census.keys())
            asked = [
                workers.task(pixel_space, space, images, labels, keys, self.device.type, gpus=workers.gpus)
                for space in missing
            ]
            yield from zip(missing, workers.get(asked), strict=True)
            advance(len(digests))
