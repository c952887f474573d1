"""What was found out about each image, by content: a table that travels with whoever asks it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: In place of a label: the set has none.
NO_LABEL = -1
_DIGEST = pa.binary(32)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of one row."""

    suspicious: bool
    score: float  # higher = worse
    kind: str


@dataclass(frozen=True, eq=False)
class Lookup:
    """Everything that was scanned, ordered by what it is looked up by.

    It is kept as one string of bytes: the same in every process, hashed and sent in no time, and read where it lies,
    so that there is nothing to build first.
    """

    views: NDArray[np.bytes_]  # (n,) digests of decoded images, ascending; rows below belong to these
    labels: NDArray[np.int32]
    suspicious: NDArray[np.uint8]
    scores: NDArray[np.float32]
    kinds: NDArray[np.int32]  # places in kind_names
    kind_names: list[str]
    stored: NDArray[np.bytes_]  # (n,) digests of stored bytes, ascending
    stored_rows: NDArray[np.int32]  # the row of each

    @staticmethod
    def packed(verdicts: pa.Table) -> bytes:
        """The lookup for the table of a verdict; of samples that are the same, the worst speaks for all."""
        scanned = verdicts.filter(verdicts["view_digest"].is_valid())
        views, stored = _digests(scanned["view_digest"]), _digests(scanned["digest"])
        labels = scanned["label"].fill_null(NO_LABEL).to_numpy()
        suspicious = scanned["suspicious"].to_numpy().astype(np.uint8)
        scores = scanned["score"].to_numpy().astype(np.float32)
        rows = np.lexsort((-scores, 1 - suspicious, labels, views))
        place = np.empty(len(rows), np.int32)
        place[rows] = np.arange(len(rows))
        by_stored = np.argsort(stored, kind="stable")
        table = pa.table(
            {
                "view": _binary(views[rows]),
                "label": pa.array(labels[rows], pa.int32()),
                "suspicious": suspicious[rows],
                "score": scores[rows],
                "kind": scanned["kind"].take(pa.array(rows)).combine_chunks().dictionary_encode(),
                "stored": _binary(stored[by_stored]),
                "stored_row": place[by_stored],
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    @classmethod
    def unpacked(cls, content: bytes) -> Lookup:
        """The lookup in these bytes; nothing is copied."""
        (batch,) = pa.ipc.open_stream(pa.py_buffer(content))
        column = {name: batch.column(place) for place, name in enumerate(batch.schema.names)}
        return cls(
            views=_keys(column["view"]),
            labels=column["label"].to_numpy(),
            suspicious=column["suspicious"].to_numpy(),
            scores=column["score"].to_numpy(),
            kinds=column["kind"].indices.to_numpy(),
            kind_names=column["kind"].dictionary.to_pylist(),
            stored=_keys(column["stored"]),
            stored_rows=column["stored_row"].to_numpy(),
        )

    def view_of(self, digest: str) -> str | None:
        """The view digest of stored bytes that were scanned; what is known need not be decoded again."""
        places = _range(self.stored, digest)
        return self._view(self.stored_rows[places[0]]) if places else None

    def knows(self, view_digest: str) -> bool:
        """Whether the image was scanned, under whatever label."""
        return bool(_range(self.views, view_digest))

    def find(self, view_digest: str, label: int | None) -> Judged | None:
        """What was said of the image under this label; None if it was not scanned under it."""
        for row in _range(self.views, view_digest):
            if self.labels[row] == label:
                kind = self.kind_names[self.kinds[row]]
                return Judged(bool(self.suspicious[row]), float(self.scores[row]), kind)
        return None

    def _view(self, row: int) -> str:
        return bytes(self.views[row]).ljust(32, b"\0").hex()  # numpy drops zeros at the end


def _range(keys: NDArray[np.bytes_], digest: str) -> range:
    """The places of a digest among keys in ascending order."""
    key = np.array(bytes.fromhex(digest), keys.dtype)
    return range(int(keys.searchsorted(key, "left")), int(keys.searchsorted(key, "right")))


def _digests(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Digests in hexadecimal as their bytes."""
    return np.frombuffer(bytes.fromhex("".join(column.to_pylist())), "S32")


def _binary(digests: NDArray[np.bytes_]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(_DIGEST, len(digests), [None, pa.py_buffer(digests.tobytes())])


def _keys(column: pa.FixedSizeBinaryArray) -> NDArray[np.bytes_]:
    return np.frombuffer(column.buffers()[1], "S32", count=len(column))
