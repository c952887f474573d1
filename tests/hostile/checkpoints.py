"""Checkpoints that nobody vouches for: each function writes one kind and returns what to load."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.book import Book, dice

#: What a checkpoint comes to: "read" or "error".
CHECKPOINTS: Book[Callable[[Path], Path]] = Book()
kind = CHECKPOINTS.kind

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWO_FLOATS = struct.pack("<2f", 1, 2)


def framed(header: Any, body: bytes = TWO_FLOATS, length: int | None = None) -> bytes:
    """A safetensors file: the length of its header, the header, the numbers."""
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(said) if length is None else length) + said + body


def _file(name: str, outcome: str, content: bytes | Callable[[], bytes], called: str = "x.safetensors") -> None:
    def make(root: Path) -> Path:
        root.mkdir(parents=True)
        (root / called).write_bytes(content if isinstance(content, bytes) else content())
        return root / called

    CHECKPOINTS.add(name, make, outcome)


class _Runs:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch canary",)


_file("as_it_should_be", "read", framed({"x": ONE}))
_file("of_nothing", "error", b"")
_file("of_seven_bytes", "error", bytes(7))
_file("of_noise", "error", lambda: dice("checkpoint").randbytes(500))
_file("pickle_called_safetensors", "error", lambda: pickle.dumps(_Runs()))
_file("pickle_called_pt", "error", lambda: pickle.dumps(_Runs()), "x.pt")
_file("pickle_called_bin", "error", lambda: pickle.dumps(_Runs()), "pytorch_model.bin")
_file("archive_of_pickles", "error", b"PK\3\4" + bytes(100), "x.pth")
_file("header_longer_than_the_file", "error", framed({"x": ONE}, length=10_000))
_file("header_of_an_exabyte", "error", framed({"x": ONE}, length=2**60))
_file("header_of_all_there_is", "error", framed({"x": ONE}, length=2**64 - 1))
_file("header_of_nothing", "error", framed(b""))
_file("header_that_is_no_json", "error", framed(b"{"))
_file("header_that_is_a_list", "error", framed([ONE]))
_file("header_100000_lists_deep", "error", framed(b"[" * 100_000))
_file("header_that_is_no_text", "error", framed(b'{"\xff": 1}'))
_file("header_with_a_name_twice", "read", framed(b'{"x": %b, "x": %b}' % ((json.dumps(ONE).encode(),) * 2)))
_file("metadata_that_are_numbers", "error", framed({"__metadata__": {"a": 1}, "x": ONE}))
_file("name_of_escapes", "read", framed({"\x1b[2J\n": ONE}))
_file("body_cut_short", "error", framed({"x": ONE}, TWO_FLOATS[:5]))
_file("body_with_more_behind", "error", framed({"x": ONE}, TWO_FLOATS + b"PK\3\4"))
_file("no_tensors", "read", framed({}, b""))
_file("tensors_that_overlap", "error", framed({"x": ONE, "y": ONE | {"data_offsets": [4, 12]}}, bytes(12)))
_file("tensors_with_a_hole", "error", framed({"x": ONE, "y": ONE | {"data_offsets": [12, 20]}}, bytes(20)))
for name, changed in {
    "offsets_backwards": {"data_offsets": [8, 0]},
    "offsets_below_zero": {"data_offsets": [-8, 0]},
    "offsets_beyond": {"data_offsets": [0, 2**62]},
    "one_offset": {"data_offsets": [0]},
    "a_shape_beyond_all": {"shape": [2**62, 2**62]},
    "a_shape_that_does_not_fit": {"shape": [3]},
    "a_negative_shape": {"shape": [-2]},
    "an_unknown_type": {"dtype": "PICKLE"},
    "numbers_for_text": {"dtype": 7},
    "words_for_shape": {"shape": "ab"},
}.items():
    _file(f"tensor_with_{name}", "error", framed({"x": ONE | changed}))
for name, dtype, shape, body in (
    ("nan", "F32", [2], struct.pack("<2f", 1, float("nan"))),
    ("infinity", "F32", [2], struct.pack("<2f", 1, float("inf"))),
    ("half_nan", "F16", [1], b"\xff\x7f"),
    ("brain_infinity", "BF16", [1], b"\x80\x7f"),
    ("double_too_large", "F64", [1], struct.pack("<d", 1e300)),
    ("bytes", "U8", [2], b"\1\2"),
    ("truths", "BOOL", [2], b"\1\0"),
    ("truths_that_are_neither", "BOOL", [2], b"\7\xff"),
    ("eight_bit_floats", "F8_E4M3", [2], b"\1\2"),
    ("no_value", "F32", [0], b""),
    ("no_value_and_a_huge_shape", "F32", [0, 2**60], b""),
):
    _file(
        f"weights_of_{name}",
        "error",
        framed({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(body)]}}, body),
    )


@kind("error")
def checkpoint_that_is_a_folder(root: Path) -> Path:
    """With the right name."""
    (root / "x.safetensors").mkdir(parents=True)
    return root / "x.safetensors"


@kind("error")
def checkpoint_that_is_a_pipe(root: Path) -> Path:
    """Opening it would wait for ever."""
    root.mkdir()
    os.mkfifo(root / "x.safetensors")
    return root / "x.safetensors"


@kind("error")
def checkpoint_that_never_ends(root: Path) -> Path:
    """A link to a device."""
    root.mkdir()
    (root / "x.safetensors").symlink_to("/dev/zero")
    return root / "x.safetensors"


@kind("error")
def checkpoint_of_a_terabyte(root: Path) -> Path:
    """Sparse: its header has no length."""
    root.mkdir()
    with (root / "x.safetensors").open("xb") as file:
        file.truncate(2**40)
    return root / "x.safetensors"
