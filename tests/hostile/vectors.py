"""Ready-made vectors from outside: each function writes one ``.npz`` or Parquet and returns what to open."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from tests.hostile.book import Book, dice
from tests.hostile.images import IMAGES
from tests.hostile.tables import stored

#: What vectors come to: how many of each status, or "error".
VECTORS: Book[Callable[[Path], Path]] = Book()
kind = VECTORS.kind

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def packed(**arrays: Any) -> bytes:
    """The arrays as numpy packs them; what numpy would pickle is pickled."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def members(*named: tuple[str, bytes], **options: Any) -> bytes:
    """An archive of members as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, content in named:
            file.writestr(name, content)
    return buffer.getvalue()


def array(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An array with a header of letters."""
    said = header.encode("latin-1") + b"\n"
    return npy.MAGIC_PREFIX + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(said)) + said + body


def _plain(values: Any) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.asarray(values))
    return buffer.getvalue()


def _npz(name: str, outcome: str, content: Callable[[], bytes]) -> None:
    def make(root: Path) -> Path:
        root.mkdir(parents=True)
        (root / "x.npz").write_bytes(content())
        return root / "x.npz"

    VECTORS.add(f"npz_{name}", make, outcome)


def _header(shape: str = "(4, 3)", dtype: str = "'<f4'") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"


# Files.

_npz("of_nothing", "error", lambda: b"")
_npz("of_noise", "error", lambda: dice("npz").randbytes(500))
_npz("that_is_a_pickle", "error", lambda: pickle.dumps([1.0]))
_npz("that_is_a_git_lfs_pointer", "error", IMAGES.pages["git_lfs_pointer"].make)
_npz("of_no_arrays", "error", lambda: members())
_npz("cut_in_half", "error", lambda: (whole := packed(x=ROWS))[: len(whole) // 2])
_npz("with_a_script", "error", lambda: members(("x.npy", _plain(ROWS)), ("run.py", b"print()")))
_npz("with_a_name_that_leads_up", "4 scanned", lambda: members(("../../x.npy", _plain(ROWS))))
_npz("with_a_name_twice", "error", lambda: _twice())
_npz("with_a_broken_checksum", "error", lambda: packed(x=ROWS).replace(struct.pack("<I", _checksum()), b"\1\2\3\4"))
_npz("that_needs_a_password", "error", lambda: _flagged(packed(x=ROWS)))
_npz("in_an_unknown_packing", "error", lambda: _repacked(packed(x=ROWS), 99))
_npz("with_data_before_it", "4 scanned", lambda: b"#!/bin/sh\n" + packed(x=ROWS))


@np.errstate(all="ignore")
def _twice() -> bytes:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return members(("x.npy", _plain(ROWS)), ("x.npy", _plain(ROWS + 1)))


def _checksum() -> int:
    with zipfile.ZipFile(io.BytesIO(packed(x=ROWS))) as file:
        return file.infolist()[0].CRC


def _flagged(content: bytes) -> bytes:
    """Marked as encrypted, in both of its lists."""
    local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
    changed = bytearray(content)
    changed[local + 6] |= 1
    changed[central + 8] |= 1
    return bytes(changed)


def _repacked(content: bytes, method: int) -> bytes:
    changed = bytearray(content)
    changed[content.index(b"PK\3\4") + 8] = changed[content.index(b"PK\1\2") + 10] = method
    return bytes(changed)


# Headers.

_npz("of_python_objects", "error", lambda: packed(x=np.array([[print]], object)))
_npz("of_objects_by_its_header", "error", lambda: members(("x.npy", array(_header(dtype="'|O'"), pickle.dumps(print)))))
_npz("whose_header_is_a_program", "error", lambda: members(("x.npy", array("__import__('os').system('touch canary')"))))
_npz("whose_header_is_100000_brackets_deep", "error", lambda: members(("x.npy", array("(" * 60_000))))
_npz("whose_header_is_too_long", "error", lambda: members(("x.npy", npy.MAGIC_PREFIX + b"\1\0\xff\xff")))
_npz("of_a_later_version", "error", lambda: members(("x.npy", array(_header(), ROWS.tobytes(), b"\2\0"))))
_npz("of_another_version", "error", lambda: members(("x.npy", array(_header(), ROWS.tobytes(), b"\x09\0"))))
for name, shape in {
    "more_rows_than_it_has": "(400, 3)",
    "fewer_rows_than_it_has": "(2, 3)",
    "negative_rows": "(-4, -3)",
    "an_exabyte": "(2**60, 3)",
    "numbers_beyond_all": "(" + "9" * 100 + ", 3)",
    "true": "(True, 12)",
    "a_thousand_axes": "(" + "1, " * 1000 + ")",
    "no_shape": "None",
}.items():
    _npz(f"that_claims_{name}", "error", lambda shape=shape: members(("x.npy", array(_header(shape), ROWS.tobytes()))))
_npz("of_records", "error", lambda: packed(x=np.zeros((4, 3), [("a", "f4")])))
_npz("of_no_numbers", "error", lambda: packed(x=np.zeros((4, 0), np.float32)))
_npz("of_no_rows", "error", lambda: packed(x=np.zeros((0, 3), np.float32)))
_npz("of_three_axes", "error", lambda: packed(x=np.zeros((2, 2, 3), np.float32)))
_npz("of_whole_numbers", "error", lambda: packed(x=np.ones((4, 3), np.int64)))
_npz("of_two_candidates", "error", lambda: packed(x=ROWS, y=ROWS))
_npz("of_big_endian_numbers", "4 scanned", lambda: packed(x=ROWS.astype(">f8")))
_npz("in_columns", "4 scanned", lambda: packed(x=np.asfortranarray(ROWS)))
_npz("with_nan", "error", lambda: packed(x=np.where(ROWS == 5, np.nan, ROWS)))
_npz("with_infinity", "error", lambda: packed(x=np.where(ROWS == 5, np.inf, ROWS)))
_npz("with_numbers_beyond_float32", "error", lambda: packed(x=ROWS.astype(np.float64) * 1e300))
_npz("bomb_of_zeros", "error", lambda: members(("x.npy", array(_header("(67108864, 1)"), bytes(2**28)))))

# Labels.

for name, labels, outcome in (
    ("too_few", [0, 1], "error"),
    ("floats", [0.0, 1.0, 0.0, 1.0], "error"),
    ("of_two_axes", [[0], [1], [0], [1]], "error"),
    ("partly_absent", [0, -1, 0, 1], "error"),
    ("all_absent", [-1] * 4, "4 scanned"),
    ("escapes", ["\x1b[2J", "a", "a", "a"], "4 scanned"),
    ("bytes_that_are_no_text", [b"\xff", b"a", b"a", b"a"], "4 scanned"),
    ("empty", ["", "a", "a", "a"], "error"),
    ("the_largest", np.array([2**64 - 1, 0, 0, 0], np.uint64), "4 scanned"),
    ("half_letters", ["\ud800", "a", "a", "a"], "4 scanned"),
):
    _npz(f"labels_that_are_{name}", outcome, lambda labels=labels: packed(x=ROWS, labels=np.array(labels)))
_npz("labels_without_a_name", "error", lambda: packed(x=ROWS, labels=[0, 1, 2, 3], class_names=["a", "b"]))
_npz("class_name_twice", "error", lambda: packed(x=ROWS, labels=[0, 1, 0, 1], class_names=["a", "a"]))
_npz("class_names_that_are_numbers", "error", lambda: packed(x=ROWS, labels=[0, 1, 0, 1], class_names=[1, 2]))


# Not even a file.


@kind("error")
def npz_that_is_a_folder(root: Path) -> Path:
    """Only its name fits."""
    (root / "x.npz").mkdir(parents=True)
    return root / "x.npz"


@kind("error")
def npz_that_is_a_link_to_a_device(root: Path) -> Path:
    """It never ends."""
    root.mkdir()
    (root / "x.npz").symlink_to("/dev/zero")
    return root / "x.npz"


@kind("error")
def npz_of_a_terabyte(root: Path) -> Path:
    """Sparse: nothing in it, not even an end."""
    root.mkdir()
    with (root / "x.npz").open("xb") as file:
        file.truncate(2**40)
    return root / "x.npz"


# Vectors in Parquet.


def _parquet(name: str, outcome: str, column: pa.Array) -> None:
    def make(root: Path) -> Path:
        root.mkdir(parents=True)
        (root / "x.parquet").write_bytes(stored(pa.table({"vector": column})))
        return root / "x.parquet"

    VECTORS.add(f"parquet_{name}", make, outcome)


FLOATS = pa.list_(pa.float32())
_parquet("of_vectors", "2 scanned", pa.array([[1.0, 2.0], [3.0, 4.0]], FLOATS))
_parquet("of_vectors_of_two_lengths", "error", pa.array([[1.0, 2.0], [3.0]], FLOATS))
_parquet("of_a_null_vector", "error", pa.array([[1.0, 2.0], None], FLOATS))
_parquet("of_no_vector_at_all", "error", pa.array([None, None], FLOATS))
_parquet("of_a_null_inside", "error", pa.array([[1.0, None], [3.0, 4.0]], FLOATS))
_parquet("of_empty_vectors", "error", pa.array([[], []], FLOATS))
_parquet("of_nan", "error", pa.array([[1.0, float("nan")]], FLOATS))
_parquet(
    "of_half_precision",
    "2 scanned",
    pa.array(np.array([1, 2], np.float16).tolist() and [[np.float16(1)], [np.float16(2)]], pa.list_(pa.float16())),
)
_parquet("of_vectors_of_vectors", "error", pa.array([[[1.0]]], pa.list_(FLOATS)))
