"""The .npz of numpy: what it can mean, what it cannot, and what in it is not believed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vector_toys import LABELS, ROWS, alter, keep, load, save, seen

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources import npz
from sanitizer.sources.npz import NpzSource


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
