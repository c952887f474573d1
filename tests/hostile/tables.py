"""Parquet, Arrow and tar from outside: each function writes one kind and returns what to open."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile.book import Book, dice
from tests.hostile.images import IMAGES
from tests.hostile.trees import GOOD

#: What a table comes to: how many of each status, or "error" where nothing can be said of any row.
TABLES: Book[Callable[[Path], Path]] = Book()
kind = TABLES.kind

SECRET = "/etc/passwd"


def picture_column(contents: list[bytes | None], paths: list[str | None] | None = None) -> pa.Array:
    """Encoded images as the datasets library keeps them."""
    rows = zip(contents, paths or [None] * len(contents), strict=True)
    return pa.array([{"bytes": content, "path": path} for content, path in rows], _IMAGE)


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(contents: list[bytes | None], paths: list[str | None] | None = None, labels: Any = None) -> pa.Table:
    """Images with labels 0 and 1 in turn, unless others are given."""
    labels = pa.array([row % 2 for row in range(len(contents))]) if labels is None else labels
    return pa.table({"image": picture_column(contents, paths), "label": labels})


def stored(rows: pa.Table, **options: Any) -> bytes:
    """The table as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


GOOD_PARQUET = stored(table([GOOD] * 4))
FOOTER = struct.unpack("<I", GOOD_PARQUET[-8:-4])[0]


def _file(content: Callable[[], bytes], name: str = "x.parquet") -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content())
        return root / name

    return make


def _parquet(name: str, outcome: str, content: Callable[[], bytes]) -> None:
    TABLES.add(f"parquet_{name}", _file(content), outcome)


# Files that are no Parquet, or no longer.

_parquet("of_nothing", "error", lambda: b"")
_parquet("of_its_signature_alone", "error", lambda: b"PAR1PAR1")
_parquet("that_says_it_is_encrypted", "error", lambda: b"PARE" + GOOD_PARQUET[4:-4] + b"PARE")
_parquet("that_is_a_git_lfs_pointer", "error", IMAGES.pages["git_lfs_pointer"].make)
_parquet("that_is_a_pickle", "error", lambda: pickle.dumps([1]))
_parquet("cut_in_half", "error", lambda: GOOD_PARQUET[: len(GOOD_PARQUET) // 2])
_parquet("whose_footer_is_too_long", "error", lambda: GOOD_PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1")
_parquet("whose_footer_is_negative", "error", lambda: GOOD_PARQUET[:-8] + b"\xff\xff\xff\xffPAR1")
_parquet("whose_footer_is_empty", "error", lambda: GOOD_PARQUET[:-8] + b"\0\0\0\0PAR1")
_parquet(
    "whose_footer_is_noise",
    "error",
    lambda: GOOD_PARQUET[: -8 - FOOTER] + dice("footer").randbytes(FOOTER) + GOOD_PARQUET[-8:],
)
_parquet(
    "whose_pages_are_noise",
    "error",
    lambda: b"PAR1" + dice("pages").randbytes(len(GOOD_PARQUET) - FOOTER - 12) + GOOD_PARQUET[-8 - FOOTER :],
)
_parquet(
    "whose_pages_are_zeros",
    "error",
    lambda: b"PAR1" + bytes(len(GOOD_PARQUET) - FOOTER - 12) + GOOD_PARQUET[-8 - FOOTER :],
)

# Columns.

_parquet("without_images", "error", lambda: stored(pa.table({"label": [0, 1]})))
_parquet(
    "of_two_columns_of_images",
    "error",
    lambda: stored(pa.table({"x": picture_column([GOOD]), "y": picture_column([GOOD])})),
)
_parquet(
    "with_one_name_twice",
    "error",
    lambda: stored(
        pa.Table.from_arrays([picture_column([GOOD]), pa.array([1]), pa.array([2])], ["image", "label", "label"])
    ),
)
_parquet("of_no_columns", "error", lambda: stored(pa.table({})))
_parquet(
    "of_a_thousand_columns",
    "4 scanned",
    lambda: stored(pa.table({"image": picture_column([GOOD] * 4)} | {f"c{n}": [1] * 4 for n in range(1000)})),
)
_parquet(
    "whose_column_is_called_by_escapes",
    "2 scanned",
    lambda: stored(pa.table({"\x1b[2J\n<script>": picture_column([GOOD] * 2)})),
)
_parquet("of_no_rows", "error", lambda: stored(table([])))
_parquet(
    "of_lists_50_deep", "error", lambda: stored(pa.table({"image": picture_column([GOOD] * 2), "deep": _deep(50)}))
)


def _deep(levels: int) -> pa.Array:
    kind: pa.DataType = pa.int8()
    for _ in range(levels):
        kind = pa.list_(kind)
    return pa.array([None, None], kind)


# Rows.

for name, path in {
    "a_secret": SECRET,
    "a_way_up": "../../../../../../etc/passwd",
    "a_url": "http://169.254.169.254/latest/meta-data",
    "a_file_url": "file:///etc/passwd",
    "a_device": "/dev/zero",
    "a_zero_inside": "x\0/etc/passwd",
    "nothing": "",
    "an_archive_member": "zip://etc/passwd::/tmp/x.zip",
    "ten_thousand_letters": "x" * 10_000,
    "a_hub": "hf://datasets/x/y",
}.items():
    _parquet(
        f"row_that_only_names_{name}",
        "2 scanned 1 unreadable",
        lambda path=path: stored(table([GOOD, GOOD, None], [None, None, path])),
    )
_parquet("row_of_nothing", "2 scanned 1 unreadable", lambda: stored(table([GOOD, GOOD, None])))
_parquet("row_of_no_bytes", "2 scanned 1 unreadable", lambda: stored(table([GOOD, GOOD, b""])))
_parquet(
    "row_of_a_bomb", "2 scanned 1 refused", lambda: stored(table([GOOD, GOOD, IMAGES.pages["png_very_large"].make()]))
)
_parquet("row_of_a_pickle", "2 scanned 1 unreadable", lambda: stored(table([GOOD, GOOD, pickle.dumps(print)])))
_parquet(
    "rows_without_their_struct",
    "1 scanned 1 unreadable",
    lambda: stored(pa.table({"image": pa.array([{"bytes": GOOD, "path": None}, None], _IMAGE)})),
)
_parquet("plain_bytes", "2 scanned", lambda: stored(pa.table({"image": pa.array([GOOD, GOOD], pa.large_binary())})))

# Labels.

for name, labels, outcome in (
    ("null", pa.array([0, None]), "1 scanned 1 unreadable"),
    ("all_null", pa.array([None, None], pa.int64()), "2 unreadable"),
    ("floats", pa.array([0.5, 1.0]), "error"),
    ("lists", pa.array([[0], [1]]), "error"),
    ("true_and_false", pa.array([True, False]), "error"),
    ("the_largest", pa.array([0, 2**63 - 1]), "2 scanned"),
    ("negative", pa.array([-1, -(2**63)]), "2 scanned"),
    ("escapes", pa.array(["\x1b[2J", "<script>"]), "2 scanned"),
    ("empty", pa.array(["", " "]), "2 unreadable"),
    ("formulas", pa.array(["=1+1", "@SUM(A1)"]), "2 scanned"),
    ("a_megabyte", pa.array(["x" * 2**20, "y"]), "2 scanned"),
    ("dates", pa.array([0, 1], pa.timestamp("s")), "error"),
    ("coded", pa.array(["a", "b"]).dictionary_encode(), "2 scanned"),
):
    _parquet(
        f"labels_that_are_{name}", outcome, lambda labels=labels: stored(table([GOOD, GOOD + b"\0"], None, labels))
    )


def _declared(features: Any, labels: list[int]) -> bytes:
    metadata = {
        b"huggingface": features
        if isinstance(features, bytes)
        else json.dumps({"info": {"features": features}}).encode()
    }
    return stored(table([GOOD] * len(labels), None, pa.array(labels)).replace_schema_metadata(metadata))


for name, features, outcome in (
    ("too_few_names", {"label": {"names": ["a"]}}, "1 scanned 1 unreadable"),
    ("a_name_twice", {"label": {"names": ["a", "a"]}}, "2 scanned"),
    ("numbers", {"label": {"names": [1, 2]}}, "2 scanned"),
    ("a_text", {"label": {"names": "ab"}}, "2 scanned"),
    ("no_table", [1], "2 scanned"),
    ("broken_json", b"{", "2 scanned"),
    ("100000_lists", b"[" * 100_000, "2 scanned"),
    ("no_text", b"\xff\xfe", "2 scanned"),
    ("half_a_letter", b'{"info": {"features": {"label": {"names": ["\\ud800", "b"]}}}}', "2 scanned"),
    ("100000_names", {"label": {"names": [str(n) for n in range(100_000)]}}, "2 scanned"),
    ("a_module_to_run", {"label": {"_type": "os.system", "names": ["a", "b"]}}, "2 scanned"),
):
    _parquet(f"classes_declared_by_{name}", outcome, lambda features=features: _declared(features, [0, 1]))


@kind("2 scanned")
def parquet_with_a_pickled_type(root: Path) -> Path:
    """What ran code in PyArrow up to 14.0.0."""
    field = pa.field(
        "extra",
        pa.int64(),
        metadata={
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickle.dumps(print),
        },
    )
    rows = table([GOOD] * 2).append_column(field, pa.array([1, 2]))
    return _file(lambda: stored(rows))(root)


# Bombs: kilobytes on the disk.


@kind("1000 unreadable")
def parquet_dictionary_of_a_large_value(root: Path) -> Path:
    """One value of a megabyte, a thousand times: a gigabyte to whoever unpacks it."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([b"x" * 2**20]))
    rows = pa.table({"image": column})
    return _file(lambda: stored(rows, compression="zstd", store_schema=False))(root)


@kind("100 unreadable")
def parquet_page_of_zeros(root: Path) -> Path:
    """A hundred different megabytes, packed a thousandfold."""
    contents = [bytes(2**20) + bytes([row % 256, row // 256]) for row in range(100)]
    rows = pa.table({"image": pa.array(contents)})
    return _file(lambda: stored(rows, compression="zstd", use_dictionary=False))(root)


@kind("1 refused 1 scanned")
def parquet_value_that_is_too_large(root: Path) -> Path:
    """One byte more than a file may have."""
    rows = pa.table({"image": pa.array([bytes(256 * 2**20 + 1), GOOD])})
    return _file(lambda: stored(rows, compression="zstd", use_dictionary=False))(root)


for number in range(12):

    def _flipped(number: int = number) -> bytes:
        content = bytearray(GOOD_PARQUET)
        chance = dice(f"flip{number}")
        for _ in range(1 + number):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        return bytes(content)

    _parquet(f"with_{number + 1}_bits_flipped", "any", _flipped)


# Folders of Parquet.


def _folder(*files: tuple[str, bytes]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        for name, content in files:
            _file(lambda content=content: content, name)(root)  # type: ignore[misc]
        return root

    return make


TABLES.add(
    "shards_of_different_columns",
    _folder(("a.parquet", GOOD_PARQUET), ("b.parquet", stored(pa.table({"x": [1]})))),
    "error",
)
TABLES.add(
    "shards_of_different_classes",
    _folder(
        ("a.parquet", _declared({"label": {"names": ["a", "b"]}}, [0, 1])),
        ("b.parquet", _declared({"label": {"names": ["b", "a"]}}, [0, 1])),
    ),
    "error",
)
TABLES.add("shards_with_a_broken_one", _folder(("a.parquet", GOOD_PARQUET), ("b.parquet", b"PAR1")), "error")
TABLES.add(
    "shards_with_a_script", _folder(("a.parquet", GOOD_PARQUET), ("a.py", b"raise SystemExit")), "4 scanned 1 ignored"
)


@kind("4 scanned 1 refused")
def shard_by_a_link_out(root: Path) -> Path:
    """The rows of somebody else."""
    _file(lambda: GOOD_PARQUET)(root)
    _file(lambda: GOOD_PARQUET, "theirs.parquet")(root.parent / "elsewhere")
    (root / "y.parquet").symlink_to("../elsewhere/theirs.parquet")
    return root


# Saved datasets: a stream of Arrow, and what describes it.

STATE = {"_data_files": [{"filename": "d.arrow"}], "_fingerprint": "x", "_format_type": None}


def _stream(rows: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def _saved(
    name: str, outcome: str, *, arrow: Callable[[], bytes] | None = None, state: Any = STATE, **files: bytes
) -> None:
    def make(root: Path) -> Path:
        _file(arrow or (lambda: _stream(table([GOOD] * 4))), "d.arrow")(root)
        (root / "state.json").write_bytes(state if isinstance(state, bytes) else json.dumps(state).encode())
        (root / "dataset_info.json").write_bytes(b"{}")
        for file, content in files.items():
            (root / f"{file}.json").write_bytes(content)
        return root

    TABLES.add(f"saved_{name}", make, outcome)


def _lying(at: int, value: bytes) -> Callable[[], bytes]:
    """A stream with other offsets in it: what is written there is found by its own bytes."""

    def make() -> bytes:
        content = _stream(pa.table({"image": pa.array([GOOD] * 4)}))
        offsets = struct.pack("<5i", *(len(GOOD) * row for row in range(5)))
        place = content.index(offsets) + 4 * at
        return content[:place] + value + content[place + len(value) :]

    return make


_saved("as_it_should_be", "4 scanned 2 ignored")
_saved("with_an_offset_out_of_memory", "error", arrow=_lying(4, b"\xf0\xff\xff\x7f"))
_saved("with_an_offset_a_little_too_far", "error", arrow=_lying(4, struct.pack("<i", 20_000)))
_saved("with_a_negative_offset", "error", arrow=_lying(1, struct.pack("<i", -8)))
_saved("with_offsets_in_disorder", "error", arrow=_lying(2, struct.pack("<i", 1)))
_saved("cut_in_half", "error", arrow=lambda: (whole := _stream(table([GOOD] * 4)))[: len(whole) // 2])
_saved("of_nothing", "error", arrow=lambda: b"")
_saved("of_noise", "error", arrow=lambda: dice("arrow").randbytes(2000))
_saved("whose_first_message_is_4_gigabytes", "error", arrow=lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f")
_saved("packed", "error", arrow=lambda: _stream(table([bytes(2**20)] * 4), compression="zstd"))
_saved(
    "with_dictionaries",
    "error",
    arrow=lambda: _stream(table([GOOD] * 2, None, pa.array(["a", "b"]).dictionary_encode())),
)
_saved("of_parquet", "error", arrow=lambda: GOOD_PARQUET)
for name, state in {
    "that_lead_up": {"_data_files": [{"filename": "../../d.arrow"}]},
    "that_are_a_secret": {"_data_files": [{"filename": SECRET}]},
    "that_are_absent": {"_data_files": [{"filename": "x.arrow"}]},
    "that_are_one": {"_data_files": [{"filename": "d.arrow"}] * 2},
    "that_are_numbers": {"_data_files": [1]},
    "that_are_none": {"_data_files": []},
    "with_a_zero": {"_data_files": [{"filename": "d\0"}]},
    "that_are_no_list": {"_data_files": {"filename": "d.arrow"}},
    "that_are_no_table": [1],
    "that_are_no_json": b"{",
    "100000_deep": b"[" * 100_000,
}.items():
    _saved(f"with_files_{name}", "error", state=state)
_saved("with_two_descriptions", "error", dataset_dict=b'{"splits": ["."]}')


# Tar: never extracted.


def _member(name: str, content: bytes = GOOD, **changed: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in changed.items():
        setattr(info, attribute, value)
    body = content if info.isreg() else b""
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + body + bytes(-len(body) % 512)


def _tar(name: str, outcome: str, *members: bytes, end: bytes = bytes(1024)) -> None:
    TABLES.add(f"tar_{name}", _file(lambda: _member("a.png") + b"".join(members) + end, "x.tar"), outcome)


def _pax(size: int, **words: str) -> bytes:
    info = tarfile.TarInfo("x.png")
    info.size, info.pax_headers = size, words
    return info.tobuf(tarfile.PAX_FORMAT)


_tar("with_a_name_that_leads_up", "1 scanned 1 refused", _member("../../x.png"))
_tar("with_an_absolute_name", "1 scanned 1 refused", _member("/etc/cron.d/x.png"))
_tar("with_a_link", "1 scanned 1 refused", _member("x.png", b"", type=tarfile.SYMTYPE, linkname=SECRET))
_tar("with_a_hard_link", "1 scanned 1 refused", _member("x.png", b"", type=tarfile.LNKTYPE, linkname=SECRET))
_tar("with_a_device", "1 scanned 1 refused", _member("x.png", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5))
_tar("with_a_pipe", "1 scanned 1 refused", _member("x.png", b"", type=tarfile.FIFOTYPE))
_tar("with_a_name_twice", "2 scanned", _member("a.png"))
_tar("with_escapes_in_a_name", "2 scanned", _member("\x1b[2J\n.png"))
_tar("with_a_name_that_is_no_text", "2 scanned", _member("\udcff.png"))
_tar("with_a_pickle_beside", "1 scanned 1 ignored", _member("a.pyd", pickle.dumps(print)))
_tar("with_a_label_of_a_megabyte", "1 scanned 1 ignored", _member("a.cls", b"1" * 2**20))
_tar("with_a_label_60000_deep", "1 scanned", _member("a.json", b"[" * 60_000))
_tar("cut_in_half", "error", _member("b.png")[:600], end=b"")
_tar("with_a_broken_checksum", "error", b"x" + _member("b.png")[1:])
_tar("with_a_member_of_an_exabyte", "error", _pax(2**60), end=b"")
_tar("with_a_negative_size", "error", _member("b.png", size=-1024))
_tar("with_data_behind_its_end", "error", end=bytes(1024) + b"x" * 512)
_tar("that_renames_all_its_members", "error", _member("g", b"20 path=../../x.png\n"[:20], type=tarfile.XGLTYPE))
_tar("with_a_header_of_a_gigabyte", "error", _member("x", b"", type=tarfile.XHDTYPE, size=2**30))
_tar("with_a_sparse_member", "1 scanned 1 refused", _member("x.png", b"", type=tarfile.GNUTYPE_SPARSE))


@kind("error")
def tar_that_is_packed(root: Path) -> Path:
    """A bomb for whoever unpacks it to look."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        file.addfile(_sized("a.png", 10_000_000), io.BytesIO(bytes(10_000_000)))
    return _file(buffer.getvalue, "x.tar.gz")(root)


def _sized(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info
