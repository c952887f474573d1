"""Ready-made vectors in an ``.npz`` of numpy: one array of rows, and one of labels if there are any."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Holds, Status
from sanitizer.sources.columns import one_line
from sanitizer.sources.metadata import in_order, name_of_label
from sanitizer.sources.vectors import Vectors, checked_label, content_of, finite, put_into
from sanitizer.sources.walk import printable
from sanitizer.writing import whole_folder

LABEL_ARRAYS = ("labels", "label", "y", "targets")
CLASS_NAMES = "class_names"

#: What all arrays of a file may take once they are unpacked.
MAX_BYTES = 16 * 2**30
#: So much may any file unpack to; beyond, no more than so many times what it takes on the disk. Numbers that were
#: measured or computed pack two- or threefold; a thousandfold is a bomb.
_FREE_BYTES = 2**28
_MAX_RATIO = 50


class NpzSource:
    """One ``.npz`` file; row i of its vectors is ``file.npz#i``."""

    holds: Holds = "vectors"

    def __init__(self, uri: str, *, vector_column: str | None = None, label_column: str | None = None) -> None:
        self.uri = uri
        if not Path(uri).is_file():
            raise SourceError(f"expected an .npz file, {uri!r} does not exist or is no regular file: check the path")
        path = Path(uri).absolute()
        self.root = Path(os.path.realpath(path.parent))
        self._name, self._path = path.name, os.path.realpath(path)
        with _opened(self._path, repr(uri)) as arrays:
            self._headers = arrays.headers
            self._vector_key = _vector_key(arrays, vector_column)
            self._vectors: Vectors = finite(arrays.read(self._vector_key), lambda row: repr(self._id(row)))
            self._label_key = _label_key(arrays, label_column, len(self._vectors), self._vector_key)
            self._labels = _labels(arrays, self._label_key, lambda row: repr(self._id(row)))
        self.class_names = self._labels.class_names

    @staticmethod
    def claims(uri: str) -> bool:
        """Whether ``uri`` means an ``.npz`` file."""
        return uri.lower().endswith(".npz") and not Path(uri).is_dir()

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """Every row (or only those whose id is wanted)."""
        for row in range(len(self._vectors)):
            if wanted is None or self._id(row) in wanted:
                yield self._found(row)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """A folder with a file of the same name; every array that has a row for each vector is filtered along."""
        kept: dict[int, tuple[bytes | None, int | None]] = {}
        for row in range(len(self._vectors)):
            found = self._found(row)
            changed = change(found)
            if changed is not None:
                kept[row] = (None if changed[0] == found.content else changed[0], self._checked(changed[1]))
        with whole_folder(destination) as copy, _opened(self._path, repr(self.uri)) as arrays:
            if arrays.headers != self._headers:
                raise SourceError(f"{self.uri!r} changed since it was opened: scan again when nobody writes to it")
            with zipfile.ZipFile(copy / self._name, "x") as file:
                for key in arrays.headers:
                    entry = zipfile.ZipInfo(f"{key}.npy")  # with a date that never varies
                    entry.compress_type = arrays.compression
                    with file.open(entry, "w", force_zip64=True) as member:
                        npy.write_array(member, self._copied(key, arrays.read(key), kept), allow_pickle=False)
        return {self._id(old): self._id(new) for new, old in enumerate(kept)}

    def _id(self, row: int) -> str:
        return f"{printable(self._name)}#{row}"

    def _found(self, row: int) -> Found:
        label = self._labels.rows[row] if self.class_names else None
        return Found(self._id(row), label, content_of(self._vectors[row]), Status.SCANNED)

    def _checked(self, label: int | None) -> int | None:
        if label is None and self.class_names:
            raise UsageError(f"expected a label below {len(self.class_names)}, got None: use an index of class_names")
        return checked_label(label, self.class_names)

    def _copied(self, key: str, array: NDArray[Any], kept: dict[int, tuple[bytes | None, int | None]]) -> NDArray[Any]:
        names_classes = key == CLASS_NAMES and key != self._label_key
        if names_classes or not array.ndim or len(array) != len(self._vectors):
            return array
        array = array[np.fromiter(kept, np.int64, len(kept))]
        if key == self._vector_key:
            put_into(array, [content for content, _ in kept.values()])
        if key == self._label_key:
            values = [self._labels.raw[label] for _, label in kept.values() if label is not None]
            array = _in_type(values, array.dtype) if values else array
        return array


def _in_type(values: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Labels in the type they had, or in a wider one where a class that nobody had needs it."""
    try:
        return np.array(values, dtype)
    except OverflowError:
        return np.array(values, np.int64)


@dataclass(frozen=True, slots=True)
class _Header:
    """What an array says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksum: int  # of the content

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype}"


@dataclass(frozen=True, slots=True)
class _Labels:
    """What the rows claim to be."""

    class_names: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()  # label of each row
    raw: tuple[Any, ...] = ()  # label -> how the file says it


class _Arrays:
    """The arrays of an open file, of which nothing is believed but what adds up."""

    def __init__(self, file: zipfile.ZipFile, where: str, on_disk: int) -> None:
        self.where = where
        self._file = file
        entries = file.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES:
            raise SourceError(f"expected arrays of at most {MAX_BYTES} bytes in {where}, got {size}: split the file")
        if size > max(_FREE_BYTES, _MAX_RATIO * on_disk):
            raise SourceError(
                f"expected arrays that unpack to at most {_MAX_RATIO} times the {on_disk} bytes that {where} takes on "
                f"the disk, got {size} bytes: save it with np.savez"
            )
        self.headers = {entry.filename.removesuffix(".npy"): self._header(entry) for entry in entries}
        if len(self.headers) != len(entries):
            raise ValueError("two arrays of one name")
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        self.compression = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED

    @property
    def found(self) -> str:
        """All arrays, for an error message."""
        return one_line(", ".join(f"{key} ({header})" for key, header in self.headers.items())) or "nothing"

    def read(self, key: str) -> NDArray[Any]:
        """One array as a whole."""
        try:
            with self._file.open(f"{key}.npy") as member:
                array: NDArray[Any] = npy.read_array(member, allow_pickle=False)
                return array
        except Exception as error:
            raise _broken(self.where, error) from None

    def _header(self, entry: zipfile.ZipInfo) -> _Header:
        if not entry.filename.endswith(".npy"):
            raise SourceError(f"expected nothing but arrays in {self.where}, found another file: save it with np.savez")
        with self._file.open(entry) as member:
            if npy.read_magic(member) != (1, 0):  # later ones are for records
                raise ValueError("another version")
            shape, _, dtype = npy.read_array_header_1_0(member)
            if dtype.hasobject:
                key = one_line(entry.filename.removesuffix(".npy"))
                raise SourceError(
                    f"expected numbers or text in {self.where}, found Python objects in {key!r}, which are never "
                    "loaded: save it as another type"
                )
            if min(shape, default=0) < 0 or entry.file_size - member.tell() != math.prod(shape) * dtype.itemsize:
                raise ValueError("another size than it announces")
        return _Header(shape, dtype, entry.CRC)


@contextmanager
def _opened(path: str, where: str) -> Iterator[_Arrays]:
    """The file, looked at again: it may have been exchanged since it was named."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with ExitStack() as opened:
            raw = opened.enter_context(os.fdopen(handle, "rb"))
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("not a regular file")
            arrays = _Arrays(opened.enter_context(zipfile.ZipFile(raw)), where, 512 * found.st_blocks or found.st_size)
            keep = opened.pop_all()
    except SourceError:
        raise
    except Exception as error:  # whatever zipfile and numpy trip over; all of it means one thing
        raise _broken(where, error) from None
    with keep:
        yield arrays


def _broken(where: str, error: Exception) -> SourceError:
    what = error.strerror if isinstance(error, OSError) and error.strerror else "no intact .npz"
    what = "it does not fit into memory" if isinstance(error, MemoryError) else what
    return SourceError(f"cannot read {where} ({what}): replace the file or save it again with np.savez")


def _vector_key(arrays: _Arrays, wanted: str | None) -> str:
    """The array of vectors: the wanted one, or the only one it can be."""
    if wanted is not None and wanted not in arrays.headers:
        raise SourceError(f"expected an array {wanted!r} in {arrays.where}, found {arrays.found}: choose one of these")
    fitting = [key for key, header in arrays.headers.items() if len(header.shape) == 2 and header.dtype.kind == "f"]
    keys = [key for key in fitting if wanted in (None, key)]
    if len(keys) != 1:
        what = f"{wanted!r} to be a 2-D array of floats" if wanted else "one 2-D array of floats (a vector in each row)"
        advice = (
            "convert it, or name another with --image-column" if wanted or not keys else "name one with --image-column"
        )
        raise SourceError(f"expected {what} in {arrays.where}, found {arrays.found}: {advice}")
    if 0 in arrays.headers[keys[0]].shape:
        raise SourceError(
            f"expected at least one row and one column in {keys[0]!r} of {arrays.where}, found "
            f"{arrays.headers[keys[0]]}: save the vectors again"
        )
    return keys[0]


def _label_key(arrays: _Arrays, wanted: str | None, rows: int, vectors: str) -> str | None:
    """The array of labels: the wanted one, or one whose name means it; None if there is none."""
    if wanted is not None and wanted not in arrays.headers:
        raise SourceError(f"expected an array {wanted!r} in {arrays.where}, found {arrays.found}: choose one of these")
    key = wanted or next((key for key in LABEL_ARRAYS if key in arrays.headers and key != vectors), None)
    if key is None:
        return None
    header = arrays.headers[key]
    if header.dtype.kind not in "iuUS" or header.shape != (rows,):
        raise SourceError(
            f"expected {rows} labels (whole numbers or text, one for each vector) in {key!r} of {arrays.where}, found "
            f"{header}: save them again or name another array with --label-column"
        )
    return key


def _labels(arrays: _Arrays, key: str | None, row_at: Callable[[int], str]) -> _Labels:
    """The labels, unless every row says that it has none."""
    if key is None:
        return _Labels()
    raw = arrays.read(key).tolist()
    names = [None if value == -1 else name_of_label(_text(value)) for value in raw]
    if not any(names):
        return _Labels()
    if None in names:
        where = row_at(names.index(None))
        raise SourceError(f"expected a label in every row or in none, found none in {where}: label or remove this row")
    declared = _class_names(arrays) if isinstance(raw[0], int) and key != CLASS_NAMES else ()
    if not declared:
        class_names = in_order(name for name in names if name)
        index = {name: label for label, name in enumerate(class_names)}
        rows = tuple(index[name] for name in names if name)
        said = dict(zip(reversed(rows), reversed(raw), strict=True))
        return _Labels(class_names, rows, tuple(said[label] for label in range(len(class_names))))
    for row, label in enumerate(raw):
        if not 0 <= label < len(declared):
            raise SourceError(
                f"expected labels below {len(declared)}, as there are so many {CLASS_NAMES}, got {label} in "
                f"{row_at(row)}: repair one of the two"
            )
    return _Labels(declared, tuple(raw), tuple(range(len(declared))))


def _class_names(arrays: _Arrays) -> tuple[str, ...]:
    """The names that the file gives to labels 0, 1, ...; none if it has no array of them."""
    header = arrays.headers.get(CLASS_NAMES)
    if header is None:
        return ()
    if header.dtype.kind not in "US" or len(header.shape) != 1 or not header.dtype.itemsize:
        raise SourceError(
            f"expected a 1-D array of text in {CLASS_NAMES!r} of {arrays.where}, found {header}: repair it"
        )
    names = tuple(printable(_text(name)) for name in arrays.read(CLASS_NAMES).tolist())
    if len(set(names)) != len(names):
        raise SourceError(f"expected different {CLASS_NAMES} in {arrays.where}, found one twice: rename it")
    return names


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
