"""Parquet sources: rows are items, and a copy keeps everything that was not asked to change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Status, open_source
from sanitizer.sources.decode import Limits
from sanitizer.sources.encode import encode
from sanitizer.sources.folder import FolderSource
from sanitizer.sources.parquet import ParquetSource

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 4, 3), value, np.uint8), "PNG")


def table(labels: list[Any], *, names: list[str] | None = None, **columns: Any) -> pa.Table:
    """Images as the datasets library stores them, with their labels."""
    images = [{"bytes": png(row), "path": f"{row}.png"} for row in range(len(labels))]
    data = pa.table({"image": pa.array(images, IMAGE), "label": pa.array(labels), **columns})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        data = data.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return data


def write(path: Path, data: pa.Table, **options: Any) -> Path:
    """A Parquet file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, path, **options)
    return path


def read(path: Path) -> pa.Table:
    """The whole file."""
    with pq.ParquetFile(path) as file:
        return file.read()


def seen(source: ParquetSource) -> dict[str, tuple[Status, str | None]]:
    """Each item's status and class."""
    return {
        found.id: (found.status, None if found.label is None else source.class_names[found.label])
        for found in source.stream()
    }


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


def test_a_file_a_glob_and_a_folder_are_claimed_and_nothing_else(tmp_path: Path) -> None:
    """Folders with images, saved datasets (Arrow) and other names belong to others."""
    file = write(tmp_path / "p" / "deep" / "a.parquet", table([0]))
    (tmp_path / "p" / "README.md").write_text("hello")
    assert ParquetSource.claims(str(file))
    assert ParquetSource.claims(str(tmp_path / "p"))
    assert ParquetSource.claims(str(tmp_path / "p" / "*" / "*.parquet"))
    assert ParquetSource.claims(str(tmp_path / "p" / "**" / "*.parquet"))
    assert not ParquetSource.claims(str(tmp_path / "p" / "*.txt"))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    assert not ParquetSource.claims(str(tmp_path / "saved"))
    (tmp_path / "p" / "x.png").write_bytes(png(0))
    assert not ParquetSource.claims(str(tmp_path / "p"))
    assert isinstance(open_source(str(tmp_path / "p")), FolderSource)


def test_ids_are_relative_to_what_was_named(tmp_path: Path) -> None:
    """A file, the fixed part of a glob, or the folder."""
    write(tmp_path / "d" / "x" / "a.parquet", table([0, 1]))
    write(tmp_path / "d" / "y" / "b.parquet", table([1]))
    folder = ParquetSource(str(tmp_path / "d"))
    assert list(seen(folder)) == ["x/a.parquet#0", "x/a.parquet#1", "y/b.parquet#0"]
    assert folder.root == (tmp_path / "d").resolve()
    file = ParquetSource(str(tmp_path / "d" / "x" / "a.parquet"))
    assert (list(seen(file)), file.root.name) == (["a.parquet#0", "a.parquet#1"], "x")
    assert list(seen(ParquetSource(str(tmp_path / "d" / "*" / "[b]*.parquet")))) == ["y/b.parquet#0"]


def test_a_folder_with_wildcards_in_its_name_is_that_folder(tmp_path: Path) -> None:
    """What exists is meant as it is called."""
    write(tmp_path / "[v1]" / "a.parquet", table([0]))
    assert list(seen(ParquetSource(str(tmp_path / "[v1]")))) == ["a.parquet#0"]


def test_class_names_come_from_the_class_label_feature(tmp_path: Path) -> None:
    """In their own order; labels outside of it are unreadable."""
    file = write(tmp_path / "a.parquet", table([1, 0, 2, -1, None], names=["zebra", "ant"]))
    source = ParquetSource(str(file))
    assert source.class_names == ("zebra", "ant")
    assert list(seen(source).values()) == [
        (Status.SCANNED, "ant"),
        (Status.SCANNED, "zebra"),
        *[(Status.UNREADABLE, None)] * 3,
    ]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 10], ("9", "10")),
        (["10", "9", "9"], ("9", "10")),
        (["b", "a", ""], ("a", "b")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
    ],
)
def test_without_names_the_values_are_the_classes(tmp_path: Path, labels: Any, names: tuple[str, ...]) -> None:
    """Sorted, as numbers where they are."""
    assert ParquetSource(str(write(tmp_path / "a.parquet", table(labels)))).class_names == names


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"names": [1]}}}}']
)
def test_a_hostile_schema_is_passed_over(tmp_path: Path, metadata: bytes) -> None:
    """Nothing in it is believed that does not look right."""
    data = table([0, 1]).replace_schema_metadata({b"huggingface": metadata})
    assert ParquetSource(str(write(tmp_path / "a.parquet", data))).class_names == ("0", "1")


def test_a_set_without_labels_has_none(tmp_path: Path) -> None:
    """Plain binary columns hold images too."""
    file = write(tmp_path / "a.parquet", pa.table({"picture": pa.array([png(0)]), "n": [1]}))
    source = ParquetSource(str(file))
    assert source.class_names == ()
    assert [(found.label, found.content) for found in source.stream()] == [(None, png(0))]


def test_columns_that_cannot_be_meant_are_answered_with_those_that_exist(tmp_path: Path) -> None:
    """None that holds images, several, a wrong name, labels that are no classes."""
    two = pa.table({"one": [png(0)], "two": [png(1)], "label": [0.5]})
    file = str(write(tmp_path / "a.parquet", two))
    with pytest.raises(SourceError, match=r"one \(binary\), two \(binary\), label \(double\)"):
        ParquetSource(file)
    with pytest.raises(SourceError, match="found one, two, label"):
        ParquetSource(file, image_column="three")
    with pytest.raises(SourceError, match="--image-column"):
        ParquetSource(file, image_column="label")
    with pytest.raises(SourceError, match="whole numbers or text"):
        ParquetSource(file, image_column="one")


def test_rows_without_bytes_are_unreadable_and_giants_refused(tmp_path: Path) -> None:
    """A path in a row is never opened."""
    images = [{"bytes": png(0), "path": None}, {"bytes": None, "path": "/etc/passwd"}, None, {"bytes": b"x" * 999}]
    data = pa.table({"image": pa.array(images, IMAGE), "label": [0, 0, 0, 0]})
    source = ParquetSource(str(write(tmp_path / "a.parquet", data)), limits=Limits(max_bytes=500))
    found = [(item.status, item.reason, item.content is None) for item in source.stream()]
    no_bytes = (Status.UNREADABLE, "no bytes in this row (paths are not followed)", True)
    assert found == [
        (Status.SCANNED, "", False),
        no_bytes,
        no_bytes,
        (Status.REFUSED, "larger than 500 bytes", True),
    ]


def test_everything_else_in_the_folder_is_counted(tmp_path: Path) -> None:
    """Other files, links out, pipes, and a file called like a row."""
    root = tmp_path / "d"
    write(root / "a.parquet", table([0]))
    write(tmp_path / "out.parquet", table([0]))
    (root / "README.md").write_text("hello")
    (root / "a.parquet#0").write_text("hello")
    (root / "link.parquet").symlink_to("../out.parquet")
    os.mkfifo(root / "pipe.parquet")
    assert {name: status for name, (status, _) in seen(ParquetSource(str(root))).items()} == {
        "a.parquet#0": Status.SCANNED,
        "README.md": Status.IGNORED,
        "a.parquet#0~": Status.IGNORED,
        "link.parquet": Status.REFUSED,
        "pipe.parquet": Status.REFUSED,
    }
    with pytest.raises(SourceError, match="none that may be read"):
        ParquetSource(str(root / "lin*.parquet"))


@pytest.mark.parametrize("damage", ["footer", "page", "empty", "text"])
def test_a_corrupt_file_is_one_line_that_names_it(tmp_path: Path, damage: str) -> None:
    """At opening or while reading."""
    file = write(tmp_path / "bad.parquet", table(list(range(50))), compression="gzip")
    content = bytearray(file.read_bytes())
    if damage == "footer":
        content = content[:-20]
    elif damage == "page":
        content[4:1000] = bytes(996)
    else:
        content = bytearray(b"" if damage == "empty" else b"no parquet at all")
    file.write_bytes(content)
    with pytest.raises(SourceError, match=r"bad\.parquet") as caught:
        list(ParquetSource(str(file)).stream())
    assert "\n" not in str(caught.value)


def test_files_with_different_columns_are_no_source(tmp_path: Path) -> None:
    """They cannot mean one set."""
    write(tmp_path / "a.parquet", table([0]))
    write(tmp_path / "b.parquet", table(["x"]))
    with pytest.raises(SourceError, match="differ"):
        ParquetSource(str(tmp_path))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """Not a traceback from Arrow."""
    with pytest.raises(SourceError, match="does not exist"):
        open_source(str(tmp_path / "none.parquet"))


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    """From whichever row group it lies in."""
    file = write(tmp_path / "a.parquet", table(list(range(40))), row_group_size=7)
    source = ParquetSource(str(file))
    wanted = frozenset({"a.parquet#0", "a.parquet#13", "a.parquet#39", "b.parquet#1", "a.parquet#99"})
    assert {item.id: item.content for item in source.stream(wanted)} == {
        f"a.parquet#{row}": png(row) for row in (0, 13, 39)
    }


def test_a_copy_of_nothing_changed_is_the_same_table(tmp_path: Path) -> None:
    """All columns, their metadata, and the order of rows, over several files and row groups."""
    data = table([0, 1] * 10, names=["a", "b"], extra=pa.array([[n] for n in range(20)]))
    write(tmp_path / "d" / "x.parquet", data, row_group_size=6)
    write(tmp_path / "d" / "sub" / "y.parquet", data)
    source = ParquetSource(str(tmp_path / "d"))
    new_ids = source.rewrite(tmp_path / "copy", keep)
    assert new_ids == {name: name for name in seen(source)}
    for name in ("x.parquet", "sub/y.parquet"):
        assert read(tmp_path / "copy" / name).equals(read(tmp_path / "d" / name), check_metadata=True)
    assert seen(ParquetSource(str(tmp_path / "copy"))) == seen(source)


def test_a_copy_carries_new_labels_and_bytes_and_leaves_out_what_it_should(tmp_path: Path) -> None:
    """Paths and other columns stay with their row; rows that cannot be read go too."""
    data = table([1, None, 0, 1], names=["a", "b"], extra=pa.array(list("wxyz")))
    source = ParquetSource(str(write(tmp_path / "a.parquet", data)))

    def change(found: Found) -> Change:
        return None if found.id.endswith("#0") else (b"new", 1)

    assert source.rewrite(tmp_path / "copy", change) == {"a.parquet#2": "a.parquet#0", "a.parquet#3": "a.parquet#1"}
    rows = read(tmp_path / "copy" / "a.parquet").to_pylist()
    assert rows == [
        {"image": {"bytes": b"new", "path": "2.png"}, "label": 1, "extra": "y"},
        {"image": {"bytes": b"new", "path": "3.png"}, "label": 1, "extra": "z"},
    ]


@pytest.mark.parametrize("labels", [["b", "a"], [7, 3], pa.array(["b", "a"]).dictionary_encode()])
def test_new_labels_are_stored_as_the_column_stores_them(tmp_path: Path, labels: Any) -> None:
    """Text as text, numbers as the numbers they were."""
    data = table(labels)
    source = ParquetSource(str(write(tmp_path / "a.parquet", data)))
    source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 0))
    copied = read(tmp_path / "copy" / "a.parquet")
    assert copied.schema.equals(data.schema)
    assert copied["label"].to_pylist() == [min(data["label"].to_pylist())] * 2


def test_a_failing_copy_leaves_nothing(tmp_path: Path) -> None:
    """An unknown label, or a change that raises."""
    source = ParquetSource(str(write(tmp_path / "d" / "a.parquet", table([0, 1]))))
    with pytest.raises(UsageError, match="label below 2, got 2"):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 2))
    with pytest.raises(ZeroDivisionError):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_dropping_every_row_leaves_an_empty_table(tmp_path: Path) -> None:
    """Same columns, no rows."""
    source = ParquetSource(str(write(tmp_path / "d" / "a.parquet", table([0, 1]))))
    assert source.rewrite(tmp_path / "copy", lambda found: None) == {}
    assert list(ParquetSource(str(tmp_path / "copy")).stream()) == []
