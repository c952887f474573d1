"""What a worker does with a block of names: read, digest, decode, look, each item once; it has never met Ray."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sanitizer.errors import UsageError
from sanitizer.record import version_of
from sanitizer.sources.base import Change, Found, Holds, Pixels, Sample, Source, Status, digest_of, open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.decode import Limits
from sanitizer.sources.pooled import PooledSource

if TYPE_CHECKING:
    from sanitizer.embed.backbone import Backbone

#: Items that are held at once, encoded and decoded, and how many bytes of them.
HELD_ITEMS, HELD_BYTES = 64, 64 * 2**20
#: Squares that wait for the network, at least: full batches waste nothing.
WAITING = 512
#: What must be the same on every machine, for the same features to come out.
VERSIONED = ("dataset-sanitizer", "torch", "torchvision", "timm", "pillow", "numpy")
#: In place of a status: the driver's store knows what this content comes to.
KNOWN = "known"


@dataclass(frozen=True)
class Place:
    """Where the data lies, as every machine can open it, and how much one image may cost there."""

    suspect: str
    trusted: str | None
    image_column: str | None
    label_column: str | None
    limits: Limits

    def open(self) -> Source:
        """The same source as the driver's: same ids, same labels."""
        columns = {"image_column": self.image_column, "label_column": self.label_column}
        suspect = open_source(self.suspect, **columns)
        return PooledSource(suspect, open_source(self.trusted, **columns)) if self.trusted else suspect


@dataclass
class Looking:
    """Each item of a block with its final status, and what frozen networks see in it."""

    place: Place
    networks: tuple[str, ...]
    device: str
    expected: list[dict[str, Any]]  # of each network, as the driver has it
    known: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, "S32"))  # sorted digests

    def __call__(self, block: pa.Table) -> pa.Table:
        """One row an item; features are rows of float16, as bytes."""
        place, names = block["place"][0].as_py(), frozenset(block["id"].to_pylist())
        rows: list[dict[str, Any]] = []
        waiting: list[tuple[dict[str, Any], list[Pixels]]] = []
        for held in _at_a_time(self._new(self._source.stream(names), rows), HELD_ITEMS, HELD_BYTES):
            census = take_census(Held(held, self._source), limits=self.place.limits)
            rows += [_row(other.id, other.label, other.status, reason=other.reason) for other in census.others]
            views = self._squares(census.samples, census.each_view)
            for number, sample in enumerate(census.samples):
                rows.append(_row_of(sample))
                waiting.append((rows[-1], views[number]))
            if len(waiting) >= WAITING:
                self._look(waiting)
        self._look(waiting)
        return pa.Table.from_pylist([row | {"place": place} for row in rows], schema(len(self.networks)))

    @functools.cached_property
    def _source(self) -> Source:
        return self.place.open()

    @functools.cached_property
    def _backbones(self) -> list[Backbone]:
        import torch

        from sanitizer.embed.backbone import open_backbone

        found = [open_backbone(name, device=torch.device(self.device)) for name in self.networks]
        for backbone, wanted in zip(found, self.expected, strict=True):
            have = identity(backbone)
            for part in wanted:
                if have.get(part) != wanted[part]:
                    raise UsageError(
                        f"expected {part} {wanted[part]!r} of {backbone.name} on every machine, as where the scan was "
                        f"started, one has {have.get(part)!r}: give all machines the same packages and processors"
                    )
        return found

    def _new(self, items: Iterable[Found], rows: list[dict[str, Any]]) -> Iterator[Found]:
        """The items that nobody has looked at before; the others become rows as they are."""
        for found in items:
            digest = "" if found.content is None or not len(self.known) else digest_of(found.content)
            if digest and self._knows(bytes.fromhex(digest)):
                rows.append(_row(found.id, found.label, KNOWN, digest=digest))
            else:
                yield found

    def _knows(self, digest: bytes) -> bool:
        wanted = np.array(digest, "S32")
        place = int(np.searchsorted(self.known, wanted))
        return place < len(self.known) and bool(self.known[place] == wanted)

    def _squares(
        self, samples: tuple[Sample, ...], each_view: Callable[..., Iterator[tuple[int, Pixels]]]
    ) -> list[list[Pixels]]:
        """Of every sample, the square that each network wants."""
        squares: list[list[Pixels]] = [[] for _ in samples]
        for backbone in self._backbones:
            for row, view in each_view(backbone.side, range(len(samples))):
                squares[row].append(view)
        return squares

    def _look(self, waiting: list[tuple[dict[str, Any], list[Pixels]]]) -> None:
        for number, backbone in enumerate(self._backbones):
            if waiting:
                features = backbone.embed(np.stack([views[number] for _, views in waiting]))
                for (row, _), feature in zip(waiting, features, strict=True):
                    row[f"feature{number}"] = feature.tobytes()
        waiting.clear()


@dataclass
class Shrinking:
    """The images of a block as small squares, for what pixels say without a network."""

    place: Place
    side: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Digest and pixels of every image; whoever puts them together sees whether one is missing."""
        digests: list[str] = []
        pixels: list[bytes] = []
        for held in _at_a_time(self._source.stream(frozenset(block["id"].to_pylist())), HELD_ITEMS, HELD_BYTES):
            census = take_census(Held(held, self._source), limits=self.place.limits)
            for row, view in census.each_view(self.side, range(len(census.samples))):
                digests.append(census.samples[row].digest)
                pixels.append(view.tobytes())
        return pa.table({"digest": pa.array(digests, pa.string()), "pixels": pa.array(pixels, pa.large_binary())})

    @functools.cached_property
    def _source(self) -> Source:
        return self.place.open()


class Held:
    """Some items of a source, in memory: a census of them is that of the source, in part."""

    def __init__(self, items: list[Found], source: Source) -> None:
        self.uri = source.uri
        self.holds: Holds = source.holds
        self.class_names = source.class_names
        self.root: Path | None = source.root
        self._items = items

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every item, or only those whose id is wanted."""
        return (found for found in self._items if wanted is None or found.id in wanted)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:  # noqa: ARG002
        """Not to be had: some items are for reading."""
        raise UsageError(f"expected a whole source to copy, got some items of {self.uri!r}: copy the source")


def anywhere(network: str) -> str:
    """A network's name as workers, who run elsewhere, understand it."""
    return str(Path(network).absolute()) if network.endswith(".safetensors") else network


def identity(backbone: Backbone) -> dict[str, Any]:
    """All that its features depend on, the software around it included."""
    return dict(backbone.facts()) | {name: version_of(name) for name in VERSIONED}


def schema(networks: int) -> pa.Schema:
    """What a worker says of each item."""
    texts = ("id", "status", "reason", "digest", "view_digest")
    return pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("label", pa.int64()), ("width", pa.int64()), ("height", pa.int64()), ("place", pa.int64()),
            *((f"feature{number}", pa.large_binary()) for number in range(networks)),
        ]
    )  # fmt: skip


def _at_a_time(items: Iterable[Found], count: int, size: int) -> Iterator[list[Found]]:
    held: list[Found] = []
    held_bytes = 0
    for found in items:
        held.append(found)
        held_bytes += len(found.content or b"")
        if len(held) >= count or held_bytes >= size:
            yield held
            held, held_bytes = [], 0
    if held:
        yield held


def _row_of(sample: Sample) -> dict[str, Any]:
    width, height = sample.size
    known = {"digest": sample.digest, "view_digest": sample.view_digest, "width": width, "height": height}
    return _row(sample.id, sample.label, Status.SCANNED, **known)


def _row(name: str, label: int | None, status: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "label": label, "status": str(status), "reason": ""} | more
