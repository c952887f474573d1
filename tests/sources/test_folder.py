"""Folders of images: every item gets one status, and a copy has the layout of the original."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Status, open_source
from sanitizer.sources.decode import Limits
from sanitizer.sources.encode import encode
from sanitizer.sources.folder import FolderSource


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 4, 3), value, np.uint8), "PNG")


def grow(root: Path, *names: str) -> Path:
    """A folder with a picture under each name."""
    for value, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(value))
    return root


def statuses(source: FolderSource) -> dict[str, tuple[Status, str]]:
    """What became of each item."""
    found = list(source.stream())
    assert len({item.id for item in found}) == len(found), "ids are unique"
    assert all((item.content is None) == (item.status is not Status.SCANNED) for item in found)
    return {item.id: (item.status, item.reason) for item in found}


def labels(source: FolderSource) -> dict[str, str | None]:
    """The class of each readable item, by name."""
    return {
        item.id: None if item.label is None else source.class_names[item.label]
        for item in source.stream()
        if item.content is not None
    }


def keep(found: Found) -> Change:
    """Change nothing."""
    assert found.content is not None
    return found.content, found.label


def snapshot(source: FolderSource) -> dict[str, tuple[bytes | None, str | None]]:
    """Everything readable, by id."""
    by_name = labels(source)
    return {item.id: (item.content, by_name[item.id]) for item in source.stream() if item.content is not None}


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "classes": lambda root: grow(root, "cat/a.png", "cat/deep/b.png", "dog/a.png"),
    "splits": lambda root: grow(root, "train/cat/a.png", "train/dog/a.png", "test/cat/a.png"),
    "flat": lambda root: grow(root, "a.png", "b.png"),
    "csv": lambda root: with_csv(
        grow(root, "a.png", "sub/b.png"), "file_name,label,note", "a.png,x,1", "sub/b.png,y,2"
    ),
    "jsonl": lambda root: with_jsonl(
        grow(root, "a.png", "b.png"), {"file_name": "a.png", "label": 7, "n": [1]}, {"file_name": "b.png", "label": 10}
    ),
}


def with_csv(root: Path, *lines: str) -> Path:
    """Metadata as a table."""
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def with_jsonl(root: Path, *rows: object) -> Path:
    """Metadata as objects."""
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_classes_are_the_folders_of_the_root(tmp_path: Path) -> None:
    """However deep the image lies below them; folders without images are none."""
    grow(tmp_path, "dog/a.png", "cat/x/y/b.PNG", "cat/.png")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("hello")
    source = FolderSource(str(tmp_path))
    assert source.class_names == ("cat", "dog")
    assert labels(source) == {"cat/.png": "cat", "cat/x/y/b.PNG": "cat", "dog/a.png": "dog"}
    assert statuses(source)["docs/notes.txt"] == (Status.IGNORED, "not an image")


def test_splits_are_seen_only_if_all_folders_are_splits_that_hold_folders(tmp_path: Path) -> None:
    """A class may well be called test."""
    splits = FolderSource(str(grow(tmp_path / "1", "train/cat/a.png", "val/dog/a.png", "train/stray.png")))
    assert splits.class_names == ("cat", "dog")
    assert statuses(splits)["train/stray.png"] == (Status.IGNORED, "outside any class folder")
    assert FolderSource(str(grow(tmp_path / "2", "train/a.png", "test/b.png"))).class_names == ("test", "train")
    assert FolderSource(str(grow(tmp_path / "3", "train/x/a.png", "cat/b.png"))).class_names == ("cat", "train")


def test_a_flat_folder_without_metadata_has_no_labels(tmp_path: Path) -> None:
    """Samples without labels can still be looked at."""
    source = FolderSource(str(grow(tmp_path, "b.png", "a.png")))
    assert source.class_names == ()
    assert [(item.id, item.label) for item in source.stream()] == [("a.png", None), ("b.png", None)]


def test_numeric_labels_are_sorted_as_numbers(tmp_path: Path) -> None:
    """9 comes before 10, and text, numbers and whole floats are the same class."""
    grow(tmp_path, "a.png", "b.png", "c.png")
    rows = [("a.png", 10), ("b.png", "9"), ("c.png", 9.0)]
    with_jsonl(tmp_path, *({"file_name": name, "label": label} for name, label in rows))
    source = FolderSource(str(tmp_path))
    assert source.class_names == ("9", "10")
    assert labels(source) == {"a.png": "10", "b.png": "9", "c.png": "9"}


def test_metadata_decide_about_every_item(tmp_path: Path) -> None:
    """Listed, unlisted, absent, listed twice, without a label, and pointing outside."""
    grow(tmp_path / "in", "a.png", "b.png", "c.png")
    grow(tmp_path, "secret.png")
    lines = ["file_name,label", "./a.png,x", "b.png,", "a.png,y", "gone.png,x", "../secret.png,x"]
    with_csv(tmp_path / "in", *lines, f"{tmp_path}/secret.png,x")
    source = FolderSource(str(tmp_path / "in"))
    assert source.class_names == ("x", "y")
    assert labels(source) == {"a.png": "x"}
    assert statuses(source) == {
        "a.png": (Status.SCANNED, ""),
        "b.png": (Status.UNREADABLE, "no label"),
        "c.png": (Status.IGNORED, "not listed in metadata.csv"),
        "metadata.csv": (Status.IGNORED, "metadata"),
        "metadata.csv#2": (Status.UNREADABLE, "listed twice"),
        "gone.png": (Status.UNREADABLE, "listed in metadata.csv, absent from the folder"),
        "metadata.csv#4": (Status.REFUSED, "points outside the root"),
        "metadata.csv#5": (Status.REFUSED, "points outside the root"),
    }


def test_the_label_column_can_be_named(tmp_path: Path) -> None:
    """And a name that does not exist is answered with those that do."""
    root = with_csv(grow(tmp_path, "a.png"), "file_name,breed", "a.png,pug")
    assert FolderSource(str(root)).class_names == ()
    assert FolderSource(str(root), label_column="breed").class_names == ("pug",)
    with pytest.raises(SourceError, match="found file_name, breed"):
        FolderSource(str(root), label_column="race")


def test_links_count_for_what_they_lead_to_inside_the_root_only(tmp_path: Path) -> None:
    """A link out is refused, in every disguise."""
    root = grow(tmp_path / "root", "cat/a.png")
    grow(tmp_path, "out.png", "outdir/x.png")
    cat = root / "cat"
    (cat / "in.png").symlink_to("a.png")
    (cat / "out.png").symlink_to(tmp_path / "out.png")
    (cat / "out.txt").symlink_to("/etc/hostname")
    (cat / "outdir").symlink_to("../../outdir")
    (cat / "up").symlink_to("..")
    (cat / "gone.png").symlink_to("nothing.png")
    (cat / "gone_outside.png").symlink_to("../../nothing.png")
    (cat / "loop.png").symlink_to("loop.png")
    source = FolderSource(str(root))
    found = statuses(source)
    assert {item.id: item.content for item in source.stream()}["cat/in.png"] == png(0)
    assert {name: status for name, (status, _) in found.items()} == {
        "cat/a.png": Status.SCANNED,
        "cat/in.png": Status.SCANNED,
        "cat/out.png": Status.REFUSED,
        "cat/out.txt": Status.REFUSED,
        "cat/outdir": Status.REFUSED,
        "cat/up": Status.IGNORED,
        "cat/gone.png": Status.UNREADABLE,
        "cat/gone_outside.png": Status.REFUSED,
        "cat/loop.png": Status.UNREADABLE,
    }


def test_pipes_sockets_and_giants_are_refused_without_being_opened(tmp_path: Path) -> None:
    """A pipe would block for ever."""
    root = grow(tmp_path / "r", "cat/a.png", "cat/giant.png")
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "cat" / "to_pipe.png").symlink_to("pipe.png")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "cat" / "s.png"))
    os.truncate(root / "cat" / "giant.png", 10_000)
    found = statuses(FolderSource(str(root), limits=Limits(max_bytes=5_000)))
    refused = {name for name, (status, _) in found.items() if status is Status.REFUSED}
    assert refused == {"cat/pipe.png", "cat/to_pipe.png", "cat/s.png", "cat/giant.png"}


def test_a_file_exchanged_for_a_pipe_or_a_link_after_listing_is_not_followed(tmp_path: Path) -> None:
    """What was opened is looked at again."""
    root = grow(tmp_path / "r", "cat/a.png", "cat/b.png", "cat/c.png")
    source = FolderSource(str(root))
    for name in "abc":
        (root / "cat" / f"{name}.png").unlink()
    os.mkfifo(root / "cat" / "a.png")
    (root / "cat" / "b.png").symlink_to("/etc/hostname")
    found = statuses(source)
    assert found["cat/a.png"] == (Status.REFUSED, "not a regular file")
    assert found["cat/b.png"][0] is Status.UNREADABLE
    assert found["cat/c.png"][0] is Status.UNREADABLE


def test_what_may_not_be_read_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, and a folder as one item."""
    root = grow(tmp_path, "cat/a.png", "cat/closed.png", "dog/a.png", "zoo/a.png")
    real_open, real_scandir = os.open, os.scandir

    def no_open(path: str, *rest: int) -> int:
        if str(path).endswith("closed.png"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *rest)

    def no_scandir(path: str) -> object:
        if str(path).endswith("zoo"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", no_scandir)
    source = FolderSource(str(root))
    monkeypatch.setattr(os, "open", no_open)
    found = statuses(source)
    assert found["zoo/"] == (Status.UNREADABLE, "cannot be listed (permission denied)")
    assert found["cat/closed.png"] == (Status.UNREADABLE, "cannot be opened (permission denied)")
    assert source.class_names == ("cat", "dog")


def test_names_that_are_no_text_become_ids_that_are(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, newlines, and a name made to look like an escaped one."""
    cat = tmp_path / "cat"
    cat.mkdir()
    names = [b"caf\xe9.png", rb"caf\udce9.png", b"new\nline.png", b"quote'\".png"]
    for value, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(cat) + b"/" + name)).write_bytes(png(value))
    source = FolderSource(str(tmp_path))
    contents = {item.id: item.content for item in source.stream()}
    assert contents[r"cat/caf\udce9.png"] == png(1)
    assert contents[r"cat/caf\udce9.png~"] == png(0)
    assert contents["cat/new\nline.png"] == png(2)
    assert all(name.encode("utf-8") for name in contents)
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    source.rewrite(copy, keep)
    assert sorted(os.fsencode(path.name) for path in (copy / "cat").iterdir()) == sorted(names)


def test_formats_that_are_never_decoded_still_claim_to_be_images(tmp_path: Path) -> None:
    """A trainer may well load them, so they are not passed over in silence."""
    assert statuses(FolderSource(str(grow(tmp_path, "cat/a.png", "cat/b.avif"))))["cat/b.avif"][0] is Status.SCANNED


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "text", "broken", "two", "link", "nul"])
def test_a_source_that_is_none_is_one_line(tmp_path: Path, kind: str) -> None:
    """What was expected, what came, what to do."""
    root = tmp_path / "weird\nname"
    if kind == "file":
        root.write_bytes(png(0))
    elif kind not in ("missing", "nul"):
        root.mkdir()
    if kind == "text":
        (root / "notes.txt").write_text("hello")
    elif kind == "broken":
        (grow(root, "a.png") / "metadata.jsonl").write_text('{"file_name": "a.png"}\n[1]\n')
    elif kind == "two":
        with_csv(with_jsonl(grow(root, "a.png"), {"file_name": "a.png"}), "file_name,label")
    elif kind == "link":
        (grow(root, "a.png") / "metadata.csv").symlink_to("/etc/hostname")
    with pytest.raises(SourceError) as caught:
        FolderSource(str(root) + ("\0" if kind == "nul" else ""))
    assert "\n" not in str(caught.value)


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    """By id; ids that do not exist are no error."""
    source = FolderSource(str(LAYOUTS["classes"](tmp_path)))
    assert [item.id for item in source.stream(frozenset({"dog/a.png", "nobody"}))] == ["dog/a.png"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_nothing_changed_is_the_same_source(tmp_path: Path, layout: str) -> None:
    """Same ids, labels and bytes, whatever the layout."""
    source = FolderSource(str(LAYOUTS[layout](tmp_path / "root")))
    new_ids = source.rewrite(tmp_path / "copy", keep)
    copy = open_source(str(tmp_path / "copy"))
    assert isinstance(copy, FolderSource)
    assert snapshot(copy) == snapshot(source)
    assert copy.class_names == source.class_names
    assert new_ids == {name: name for name in snapshot(source)}


@pytest.mark.parametrize("layout", ["classes", "splits", "csv", "jsonl"])
def test_a_copy_carries_new_labels_and_bytes_and_leaves_out_what_it_should(tmp_path: Path, layout: str) -> None:
    """The ids it returns lead to exactly what was asked for."""
    source = FolderSource(str(LAYOUTS[layout](tmp_path / "root")))
    first, *rest = snapshot(source)

    def change(found: Found) -> Change:
        return None if found.id == first else (encode(np.zeros((4, 4, 3), np.uint8), "JPEG"), 0)

    new_ids = source.rewrite(tmp_path / "copy", change)
    copy = FolderSource(str(tmp_path / "copy"))
    assert list(new_ids) == rest
    assert set(labels(copy)) == set(new_ids.values())
    assert set(labels(copy).values()) == {source.class_names[0]}
    assert all(name.endswith(".jpg") for name in new_ids.values())


def test_metadata_keep_their_other_columns_order_and_kinds(tmp_path: Path) -> None:
    """Numbers stay numbers."""
    source = FolderSource(str(LAYOUTS["jsonl"](tmp_path / "root")))
    source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 1))
    rows = [json.loads(line) for line in (tmp_path / "copy" / "metadata.jsonl").read_text().splitlines()]
    assert rows == [{"file_name": "a.png", "label": 10, "n": [1]}, {"file_name": "b.png", "label": 10}]
    source = FolderSource(str(LAYOUTS["csv"](tmp_path / "table")))
    source.rewrite(tmp_path / "copied", lambda found: (found.content or b"", 1))
    assert (tmp_path / "copied" / "metadata.csv").read_text() == "file_name,label,note\na.png,y,1\nsub/b.png,y,2\n"


def test_a_moved_image_never_takes_the_name_of_another(tmp_path: Path) -> None:
    """Not even of one that leaves, or is no image."""
    source = FolderSource(str(grow(tmp_path / "root", "a/x.png", "a/x_1.png", "b/x.png", "c/x.png")))
    new_ids = source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 0))
    assert new_ids == {"a/x.png": "a/x.png", "a/x_1.png": "a/x_1.png", "b/x.png": "a/x_2.png", "c/x.png": "a/x_3.png"}
    assert (tmp_path / "copy" / "a" / "x_2.png").read_bytes() == png(2)


def test_a_failing_copy_leaves_nothing(tmp_path: Path) -> None:
    """Complete or absent; an unknown label is such a failure."""
    source = FolderSource(str(LAYOUTS["classes"](tmp_path / "root")))
    with pytest.raises(UsageError, match="label below 2, got -1"):
        source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", -1))
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
