"""Where samples come from: ``Found``, ``Sample``, the ``Source`` protocol, ``open_source``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import SourceError

Pixels = NDArray[np.uint8]  # (h, w, 3) RGB
#: What the content of an item is: an encoded image, or the bytes of a little-endian float32 vector.
Holds = Literal["images", "vectors"]


class Status(StrEnum):
    """What became of an item; every item found ends as exactly one of these."""

    SCANNED = "scanned"
    UNREADABLE = "unreadable"  # claims to be an image and cannot be decoded
    REFUSED = "refused"  # hostile: a bomb, a link out of the root, a device, ...
    IGNORED = "ignored"  # no image, and never claimed to be one


@dataclass(frozen=True, slots=True)
class Found:
    """One item of a source as it lies there. ``content`` is None unless its status is SCANNED."""

    id: str  # stable and unique: "cat/001.png", "shard.parquet#17"
    label: int | None  # index into Source.class_names
    content: bytes | None
    status: Status
    reason: str = ""  # why it was not scanned, in words


@dataclass(frozen=True, slots=True)
class Sample:
    """One scanned item: who it is, what it holds, what it claims to be."""

    id: str
    digest: str  # sha256 of the stored bytes
    view_digest: str  # sha256 of the decoded RGB pixels and their size; of a vector, the digest itself
    label: int | None
    size: tuple[int, int]  # width, height; of a vector, its length and 1

    @property
    def key(self) -> int:
        """A number that depends on the content alone (seeds batches and subsamples)."""
        return int(self.digest[:16], 16)


#: What a rewrite does with one item: new bytes and label, or None to leave it out of the copy.
Change = tuple[bytes, int | None] | None


class Source(Protocol):
    """A set of images or ready-made vectors, labelled or not, in one of the layouts that users keep them in."""

    uri: str
    holds: Holds
    class_names: tuple[str, ...]  # empty where the source has no labels

    @property
    def root(self) -> Path | None:
        """The folder that the source lies in: nothing may be written below it. None: it lies in memory."""
        ...

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every item found (or only those whose id is wanted), in the source's own order."""
        ...

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """Copy the source, in its own layout, with every readable item passed through ``change``.

        Returns old id -> new id of the items kept. Items that are not SCANNED are left out.
        The destination is complete or absent, whatever happens.
        """
        ...


def digest_of(content: bytes) -> str:
    """The identity of stored bytes."""
    return hashlib.sha256(content).hexdigest()


def view_digest_of(pixels: Pixels) -> str:
    """The identity of a decoded image, by which it is found again once the stored bytes are gone.

    >>> view_digest_of(np.zeros((1, 2, 3), np.uint8))[:8]
    'f582c36a'
    """
    height, width, _ = pixels.shape
    hasher = hashlib.sha256(f"RGB {width}x{height}\n".encode())
    hasher.update(np.ascontiguousarray(pixels).data)
    return hasher.hexdigest()


def open_source(source: Any, *, image_column: str | None = None, label_column: str | None = None) -> Source:
    """The source that a user means: a path in one of the layouts, or a dataset in memory.

    Args:
        source: A folder of images, Parquet (a file, a glob, a folder), a saved dataset, tar shards, ready-made
            vectors (``.npz``, or Parquet with a vector column); or a ``datasets.Dataset`` or ``DatasetDict``.
        image_column: The column that holds the images, or the vectors.
        label_column: The column that holds the labels.
    """
    if not isinstance(source, str | Path):
        from sanitizer.sources.huggingface import MemoryDatasetSource

        return MemoryDatasetSource(source, image_column=image_column, label_column=label_column)
    return _open_path(str(source), image_column, label_column)


def _open_path(uri: str, column: str | None, label_column: str | None) -> Source:
    _expect_path(uri)
    from sanitizer.sources.folder import FolderSource
    from sanitizer.sources.npz import NpzSource
    from sanitizer.sources.parquet import ParquetSource
    from sanitizer.sources.saved import SavedDatasetSource
    from sanitizer.sources.vectors import ParquetVectorSource
    from sanitizer.sources.webdataset import TarSource

    if uri.lower().endswith(".npz"):
        return NpzSource(uri, vector_column=column, label_column=label_column)
    if TarSource.claims(uri):
        return TarSource(uri, label_column=label_column)
    if SavedDatasetSource.claims(uri):
        return SavedDatasetSource(uri, image_column=column, label_column=label_column)
    if ParquetSource.claims(uri):
        if ParquetVectorSource.claims(uri):
            return ParquetVectorSource(uri, vector_column=column, label_column=label_column)
        return ParquetSource(uri, image_column=column, label_column=label_column)
    return FolderSource(uri, label_column=label_column)


def _expect_path(uri: str) -> None:
    """Complain about what can be no path; whether anything lies there is for the sources to say.

    An empty one means the current folder to the operating system and, from a script, a variable that was never set.
    """
    if not uri:
        raise SourceError("expected a path to the data, got an empty one: name a folder or a file")
    try:
        Path(uri).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return
    except OSError as error:
        raise SourceError(f"cannot open {uri[:200]!r} ({error.strerror}): check the path") from None
