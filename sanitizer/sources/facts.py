"""Facts about contents that were decoded before: an image that the store knows is not decoded to be counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import metadata

import pyarrow as pa

from sanitizer.sources.base import Status
from sanitizer.sources.decode import VIEW, Limits
from sanitizer.store import Shelf, Store, implementation

#: New facts are kept in shards of so many, so that an interrupted reading goes on near where it stopped.
SHARD_ROWS = 8192
_SCHEMA = pa.schema(
    [
        ("digest", pa.binary(32)),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("view_digest", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What decoding some bytes came to: an image of a size and a view, or a status and its reason."""

    status: Status
    reason: str = ""
    view_digest: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass
class Facts:
    """Known contents by digest; without a shelf it learns nothing and knows nothing."""

    shelf: Shelf | None = None
    _known: dict[str, Fact] = field(default_factory=dict)
    _new: dict[str, Fact] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store | None, limits: Limits) -> Facts:
        """The facts that hold under these limits, for this decoder."""
        if store is None:
            return cls()
        shelf = store.shelf(
            "views", view=VIEW, limits=asdict(limits), pillow=metadata.version("pillow"),
            code=implementation("sanitizer.sources.decode", "sanitizer.sources.encode"),
        )  # fmt: skip
        return cls(shelf, {digest: fact for table in shelf.tables() for digest, fact in _facts_of(table)})

    def get(self, digest: str) -> Fact | None:
        """What is known of a content."""
        return self._known.get(digest)

    def learn(self, digest: str, fact: Fact) -> None:
        """Remember a content that had to be decoded."""
        if self.shelf is None:
            return
        self._known[digest] = self._new[digest] = fact
        if len(self._new) >= SHARD_ROWS:
            self.keep()

    def keep(self) -> None:
        """Put what was learnt into the store."""
        if self.shelf is not None and self._new:
            self.shelf.put(_table_of(self._new))
            self._new = {}


def _facts_of(table: pa.Table) -> list[tuple[str, Fact]]:
    if table.schema != _SCHEMA:
        return []
    digests, statuses, reasons, views, widths, heights = (column.to_pylist() for column in table.columns)
    return [
        (digest.hex(), Fact(Status(status), reason, view.hex() if view else "", (width, height)))
        for digest, status, reason, view, width, height in zip(
            digests, statuses, reasons, views, widths, heights, strict=True
        )
    ]


def _table_of(facts: dict[str, Fact]) -> pa.Table:
    rows = [
        (bytes.fromhex(digest), str(f.status), f.reason, bytes.fromhex(f.view_digest) or None, *f.size)
        for digest, f in facts.items()
    ]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=_SCHEMA)
