"""Saved datasets: every row and file accounted for, and copies that the library itself loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from dataset_toys import FILE, dataset, keep, loaded, names_in, png, saved, scanned, two_splits

from sanitizer.errors import SourceError
from sanitizer.sources.base import Change, Found, Status
from sanitizer.sources.decode import Limits
from sanitizer.sources.saved import SavedDatasetSource


def describe(folder: Path, name: str, **changes: Any) -> None:
    """Change some of what a JSON file of a saved dataset says."""
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))


def listing(*names: str) -> list[dict[str, str]]:
    """The files as state.json lists them."""
    return [{"filename": name} for name in names]


def stream_of(path: Path, data: pa.Table, **options: Any) -> None:
    """An Arrow stream in place of whatever is there."""
    with path.open("wb") as file, pa.ipc.new_stream(file, data.schema, options=pa.ipc.IpcWriteOptions(**options)) as to:
        to.write_table(data)


def test_saved_folders_are_claimed_and_nothing_else(tmp_path: Path) -> None:
    """Images or Parquet beside the descriptions mean something else."""
    one = saved(tmp_path / "one", dataset([0, 1]))
    both = saved(tmp_path / "both", two_splits())
    assert SavedDatasetSource.claims(str(one))
    assert SavedDatasetSource.claims(str(both))
    for name in ("state.json", "dataset_info.json"):
        (one / name).unlink()
    assert SavedDatasetSource.claims(str(one))
    assert not SavedDatasetSource.claims(str(one / FILE))
    assert not SavedDatasetSource.claims(str(tmp_path))
    assert not SavedDatasetSource.claims(str(tmp_path / "none"))
    for name in ("x.png", "x.parquet"):
        (both / "train" / name).write_bytes(png(0))
        assert not SavedDatasetSource.claims(str(both))
        (both / "train" / name).unlink()


def test_rows_are_numbered_in_each_file_and_files_come_in_their_order(tmp_path: Path) -> None:
    """The order that state.json gives, not that of the names."""
    folder = saved(tmp_path / "d", dataset([1, 0, 1, 0, 0]), num_shards=2)
    names = ["data-00001-of-00002.arrow", "data-00000-of-00002.arrow"]
    describe(folder, "state.json", _data_files=listing(*names))
    source = SavedDatasetSource(str(folder))
    assert source.root == folder.resolve()
    assert source.class_names == ("zebra", "ant")
    assert scanned(source) == {
        f"{names[0]}#0": (png(3), 0),
        f"{names[0]}#1": (png(4), 0),
        f"{names[1]}#0": (png(0), 1),
        f"{names[1]}#1": (png(1), 0),
        f"{names[1]}#2": (png(2), 1),
    }
    assert next(iter(scanned(source))) == f"{names[0]}#0"


def test_the_splits_are_one_set(tmp_path: Path) -> None:
    """Each id begins with its split."""
    source = SavedDatasetSource(str(saved(tmp_path / "d", two_splits())))
    expected = [f"train/{FILE}#{row}" for row in range(5)] + [f"test/{FILE}#{row}" for row in range(2)]
    assert list(scanned(source)) == expected
    assert scanned(source)[f"test/{FILE}#0"] == (png(100), 1)


def test_everything_else_in_the_folder_is_counted_once(tmp_path: Path) -> None:
    """Descriptions, files that nothing lists, links out, pipes."""
    folder = saved(tmp_path / "d", dataset([0]))
    shutil.copy(folder / FILE, tmp_path / "out.arrow")
    shutil.copy(folder / FILE, folder / "old.arrow")
    (folder / "README.md").write_text("hello")
    (folder / f"{FILE}#0").write_text("hello")
    (folder / "link.arrow").symlink_to("../out.arrow")
    (folder / "inner.arrow").symlink_to("old.arrow")
    os.mkfifo(folder / "pipe.arrow")
    describe(folder, "state.json", _data_files=listing(FILE, "link.arrow", "inner.arrow", "pipe.arrow"))
    items = [(found.id, found.status, found.reason) for found in SavedDatasetSource(str(folder)).stream()]
    assert items == [
        (f"{FILE}#0", Status.SCANNED, ""),
        ("inner.arrow#0", Status.SCANNED, ""),
        ("README.md", Status.IGNORED, "not Arrow"),
        (f"{FILE}#0~", Status.IGNORED, "not Arrow"),
        ("dataset_info.json", Status.IGNORED, "describes the dataset"),
        ("link.arrow", Status.REFUSED, "a link out of the root"),
        ("old.arrow", Status.IGNORED, "not listed in state.json"),
        ("pipe.arrow", Status.REFUSED, "not a regular file"),
        ("state.json", Status.IGNORED, "describes the dataset"),
    ]


def test_rows_without_bytes_or_class_are_unreadable_and_giants_refused(tmp_path: Path) -> None:
    """A path in a file is never opened."""
    folder = saved(tmp_path / "d", dataset([0, 0, 0, 0, None, -1]))
    images = [{"bytes": png(0)}, {"path": "/etc/passwd"}, None, {"bytes": b"x" * 999}, *[{"bytes": png(1)}] * 2]
    old = pa.ipc.open_stream((folder / FILE).read_bytes()).read_all()
    stream_of(folder / FILE, old.set_column(0, old.schema.field(0), pa.array(images, old.schema.field(0).type)))
    source = SavedDatasetSource(str(folder), limits=Limits(max_bytes=500))
    found = [(item.status, item.reason, item.content is None) for item in source.stream()][:6]
    no_bytes = (Status.UNREADABLE, "no bytes in this row (paths are not followed)", True)
    no_class = (Status.UNREADABLE, "no label of a known class", True)
    giant = (Status.REFUSED, "larger than 500 bytes", True)
    assert found == [(Status.SCANNED, "", False), no_bytes, no_bytes, giant, no_class, no_class]


def test_class_names_are_those_that_the_library_goes_by(tmp_path: Path) -> None:
    """Where dataset_info.json and the Arrow file differ, the former decides what is trained on."""
    folder = saved(tmp_path / "d", dataset([0, 1]))
    features = json.loads((folder / "dataset_info.json").read_text())["features"]
    features["label"]["names"] = ["a", "b", "c"]
    describe(folder, "dataset_info.json", features=features)
    assert loaded(folder).features["label"].names == ["a", "b", "c"]
    assert SavedDatasetSource(str(folder)).class_names == ("a", "b", "c")
    describe(folder, "dataset_info.json", features=None)
    assert SavedDatasetSource(str(folder)).class_names == ("zebra", "ant")


@pytest.mark.parametrize(
    "listed",
    [
        listing("../x"),
        listing("/etc/passwd"),
        listing("sub/x.arrow"),
        listing("..\\x"),
        listing(".."),
        listing(""),
        listing("a\0b"),
        listing(FILE, FILE),
        listing(FILE, "not-there.arrow"),
        [{"filename": 3}],
        [{}],
        [FILE],
        [],
        FILE,
        None,
    ],
)
def test_a_list_of_files_that_leads_elsewhere_is_one_line(tmp_path: Path, listed: object) -> None:
    """Names of files in the same folder, each once, and nothing else."""
    folder = saved(tmp_path / "d", dataset([0]))
    (folder / "sub").mkdir()
    shutil.copy(folder / FILE, folder / "sub" / "x.arrow")
    shutil.copy(folder / FILE, tmp_path / "x")
    describe(folder, "state.json", _data_files=listed)
    with pytest.raises(SourceError, match=r"state\.json") as caught:
        SavedDatasetSource(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("splits", [["../d"], ["."], ["train", "train"], ["train", "none"], [], [3], "train", None])
def test_splits_that_lead_elsewhere_are_one_line(tmp_path: Path, splits: object) -> None:
    """Names of folders in this one."""
    folder = saved(tmp_path / "d", two_splits())
    describe(folder, "dataset_dict.json", splits=splits)
    with pytest.raises(SourceError, match=r"dataset_dict\.json|none/state\.json"):
        SavedDatasetSource(str(folder))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'{"a": "\xff"}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_a_description_that_is_none_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """Whatever lies there, the message names the file."""
    folder = saved(tmp_path / "d", dataset([0]))
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"JSON object in '{name}'") as caught:
        SavedDatasetSource(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_a_description_that_is_missing_or_leads_out_is_one_line(tmp_path: Path, name: str) -> None:
    """And what is to be done about it."""
    folder = saved(tmp_path / "d", dataset([0]))
    (folder / name).rename(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}.*save_to_disk"):
        SavedDatasetSource(str(folder))
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(SourceError, match="a link out of the root"):
        SavedDatasetSource(str(folder))


def test_two_meanings_are_none(tmp_path: Path) -> None:
    """A folder that describes itself as one dataset and as several."""
    folder = saved(tmp_path / "d", two_splits())
    (folder / "state.json").write_text("{}")
    with pytest.raises(SourceError, match="found both"):
        SavedDatasetSource(str(folder))


def test_a_set_whose_files_all_lead_out_is_none(tmp_path: Path) -> None:
    """Nothing is left that could be scanned."""
    folder = saved(tmp_path / "d", dataset([0]))
    (folder / FILE).rename(tmp_path / "out.arrow")
    (folder / FILE).symlink_to("../out.arrow")
    with pytest.raises(SourceError, match="a link out of the root"):
        SavedDatasetSource(str(folder))


def _nonsense_offsets(content: bytes) -> bytes:
    """Ten images whose offsets point far beyond the file."""
    old = np.cumsum([len(png(value)) for value in range(10)], dtype="<i4")
    assert content.count(old.tobytes()) == 1
    return content.replace(old.tobytes(), (old + 2**30).tobytes())


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "cut in the schema": lambda content: content[:50],
    "empty": lambda content: b"",
    "text": lambda content: b"no Arrow at all",
    "Arrow file": lambda content: b"ARROW1\0\0" + content,
    "offsets": _nonsense_offsets,
    "name": lambda content: content.replace(b"label", b"lab\xffl"),
    "giant message": lambda content: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + content,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupt_file_is_one_line_that_names_it(tmp_path: Path, damage: str) -> None:
    """At opening or while reading, never a crash."""
    folder = saved(tmp_path / "d", dataset([0, 1] * 5))
    (folder / FILE).write_bytes(DAMAGE[damage]((folder / FILE).read_bytes()))
    with pytest.raises(SourceError, match=FILE) as caught:
        list(SavedDatasetSource(str(folder)).stream())
    assert "\n" not in str(caught.value)


def rows_or_line(folder: Path) -> int | str:
    """How many rows are found, or the error."""
    try:
        return sum("#" in found.id for found in SavedDatasetSource(str(folder)).stream())
    except SourceError as error:
        return str(error)


def test_bytes_flipped_anywhere_never_crash(tmp_path: Path) -> None:
    """Either one line, or no more rows than there were."""
    folder = saved(tmp_path / "d", dataset([0, 1] * 5))
    content = (folder / FILE).read_bytes()
    random = np.random.default_rng(0)
    ends = []
    for _ in range(150):
        broken = bytearray(content)
        for place in random.integers(0, len(content), 3):
            broken[place] = random.integers(0, 256)
        (folder / FILE).write_bytes(bytes(broken))
        ends.append(rows_or_line(folder))
    lines = [end for end in ends if isinstance(end, str)]
    assert not [line for line in lines if "\n" in line]
    assert max(end for end in ends if isinstance(end, int)) == 10
    assert 10 < len(lines) < 140


def test_what_can_be_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """The library writes neither compressed batches nor dictionaries."""
    folder = saved(tmp_path / "d", dataset([0, 1]))
    table = pa.ipc.open_stream((folder / FILE).read_bytes()).read_all()
    for codec in ("zstd", "lz4"):
        stream_of(folder / FILE, table, compression=codec)
        with pytest.raises(SourceError, match="compressed"):
            list(SavedDatasetSource(str(folder)).stream())
    stream_of(folder / FILE, table.append_column("word", pa.array(["a", "b"]).dictionary_encode()))
    with pytest.raises(SourceError, match="dictionaries"):
        list(SavedDatasetSource(str(folder)).stream())


def test_a_copy_of_nothing_changed_is_the_same_dataset(tmp_path: Path) -> None:
    """To the library: all columns, features, order, split and format; only the fingerprint is new."""
    data = dataset([0, 1] * 5, words=list("abcdefghij")).with_format("numpy")
    data.info.description = "Ten pictures."
    folder = saved(tmp_path / "d", data, num_shards=2)
    describe(folder, "state.json", _split="train", unknown=1)
    describe(folder, "dataset_info.json", splits={"train": {"name": "train", "num_examples": 10}}, dataset_size=99)
    source = SavedDatasetSource(str(folder))
    assert source.rewrite(tmp_path / "copy", keep) == {name: name for name in scanned(source)}
    old, new = loaded(folder), loaded(tmp_path / "copy")
    assert new.features == old.features
    assert new.with_format(None).to_list() == old.with_format(None).to_list()
    assert (str(new.split), new.format["type"], new.info.description) == ("train", "numpy", "Ten pictures.")
    assert (new.info.splits, new.info.dataset_size) == (None, None)
    prints = [json.loads((place / "state.json").read_text())["_fingerprint"] for place in (folder, tmp_path / "copy")]
    assert len(set(prints)) == 2
    assert names_in(tmp_path / "copy") == names_in(folder)
    assert scanned(SavedDatasetSource(str(tmp_path / "copy"))) == scanned(source)


def test_a_copy_of_splits_is_loaded_as_splits(tmp_path: Path) -> None:
    """Rows left out move the others up; new bytes and labels lie where they should, other columns stay."""
    data = datasets.DatasetDict(train=dataset([0, 1, 0], words=list("abc")), test=dataset([1, 0], words=list("de")))
    source = SavedDatasetSource(str(saved(tmp_path / "d", data)))

    def change(found: Found) -> Change:
        return None if found.id in (f"train/{FILE}#1", f"test/{FILE}#0") else (b"new", 1)

    assert source.rewrite(tmp_path / "copy", change) == {
        f"train/{FILE}#0": f"train/{FILE}#0",
        f"train/{FILE}#2": f"train/{FILE}#1",
        f"test/{FILE}#1": f"test/{FILE}#0",
    }
    copy = loaded(tmp_path / "copy")
    assert list(copy) == ["train", "test"]
    assert copy["train"].to_list() == [
        {"image": {"bytes": b"new", "path": "0.png"}, "label": 1, "words": "a"},
        {"image": {"bytes": b"new", "path": "2.png"}, "label": 1, "words": "c"},
    ]
    assert copy["test"].to_list() == [{"image": {"bytes": b"new", "path": "1.png"}, "label": 1, "words": "e"}]


def test_the_fingerprint_of_a_copy_follows_its_content(tmp_path: Path) -> None:
    """The library must not take one copy's cached results for another's."""
    source = SavedDatasetSource(str(saved(tmp_path / "d", dataset([0, 1]))))
    prints = []
    for name, label in (("a", 0), ("b", 0), ("c", 1)):
        source.rewrite(tmp_path / name, lambda found, label=label: (found.content or b"", label))
        prints.append(json.loads((tmp_path / name / "state.json").read_text())["_fingerprint"])
    assert prints[0] == prints[1] != prints[2]
