"""Tar shards: members of one key are one sample, wherever they lie, and copies keep it so."""

from __future__ import annotations

import json
import os
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tar_toys import Members, keep, labelled, members_of, pack, png, seen

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Status
from sanitizer.sources.census import take_census
from sanitizer.sources.encode import encode
from sanitizer.sources.folder import FolderSource
from sanitizer.sources.webdataset import TarSource


def jpg(value: int) -> bytes:
    """A small picture that loses a little."""
    return encode(np.full((8, 8, 3), value, np.uint8), "JPEG")


def told(source: Any) -> list[tuple[str, str | None]]:
    """What the samples are, ids aside."""
    census = take_census(source)
    return [
        (sample.digest, None if sample.label is None else census.class_names[sample.label]) for sample in census.samples
    ]


def test_a_file_a_glob_and_a_folder_are_claimed_and_nothing_else(tmp_path: Path) -> None:
    """Folders with images or with Parquet belong to others."""
    file = pack(tmp_path / "d" / "a.tar", labelled())
    (tmp_path / "d" / "README.md").write_text("hello")
    assert TarSource.claims(str(file))
    assert TarSource.claims(str(tmp_path / "d"))
    assert TarSource.claims(str(tmp_path / "d" / "*.tar"))
    assert TarSource.claims("anything.tar.gz")
    assert not TarSource.claims(str(tmp_path / "d" / "*.md"))
    assert not TarSource.claims(str(tmp_path / "d" / "README.md"))
    (tmp_path / "d" / "b.parquet").write_bytes(b"PAR1")
    assert not TarSource.claims(str(tmp_path / "d"))
    (tmp_path / "d" / "b.parquet").rename(tmp_path / "d" / "x.png")
    assert not TarSource.claims(str(tmp_path / "d"))


def test_ids_are_the_path_of_the_shard_and_the_name_of_the_member(tmp_path: Path) -> None:
    """Relative to what was named; names that look the same are kept apart."""
    odd = [("a.png", png(0)), ("a.png", png(1)), ("caf\udce9.png", png(2)), ("caf\\udce9.png", png(3))]
    pack(tmp_path / "d" / "x" / "s-0.tar", odd)
    pack(tmp_path / "d" / "s-1.tar", labelled(1)[:1])
    source = TarSource(str(tmp_path / "d"))
    assert list(seen(source)) == [
        "s-1.tar#d/0000.png",
        *(f"x/s-0.tar#{name}" for name in ("a.png", "a.png~", "caf\\udce9.png", "caf\\udce9.png~")),
    ]
    assert source.root == (tmp_path / "d").resolve()
    assert list(seen(TarSource(str(tmp_path / "d" / "*.tar")))) == ["s-1.tar#d/0000.png"]
    assert [found.content for found in source.stream(frozenset({"x/s-0.tar#a.png~", "x/s-0.tar#b"}))] == [png(1)]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([("cls", b"10"), ("cls", b" 9\n")], ("9", "10")),
        ([("cls", b"dog"), ("cls", b"cat")], ("cat", "dog")),
        ([("json", b'{"label": 10}'), ("json", b'{"label": 9.0}')], ("9", "10")),
        ([("json", b'{"class": "b", "label": null}'), ("json", b'{"category": "a"}')], ("a", "b")),
        ([("CLS", b"1"), ("json", b'{"label": 0}')], ("0", "1")),
    ],
)
def test_labels_come_from_a_member_of_their_own_or_from_json(tmp_path: Path, labels: Any, names: Any) -> None:
    """Numbers are sorted as numbers."""
    members = [
        one
        for row, (extension, said) in enumerate(labels)
        for one in ((f"{row}.jpg", png(row)), (f"{row}.{extension}", said))
    ]
    source = TarSource(str(pack(tmp_path / "a.tar", members)))
    assert source.class_names == names
    assert [found.label for found in source.stream()] == [1, 0]


def test_the_label_member_counts_before_the_json_unless_a_column_is_named(tmp_path: Path) -> None:
    """A column is the extension of a member, or a field."""
    members = [("0.png", png(0)), ("0.cls", b"7"), ("0.json", b'{"label": 8, "breed": 9}'), ("0.kind", b"10")]
    file = str(pack(tmp_path / "a.tar", members))
    for column, name in ((None, "7"), ("cls", "7"), ("label", "8"), ("breed", "9"), ("kind", "10")):
        assert TarSource(file, label_column=column).class_names == (name,)
    with pytest.raises(SourceError, match=r"expected labels in members \.colour or under 'colour'") as caught:
        TarSource(file, label_column="colour")
    assert "\n" not in str(caught.value)


def test_a_set_without_labels_has_none(tmp_path: Path) -> None:
    """Captions are no labels, nor is what cannot be read as one."""
    hostile = [b'{"caption": "x"}', b"[" * 60_000, b'{"label": [1]}', b"\xff", b'{"label": 1' + b"0" * 5000 + b"}"]
    members: Members = [("0.png", png(0)), ("0.txt", b"a cat"), ("0.cls", b" ")]
    members += [part for n, text in enumerate(hostile, 1) for part in ((f"{n}.png", png(n)), (f"{n}.json", text))]
    source = TarSource(str(pack(tmp_path / "a.tar", members)))
    assert source.class_names == ()
    assert [item.label for item in source.stream()] == [None] * 7
    assert seen(source)["a.tar#0.txt"] == (Status.IGNORED, None)


def test_images_without_a_label_are_unreadable_where_others_have_one(tmp_path: Path) -> None:
    """As are those with two that disagree; a sidecar too large is not read."""
    members = labelled(2)
    members += [("u.png", png(9)), ("v.png", png(8)), ("v.cls", b"0"), ("v.cls", b"1")]
    members += [("w.png", png(7)), ("w.cls", b"0" * 70_000)]
    found = {
        item.id[6:]: (item.status, item.reason) for item in TarSource(str(pack(tmp_path / "a.tar", members))).stream()
    }
    assert found["u.png"] == found["w.png"] == (Status.UNREADABLE, "no label")
    assert found["v.png"] == (Status.UNREADABLE, "two different labels")
    assert found["w.cls"] == (Status.IGNORED, "larger than the 65536 bytes that a label may have")
    assert found["d/0001.png"] == (Status.SCANNED, "")


def test_two_images_under_one_key_share_the_label(tmp_path: Path) -> None:
    """Both are samples; a copy cannot give them two labels."""
    members = [("0.left.png", png(0)), ("0.cls", b"a"), ("0.right.png", png(1)), ("1.png", png(2)), ("1.cls", b"b")]
    source = TarSource(str(pack(tmp_path / "a.tar", members)))
    assert [name for _, name in seen(source).values()] == ["a", "a", "b"]
    source.rewrite(tmp_path / "half", lambda found: None if "left" in found.id else keep(found))
    assert list(members_of(tmp_path / "half" / "a.tar")) == ["0.cls", "0.right.png", "1.png", "1.cls"]
    with pytest.raises(UsageError, match="share it"):
        source.rewrite(tmp_path / "copy", lambda found: (b"", "left" in found.id))


def test_other_files_of_the_folder_are_counted(tmp_path: Path) -> None:
    """Links out of it, pipes, and a file called like a member."""
    pack(tmp_path / "d" / "a.tar", labelled(1))
    pack(tmp_path / "out.tar", labelled(1))
    (tmp_path / "d" / "a.tar#d").mkdir()
    (tmp_path / "d" / "a.tar#d" / "0000.png.txt").write_text("hello")
    (tmp_path / "d" / "link.tar").symlink_to("../out.tar")
    os.mkfifo(tmp_path / "d" / "pipe.tar")
    assert {name: status for name, (status, _) in seen(TarSource(str(tmp_path / "d"))).items()} == {
        "a.tar#d/0000.png": Status.SCANNED,
        "a.tar#d/0000.png.txt": Status.IGNORED,
        "link.tar": Status.REFUSED,
        "pipe.tar": Status.REFUSED,
    }
    with pytest.raises(SourceError, match="expected images"):
        TarSource(str(tmp_path / "d" / "lin*.tar"))


@pytest.mark.parametrize("members", [[], [("a.txt", b"hello"), ("a.cls", b"1")]])
def test_an_archive_without_images_is_no_source(tmp_path: Path, members: Members) -> None:
    """Nor is a path where nothing is."""
    with pytest.raises(SourceError, match="expected images in"):
        TarSource(str(pack(tmp_path / "a.tar", members)))
    with pytest.raises(SourceError, match="expected a tar file"):
        TarSource(str(tmp_path / "none.tar"))


def test_a_folder_and_a_tar_of_it_are_the_same_set(tmp_path: Path) -> None:
    """Digests and labels, in canonical order; formats that are known and never decoded count alike too."""
    members = []
    for row in range(6):
        kind = "cat" if row % 3 else "dog"
        path = tmp_path / "folder" / kind / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(row) if row else b"broken")
        members += [(f"{row}.png", path.read_bytes()), (f"{row}.cls", kind.encode())]
    (tmp_path / "folder" / "cat" / "x.heic").write_bytes(b"?")
    members += [("x.heic", b"?"), ("x.cls", b"cat")]
    folder = FolderSource(str(tmp_path / "folder"))
    tar = TarSource(str(pack(tmp_path / "a.tar", members)))
    assert told(tar) == told(folder)
    assert take_census(tar).counts == take_census(folder).counts


@pytest.mark.parametrize("extension", ["cls", "json"])
def test_shuffling_members_changes_nothing(tmp_path: Path, extension: str) -> None:
    """Labels may come before or long after their image."""
    members = labelled(6, extension)
    source = TarSource(str(pack(tmp_path / "a.tar", members)))
    random.Random(3).shuffle(members)
    shuffled = TarSource(str(pack(tmp_path / "b.tar", members)))
    assert told(shuffled) == told(source)
    flipped = [(found.rewrite(tmp_path / name, flip), name) for found, name in ((source, "x"), (shuffled, "y"))]
    assert [len(ids) for ids, _ in flipped] == [6, 6]
    assert told(TarSource(str(tmp_path / "x"))) == told(TarSource(str(tmp_path / "y"))) != told(source)
    assert list(members_of(tmp_path / "y" / "b.tar")) == [name for name, _ in members]


def flip(found: Found) -> Change:
    """The other one of two labels."""
    assert found.content is not None
    assert found.label is not None
    return found.content, 1 - found.label


def test_a_copy_of_nothing_changed_holds_the_same(tmp_path: Path) -> None:
    """Over several shards; written twice it is the same to the byte."""
    extra: Members = [("d/0001.txt", b"caption"), ("alone.json", b"{}")]
    pack(tmp_path / "d" / "s-0.tar", labelled() + extra, tarfile.GNU_FORMAT)
    pack(tmp_path / "d" / "sub" / "s-1.tar", [("caf\udce9.png", png(9)), ("caf\udce9.cls", b"1"), ("a.png", png(8))])
    source = TarSource(str(tmp_path / "d"))
    new_ids = source.rewrite(tmp_path / "copy", keep)
    assert new_ids == {id: id for id, (status, _) in seen(source).items() if status is Status.SCANNED}
    copied = TarSource(str(tmp_path / "copy"))
    assert told(copied) == told(source)
    assert copied.class_names == source.class_names
    assert members_of(tmp_path / "copy" / "s-0.tar") == dict(labelled() + extra)
    copied.rewrite(tmp_path / "again", keep)
    for name in ("s-0.tar", "sub/s-1.tar"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()
    with tarfile.open(tmp_path / "copy" / "s-0.tar", "r:") as tar:
        assert {(info.mtime, info.uid, info.gid, info.mode, info.uname) for info in tar} == {(0, 0, 0, 0o644, "")}


def test_a_copy_carries_new_labels_bytes_and_extensions_and_drops_what_lay_beside(tmp_path: Path) -> None:
    """An image that goes takes its label and its caption along."""
    members: Members = [
        ("0.png", png(0)),
        ("0.cls", b"cat"),
        ("0.json", b'{"label": "cat", "n": 5}'),
        ("1.cls", b"dog"),
        ("1.txt", b"a dog"),
        ("1.png", png(1)),
        ("2.json", b'{"n": 6, "label": "dog"}'),
        ("2.png", png(2)),
        ("2.jpg", jpg(3)),
        ("3.jpeg", jpg(4)),
        ("3.cls", b"cat"),
    ]
    source = TarSource(str(pack(tmp_path / "a.tar", members)))

    def change(found: Found) -> Change:
        return None if found.id == "a.tar#1.png" else (jpg(40 + len(found.id)), 1)

    assert source.rewrite(tmp_path / "copy", change) == {
        "a.tar#0.png": "a.tar#0.jpg",
        "a.tar#2.png": "a.tar#2.1.jpg",
        "a.tar#2.jpg": "a.tar#2.jpg",
        "a.tar#3.jpeg": "a.tar#3.jpeg",
    }
    copied = members_of(tmp_path / "copy" / "a.tar")
    assert list(copied) == ["0.jpg", "0.cls", "0.json", "2.json", "2.1.jpg", "2.jpg", "3.jpeg", "3.cls"]
    assert (copied["0.cls"], json.loads(copied["0.json"])) == (b"dog", {"label": "dog", "n": 5})
    assert copied["2.json"] == b'{"n": 6, "label": "dog"}'
    assert set(seen(TarSource(str(tmp_path / "copy"))).values()) == {(Status.SCANNED, "dog")}


def test_new_labels_are_said_as_the_set_says_them(tmp_path: Path) -> None:
    """Numbers in JSON stay numbers, whatever the first of them looked like."""
    file = pack(tmp_path / "a.tar", labelled(2, "json"))
    TarSource(str(file)).rewrite(tmp_path / "copy", flip)
    copied = members_of(tmp_path / "copy" / "a.tar")
    assert [json.loads(copied[f"d/000{row}.json"]) for row in (0, 1)] == [{"label": 1, "n": 0}, {"label": 0, "n": 1}]


def test_a_failing_copy_leaves_nothing(tmp_path: Path) -> None:
    """A label that no class has, none where there are classes, or a change that raises."""
    source = TarSource(str(pack(tmp_path / "d" / "a.tar", labelled())))
    for label in (2, -1, None):
        with pytest.raises(UsageError, match="expected a label below 2"):
            source.rewrite(tmp_path / "copy", lambda found, label=label: (b"", label))  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_shard_that_loses_its_samples_stays_and_is_empty(tmp_path: Path) -> None:
    """The others are read as before."""
    pack(tmp_path / "d" / "a.tar", labelled(1))
    pack(tmp_path / "d" / "b.tar", labelled(2))
    source = TarSource(str(tmp_path / "d"))
    source.rewrite(tmp_path / "copy", lambda found: None if found.id.startswith("a") else keep(found))
    assert list(seen(TarSource(str(tmp_path / "copy")))) == ["b.tar#d/0000.png", "b.tar#d/0001.png"]
    assert members_of(tmp_path / "copy" / "a.tar") == {}
