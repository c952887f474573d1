"""Ready-made vectors: rows keep their identity from file to file, and what is odd is said by row."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources import npz
from sanitizer.sources.base import Change, Found, Source, Status, digest_of
from sanitizer.sources.census import take_census
from sanitizer.sources.npz import NpzSource
from sanitizer.sources.vectors import ParquetVectorSource

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 10])


def save(path: Path, **arrays: Any) -> str:
    """An ``.npz`` with these arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return str(path)


def load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an ``.npz``."""
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def lists(rows: Any, kind: pa.DataType | None = None) -> pa.Array:
    """Rows as Arrow keeps them."""
    kind = kind or pa.list_(pa.float32())
    return pa.array([None if row is None else list(row) for row in rows], kind)


def write(path: Path, vectors: pa.Array, labels: Any = None, **columns: Any) -> str:
    """A Parquet file with these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"vector": vectors} | ({} if labels is None else {"label": pa.array(labels)}) | columns
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return str(path)


def source_of(kind: str, folder: Path, rows: Any = ROWS, labels: Any = LABELS) -> Source:
    """The same set in either layout."""
    named = {} if labels is None else {"labels": labels}
    if kind == "npz":
        return NpzSource(save(folder / "v.npz", vectors=rows, **named))
    kept = pa.list_(pa.float64() if rows.dtype == np.float64 else pa.float32())
    return ParquetVectorSource(write(folder / "v.parquet", lists(rows, kept), labels))


def seen(source: Source) -> list[tuple[str, str | None]]:
    """Id and class of each item."""
    return [(item.id, None if item.label is None else source.class_names[item.label]) for item in source.stream()]


def told(source: Source) -> list[tuple[str, str | None, tuple[int, int]]]:
    """What the samples are, ids aside."""
    census = take_census(source)
    assert not census.others
    return [
        (sample.digest, None if sample.label is None else census.class_names[sample.label], sample.size)
        for sample in census.samples
    ]


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


kinds = pytest.mark.parametrize("kind", ["npz", "parquet"])


@kinds
def test_a_row_is_its_float32_bytes(tmp_path: Path, kind: str) -> None:
    """Its digest is theirs; classes that are numbers are in their order."""
    source = source_of(kind, tmp_path)
    assert source.holds == "vectors"
    assert source.root == tmp_path.resolve()
    assert source.class_names == ("0", "1", "2", "10")
    assert seen(source) == [(f"v.{kind}#{row}", str(label)) for row, label in enumerate(LABELS)]
    assert [item.content for item in source.stream()] == [row.tobytes() for row in ROWS]
    census = take_census(source)
    assert {sample.digest for sample in census.samples} == {digest_of(row.tobytes()) for row in ROWS}
    assert np.array_equal(np.sort(census.vectors(), axis=0), np.sort(ROWS, axis=0))


@kinds
def test_both_layouts_tell_the_same(tmp_path: Path, kind: str) -> None:
    """Whatever the precision, as long as float32 holds it, and whatever the order in memory."""
    expected = told(source_of("npz", tmp_path / "expected"))
    assert told(source_of(kind, tmp_path / "plain")) == expected
    assert told(source_of(kind, tmp_path / "wide", ROWS.astype(np.float64), LABELS.astype(np.int8))) == expected
    assert told(source_of(kind, tmp_path / "fortran", np.asfortranarray(ROWS).astype(">f4"), LABELS)) == expected
    shuffle = np.random.default_rng(1).permutation(len(ROWS))
    assert told(source_of(kind, tmp_path / "shuffled", ROWS[shuffle], LABELS[shuffle])) == expected


@kinds
def test_only_what_is_wanted_is_given(tmp_path: Path, kind: str) -> None:
    """Ids that nobody has are passed over."""
    source = source_of(kind, tmp_path)
    wanted = frozenset({f"v.{kind}#5", f"v.{kind}#0", f"v.{kind}#99", "other#1"})
    assert [item.content for item in source.stream(wanted)] == [ROWS[0].tobytes(), ROWS[5].tobytes()]


@kinds
def test_a_set_without_labels_has_none(tmp_path: Path, kind: str) -> None:
    """A copy of it neither."""
    source = source_of(kind, tmp_path / "d", labels=None)
    assert source.class_names == ()
    assert {name for _, name in seen(source)} == {None}
    source.rewrite(tmp_path / "copy", keep)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [f"v.{kind}"]
    with pytest.raises(UsageError, match="expected a label below 0, got 0"):
        source.rewrite(tmp_path / "labelled", lambda found: (found.content or b"", 0))


@kinds
@pytest.mark.parametrize("labels", [LABELS, np.array(list("babacab")), None])
def test_a_copy_of_nothing_changed_is_the_same_set(tmp_path: Path, kind: str, labels: Any) -> None:
    """Ids, contents and labels."""
    source = source_of(kind, tmp_path / "d", labels=labels)
    new_ids = source.rewrite(tmp_path / "copy", keep)
    assert new_ids == {id: id for id, _ in seen(source)}
    path = str(tmp_path / "copy" / f"v.{kind}")
    copied: Source = NpzSource(path) if kind == "npz" else ParquetVectorSource(path)
    assert seen(copied) == seen(source)
    assert told(copied) == told(source)


def alter(found: Found) -> Change:
    """Drop row 1, change row 2, keep the others."""
    assert found.content is not None
    row = int(found.id.rpartition("#")[2])
    if row == 1:
        return None
    return (ROWS[0].tobytes(), 3) if row == 2 else (found.content, found.label)


@kinds
def test_a_copy_carries_new_vectors_and_labels_and_leaves_out_what_it_should(tmp_path: Path, kind: str) -> None:
    """In the order that was."""
    source = source_of(kind, tmp_path / "d")
    new_ids = source.rewrite(tmp_path / "copy", alter)
    assert new_ids == {f"v.{kind}#{old}": f"v.{kind}#{new}" for new, old in enumerate([0, 2, 3, 4, 5, 6])}
    path = str(tmp_path / "copy" / f"v.{kind}")
    copied: Source = NpzSource(path) if kind == "npz" else ParquetVectorSource(path)
    assert [item.content for item in copied.stream()] == [ROWS[row].tobytes() for row in (0, 0, 3, 4, 5, 6)]
    assert [name for _, name in seen(copied)] == ["0", "10", "0", "1", "2", "10"]


@kinds
def test_a_failing_copy_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """A label that no class has, a vector of another length, or a change that raises."""
    source = source_of(kind, tmp_path / "d")
    with pytest.raises(UsageError, match="expected a label below 4, got 4"):
        source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 4))
    with pytest.raises(UsageError, match="vectors of 3 float32 numbers, got 4 bytes"):
        source.rewrite(tmp_path / "copy", lambda found: (b"1234", 0))
    with pytest.raises(ZeroDivisionError):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@kinds
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_the_first_row_that_is_not_finite_is_named(tmp_path: Path, kind: str, value: float) -> None:
    """Also where only float32 cannot hold it."""
    rows = ROWS.astype(np.float64)
    rows[4, 1] = rows[5, 2] = value
    with pytest.raises(
        SourceError, match=rf"finite float32 numbers, got {re.escape(str(value))} in 'v\.{kind}#4'"
    ) as caught:
        list(source_of(kind, tmp_path, rows).stream())
    assert "\n" not in str(caught.value)


# The .npz of numpy.


def test_an_npz_is_told_by_its_name(tmp_path: Path) -> None:
    """Folders are somebody else's."""
    assert NpzSource.claims(save(tmp_path / "V.NPZ", x=ROWS))
    assert not NpzSource.claims(str(tmp_path))
    with pytest.raises(SourceError, match=r"expected an \.npz file"):
        NpzSource(str(tmp_path / "none.npz"))


def test_class_names_stand_for_numbers(tmp_path: Path) -> None:
    """In their own order, whether anybody has them or not; text needs none."""
    labels = np.array([1, 0, 1, 0, 1, 0, 1], np.int8)
    names = np.array(["zebra", "ant", "none"])
    source = NpzSource(save(tmp_path / "d" / "v.npz", vectors=ROWS, y=labels, class_names=names))
    assert source.class_names == ("zebra", "ant", "none")
    assert [name for _, name in seen(source)][:2] == ["ant", "zebra"]
    source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 2))
    copied = load(tmp_path / "copy" / "v.npz")
    assert (copied["y"].tolist(), copied["y"].dtype, copied["class_names"].tolist()) == (
        [2] * 7,
        np.int8,
        names.tolist(),
    )
    with pytest.raises(SourceError, match=r"labels below 1.*got 1 in 'v\.npz#0'"):
        NpzSource(save(tmp_path / "v.npz", vectors=ROWS, y=labels, class_names=np.array(["a"])))
    with pytest.raises(SourceError, match="different class_names"):
        NpzSource(save(tmp_path / "v.npz", vectors=ROWS, y=labels, class_names=np.array(["a", "a"])))
    texts = np.array([b"a", b"b\xff"] * 3 + [b"a"])
    source = NpzSource(save(tmp_path / "v.npz", vectors=ROWS, label=texts, class_names=names))
    assert source.class_names == ("a", "b\\udcff")
    source.rewrite(tmp_path / "text", lambda found: (found.content or b"", 1))
    assert load(tmp_path / "text" / "v.npz")["label"].tolist() == [b"b\xff"] * 7


@pytest.mark.parametrize("labels", [np.full(7, -1), np.array([""] * 7)])
def test_labels_that_all_say_none_are_none(tmp_path: Path, labels: Any) -> None:
    """One that says none among others is named."""
    source = NpzSource(save(tmp_path / "d" / "v.npz", vectors=ROWS, labels=labels))
    assert source.class_names == ()
    source.rewrite(tmp_path / "copy", keep)
    assert load(tmp_path / "copy" / "v.npz")["labels"].tolist() == labels.tolist()
    labels = labels.astype("U2" if labels.dtype.kind == "U" else int)
    labels[[0, 1, 4]] = 5
    with pytest.raises(SourceError, match=r"every row or in none, found none in 'v\.npz#2'"):
        NpzSource(save(tmp_path / "v.npz", vectors=ROWS, labels=labels))


def test_other_arrays_come_along(tmp_path: Path) -> None:
    """Those with a row for each vector lose the same rows; the vectors keep their precision."""
    rows = ROWS.astype(np.float64) + 1e-12
    path = tmp_path / "d" / "v.npz"
    path.parent.mkdir()
    np.savez_compressed(
        path, labels=LABELS, rank=np.arange(7), mean=ROWS.mean(0), scalar=np.array(3), embedding=rows, one=LABELS[None]
    )
    NpzSource(str(path)).rewrite(tmp_path / "copy", alter)
    copied = load(tmp_path / "copy" / "v.npz")
    assert list(copied) == ["labels", "rank", "mean", "scalar", "embedding", "one"]
    assert copied["rank"].tolist() == [0, 2, 3, 4, 5, 6]
    assert (copied["scalar"].tolist(), copied["mean"].shape, copied["one"].shape) == (3, (3,), (1, 7))
    assert np.array_equal(copied["embedding"][[0, 2, 3, 4, 5]], rows[[0, 3, 4, 5, 6]])
    with zipfile.ZipFile(tmp_path / "copy" / "v.npz") as file:
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_DEFLATED}
    NpzSource(str(path)).rewrite(tmp_path / "again", alter)
    assert (tmp_path / "again" / "v.npz").read_bytes() == (tmp_path / "copy" / "v.npz").read_bytes()


def test_new_vectors_must_fit_the_precision_of_the_old(tmp_path: Path) -> None:
    """Half floats end at 65504."""
    source = NpzSource(save(tmp_path / "d" / "v.npz", x=ROWS.astype(np.float16)))
    with pytest.raises(UsageError, match="fit into float16"):
        source.rewrite(tmp_path / "copy", lambda found: (np.full(3, 1e6, "<f4").tobytes(), None))


@pytest.mark.parametrize(
    ("arrays", "settings", "why"),
    [
        ({"x": ROWS[0]}, {}, r"one 2-D array of floats .* found x \(3 float32\): convert"),
        ({"x": ROWS[None]}, {}, r"one 2-D array of floats .* x \(1x7x3 float32\)"),
        ({"x": ROWS.astype(int)}, {}, r"array of floats .* x \(7x3 int64\): convert"),
        ({"x": ROWS.astype(complex)}, {}, r"array of floats .* x \(7x3 complex128\): convert"),
        ({"x": ROWS, "z": ROWS}, {}, "name one with --image-column"),
        ({"x": ROWS, "z": ROWS}, {"vector_column": "w"}, r"expected an array 'w' .* found x .*, z"),
        ({"x": ROWS, "z": LABELS}, {"vector_column": "z"}, r"expected 'z' to be a 2-D array of floats"),
        ({"x": ROWS[:0]}, {}, "at least one row and one column .* found 0x3"),
        ({"x": ROWS[:, :0]}, {}, "at least one row and one column .* found 7x0"),
        ({"x": ROWS, "y": LABELS[:3]}, {}, "expected 7 labels .* found 3 int64"),
        ({"x": ROWS, "y": LABELS[:, None]}, {}, "expected 7 labels .* found 7x1 int64"),
        ({"x": ROWS, "y": LABELS / 2}, {}, "expected 7 labels .whole numbers or text.* found 7 float64"),
        ({"x": ROWS, "y": LABELS > 1}, {}, "whole numbers or text.* found 7 bool"),
        ({"x": ROWS, "y": LABELS}, {"label_column": "z"}, "expected an array 'z'"),
        ({"x": ROWS, "y": LABELS, "class_names": LABELS}, {}, "1-D array of text in 'class_names'"),
        ({"x": ROWS, "o": np.array([{}], object)}, {}, "Python objects in 'o', which are never loaded"),
        ({}, {}, "found nothing"),
    ],
)
def test_what_an_npz_cannot_mean_is_one_line(tmp_path: Path, arrays: Any, settings: Any, why: str) -> None:
    """What was expected, what came, and what to do."""
    with pytest.raises(SourceError, match=why) as caught:
        NpzSource(save(tmp_path / "v.npz", **arrays), **settings)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that says how large it is, nor one whose array says more than there is."""
    path = tmp_path / "v.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000), np.float32))
    monkeypatch.setattr(npz, "MAX_BYTES", 2**20)
    with pytest.raises(SourceError, match="at most 1048576 bytes"):
        NpzSource(str(path))
    for shape in ((2**40, 2**10), (-7, -3)):
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", content.getvalue() + bytes(84))
        with pytest.raises(SourceError, match=r"no intact \.npz"):
            NpzSource(str(path))


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "version", "foreign", "twice"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_corrupt_npz_is_one_line_that_names_it(tmp_path: Path, damage: str) -> None:
    """At whichever place."""
    path = Path(save(tmp_path / "bad.npz", x=ROWS))
    content = path.read_bytes()
    place = content.index(b"NUMPY")
    path.write_bytes(
        {
            "cut": content[:-30],
            "flipped": content[: place + 130] + b"\xff" + content[place + 131 :],
            "text": b"no zip at all",
            "empty": b"",
            "version": content.replace(b"NUMPY\x01", b"NUMPY\x02"),
        }.get(damage, content)
    )
    if damage in ("foreign", "twice"):
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("x.npy" if damage == "twice" else "data.pkl", content[place - 1 : -100])
    with pytest.raises(SourceError, match=r"bad\.npz") as caught:
        NpzSource(str(path))
    assert "\n" not in str(caught.value)


def test_an_npz_exchanged_after_it_was_opened_is_not_copied(tmp_path: Path) -> None:
    """Rows that were judged must be the rows that are written."""
    source = NpzSource(save(tmp_path / "v.npz", x=ROWS))
    save(tmp_path / "v.npz", x=ROWS[::-1])
    with pytest.raises(SourceError, match="changed since it was opened"):
        source.rewrite(tmp_path / "copy", keep)


# Parquet.


def test_parquet_with_vectors_and_no_images_is_claimed(tmp_path: Path) -> None:
    """Embeddings beside images are the images' own business."""
    file = write(tmp_path / "v" / "a.parquet", lists(ROWS))
    assert ParquetVectorSource.claims(file)
    assert ParquetVectorSource.claims(str(tmp_path / "v"))
    assert ParquetVectorSource.claims(str(tmp_path / "v" / "*.parquet"))
    images = pa.array([{"bytes": b"x", "path": None}] * 7, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    assert not ParquetVectorSource.claims(write(tmp_path / "i.parquet", lists(ROWS), image=images))
    assert not ParquetVectorSource.claims(write(tmp_path / "n.parquet", pa.array(LABELS)))
    assert not ParquetVectorSource.claims(str(tmp_path / "none.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    assert not ParquetVectorSource.claims(str(tmp_path / "bad.parquet"))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 3),
        pa.list_(pa.float16()),
        pa.list_(pa.float64(), 3),
    ],
)
def test_every_kind_of_list_is_read_and_written_back(tmp_path: Path, kind: pa.DataType) -> None:
    """With the schema and the precision that were."""
    rows = [[0.5, 1.0, row + (1e-12 if kind.value_type == pa.float64() else 0)] for row in range(7)]
    vectors = lists(np.array(rows, np.float16 if kind.value_type == pa.float16() else np.float64), kind)
    file = write(tmp_path / "d" / "a.parquet", vectors, list("abababa"), n=pa.array(range(7)))
    source = ParquetVectorSource(file)
    assert [item.content for item in source.stream()] == [np.array(row, "<f4").tobytes() for row in rows]

    def change(found: Found) -> Change:
        row = int(found.id.rpartition("#")[2])
        return (np.array([8, 9, row], "<f4").tobytes(), 0) if row == 4 else keep(found) if row != 1 else None

    source.rewrite(tmp_path / "copy", change)
    before, after = (pq.ParquetFile(tmp_path / name / "a.parquet").read() for name in ("d", "copy"))
    assert after.schema.equals(before.schema, check_metadata=True)
    rows[4] = [8, 9, 4]
    assert after.to_pylist() == [
        {"vector": rows[row], "label": "ababaaa"[row] if row != 5 else "b", "n": row} for row in (0, 2, 3, 4, 5, 6)
    ]


def test_a_folder_of_files_is_one_set(tmp_path: Path) -> None:
    """Other files are counted, names of classes may be declared, rows without a known class are unreadable."""
    features = {"label": {"_type": "ClassLabel", "names": ["zebra", "ant"]}}
    table = pa.table({"vector": lists(ROWS[:3]), "label": [1, -1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("b.parquet", "sub/a.parquet"):
        pq.write_table(table, tmp_path / "d" / name)
    (tmp_path / "d" / "README.md").write_text("hello")
    source = ParquetVectorSource(str(tmp_path / "d"))
    assert seen(source) == [
        *(
            (f"{name}#{row}", label)
            for name in ("b.parquet", "sub/a.parquet")
            for row, label in enumerate(["ant", None, "zebra"])
        ),
        ("README.md", None),
    ]
    counts = take_census(source).counts
    assert [counts[status] for status in Status] == [4, 2, 0, 1]
    assert source.rewrite(tmp_path / "copy", keep)["sub/a.parquet#2"] == "sub/a.parquet#1"
    pq.write_table(pa.table({"vector": lists([[1, 2]]), "label": [0]}), tmp_path / "d" / "c.parquet")
    with pytest.raises(SourceError, match=r"'c\.parquet#0'"):
        list(ParquetVectorSource(str(tmp_path / "d")).stream())


@pytest.mark.parametrize(
    ("columns", "settings", "why"),
    [
        (
            {"vector": lists(ROWS, pa.list_(pa.float64()))[0:0].cast(pa.list_(pa.int64()))},
            {},
            r"lists of floats.* int64",
        ),
        ({"x": pa.array(ROWS[:, 0])}, {}, r"one column of vectors .* found x \(float\)"),
        ({"x": lists(ROWS), "z": lists(ROWS)}, {}, r"found x .*, z .*: name or make one"),
        ({"x": lists(ROWS)}, {"vector_column": "z"}, "expected a column 'z'"),
        ({"x": lists(ROWS), "n": LABELS}, {"vector_column": "n"}, r"found n \(int64\): convert"),
        ({"x": lists(ROWS)}, {"label_column": "z"}, "expected a column 'z'"),
        ({"x": lists(ROWS), "label": LABELS / 2}, {}, "whole numbers or text"),
        ({"x": lists([None, *ROWS])}, {}, r"got null in 'v\.parquet#0'"),
        ({"x": lists([*ROWS, None])}, {}, r"got null in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, None], pa.list_(pa.float32(), 3))}, {}, r"got null in 'v\.parquet#7'"),
        ({"x": lists([[], *ROWS])}, {}, r"at least one number, got 0 numbers in 'v\.parquet#0'"),
        ({"x": lists([*ROWS, [1, 2]])}, {}, r"3 numbers, as in the first row, got 2 numbers in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, [1, None, 2]])}, {}, r"finite float32 numbers, got nan in 'v\.parquet#7'"),
        ({"x": lists([*ROWS, [1, None, 2]], pa.list_(pa.float64(), 3))}, {}, r"got nan in 'v\.parquet#7'"),
    ],
)
def test_what_parquet_cannot_mean_is_one_line(tmp_path: Path, columns: Any, settings: Any, why: str) -> None:
    """What was expected, what came, in which row, and what to do."""
    pq.write_table(pa.table(columns), tmp_path / "v.parquet", row_group_size=3)
    with pytest.raises(SourceError, match=why) as caught:
        list(ParquetVectorSource(str(tmp_path / "v.parquet"), **settings).stream())
    assert "\n" not in str(caught.value)


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    """As when every row is dropped."""
    source = ParquetVectorSource(write(tmp_path / "d" / "v.parquet", lists(ROWS), LABELS))
    assert source.rewrite(tmp_path / "copy", lambda found: None) == {}
    assert list(ParquetVectorSource(str(tmp_path / "copy" / "v.parquet")).stream()) == []
