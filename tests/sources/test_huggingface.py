"""Datasets in memory: the same rows as on disk, as they stand, and copies that the library itself loads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from dataset_toys import FILE, dataset, keep, loaded, names_in, png, saved, scanned, two_splits

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Source, Status
from sanitizer.sources.census import take_census
from sanitizer.sources.decode import Limits
from sanitizer.sources.huggingface import MemoryDatasetSource, is_dataset
from sanitizer.sources.parquet import ParquetSource
from sanitizer.sources.saved import SavedDatasetSource


def test_the_same_data_gives_the_same_samples_wherever_it_lies(tmp_path: Path) -> None:
    """As Parquet, saved, and in memory: digests, pixels, labels and order."""
    data = dataset([1, 0, 1, 0, 1])
    (tmp_path / "p").mkdir()
    data.to_parquet(str(tmp_path / "p" / "a.parquet"))
    sources: list[Source] = [
        ParquetSource(str(tmp_path / "p")),
        SavedDatasetSource(str(saved(tmp_path / "s", data, num_shards=3))),
        MemoryDatasetSource(data),
    ]
    told = [
        [(one.digest, one.view_digest, one.label, one.size) for one in take_census(source).samples]
        for source in sources
    ]
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 5
    assert len({source.class_names for source in sources}) == 1


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    """From whichever stored batch it lies in, and from memory."""
    data = dataset([0, 1] * 120)
    folder = saved(tmp_path / "d", data)
    table = pa.ipc.open_stream((folder / FILE).read_bytes()).read_all()
    with (folder / FILE).open("wb") as file, pa.ipc.new_stream(file, table.schema) as to:
        to.write_table(table, max_chunksize=7)
    rows = (0, 13, 239)
    for source, name in ((SavedDatasetSource(str(folder)), FILE), (MemoryDatasetSource(data), "")):
        wanted = frozenset({*(f"{name}#{row}" for row in rows), f"{name}#240", f"{name}#013", "other#1"})
        assert {item.id: item.content for item in source.stream(wanted)} == {f"{name}#{row}": png(row) for row in rows}
    assert [item.id for item in SavedDatasetSource(str(folder)).stream(frozenset({"state.json"}))] == ["state.json"]


def plain(columns: dict[str, Any]) -> datasets.Dataset:
    """A dataset of columns whose types are guessed."""
    return datasets.Dataset.from_dict(columns)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (plain({"a": [b"x"], "b": [b"y"]}), {}, r"one column of encoded images.*a \(binary\), b \(binary\)"),
        (plain({"a": [b"x"], "b": [b"y"]}), {"image_column": "c"}, "expected a column 'c'"),
        (plain({"a": [b"x"], "b": [1]}), {"label_column": "label"}, "expected a column 'label'"),
        (plain({"a": [b"x"], "label": [0.5]}), {}, "whole numbers or text in the label column 'label'"),
        (plain({"text": ["x"]}), {}, "one column of encoded images"),
        (plain({"v": [[0.5, 1.0]], "label": [1]}), {}, r"vectors are read from \.npz or Parquet"),
        (plain({"v": [[0.5]], "w": [[0.5]]}), {}, "one column of encoded images"),
    ],
)
def test_columns_that_cannot_be_meant_are_one_line(
    tmp_path: Path, data: datasets.Dataset, settings: dict[str, Any], message: str
) -> None:
    """The same line for the folder and for the object."""
    with pytest.raises(SourceError, match=message):
        MemoryDatasetSource(data, **settings)
    with pytest.raises(SourceError, match=message):
        SavedDatasetSource(str(saved(tmp_path / "d", data)), **settings)


def test_splits_must_mean_the_same(tmp_path: Path) -> None:
    """Other columns, or the same label with another name."""
    other_columns = datasets.DatasetDict(train=dataset([0]), test=dataset([0], more=["x"]))
    swapped = dataset([0]).cast_column("label", datasets.ClassLabel(names=["ant", "zebra"]))
    other_names = datasets.DatasetDict(train=dataset([0]), test=swapped)
    for index, (data, message) in enumerate(((other_columns, "same columns"), (other_names, "same class names"))):
        with pytest.raises(SourceError, match=message):
            MemoryDatasetSource(data)
        with pytest.raises(SourceError, match=message):
            SavedDatasetSource(str(saved(tmp_path / str(index), data)))


@pytest.mark.parametrize("saved_first", [True, False])
def test_columns_of_any_kind_go_with_their_row(tmp_path: Path, saved_first: bool) -> None:
    """Arrays, lists, nulls, and labels that are text."""
    kinds = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.Value("string"),
            "array": datasets.Array2D((2, 2), "float32"),
            "words": datasets.List(datasets.Value("string")),
        }
    )
    columns = {
        "image": [{"bytes": png(row), "path": None} for row in range(3)],
        "label": ["b", "a", "b"],
        "array": [[[row, 1.0], [2.0, 3.0]] for row in range(3)],
        "words": [["x", "y"], None, []],
    }
    data = datasets.Dataset.from_dict(columns, features=kinds)
    folder = saved(tmp_path / "d", data)
    source = SavedDatasetSource(str(folder)) if saved_first else MemoryDatasetSource(data)
    assert source.class_names == ("a", "b")
    source.rewrite(tmp_path / "copy", lambda found: None if found.id.endswith("#0") else keep(found))
    assert loaded(tmp_path / "copy").to_list() == loaded(folder).to_list()[1:]
    assert loaded(tmp_path / "copy").features == loaded(folder).features


@pytest.mark.parametrize("saved_first", [True, False])
def test_a_copy_without_rows_is_still_a_dataset(tmp_path: Path, saved_first: bool) -> None:
    """Same columns, no rows."""
    data = dataset([0, 1])
    source = SavedDatasetSource(str(saved(tmp_path / "d", data))) if saved_first else MemoryDatasetSource(data)
    assert source.rewrite(tmp_path / "copy", lambda found: None) == {}
    assert (len(loaded(tmp_path / "copy")), scanned(SavedDatasetSource(str(tmp_path / "copy")))) == (0, {})


@pytest.mark.parametrize("saved_first", [True, False])
def test_a_failing_copy_leaves_nothing(tmp_path: Path, saved_first: bool) -> None:
    """An unknown label, or a change that raises."""
    data = dataset([0, 1])
    source = SavedDatasetSource(str(saved(tmp_path / "d", data))) if saved_first else MemoryDatasetSource(data)
    before = names_in(tmp_path)
    with pytest.raises(UsageError, match="label below 2, got 2"):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 2))
    with pytest.raises(ZeroDivisionError):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 1 // 0))
    assert names_in(tmp_path) == before


def test_an_object_in_memory_is_numbered_as_it_stands() -> None:
    """Splits are named; what is selected, shuffled or filtered counts as it is now."""
    data = dataset([0, 1, 0, 1, 0])
    source = MemoryDatasetSource(data)
    assert (source.uri, source.root, source.class_names) == ("<Dataset>", None, ("zebra", "ant"))
    assert scanned(source) == {f"#{row}": (png(row), row % 2) for row in range(5)}
    assert scanned(MemoryDatasetSource(data.select([4, 1, 4]))) == {
        "#0": (png(4), 0),
        "#1": (png(1), 1),
        "#2": (png(4), 0),
    }
    shuffled = data.shuffle(seed=1)
    assert [content for content, _ in scanned(MemoryDatasetSource(shuffled)).values()] == [
        row["image"]["bytes"] for row in shuffled.cast_column("image", datasets.Image(decode=False))
    ]
    odd = data.filter(lambda label: label == 1, input_columns="label")
    assert list(scanned(MemoryDatasetSource(odd)).values()) == [(png(1), 1), (png(3), 1)]
    splits = MemoryDatasetSource(two_splits())
    assert splits.uri == "<DatasetDict>"
    assert list(scanned(splits)) == [*(f"train#{row}" for row in range(5)), "test#0", "test#1"]


def test_formats_and_encoded_columns_change_nothing() -> None:
    """Nothing is decoded, and no column is hidden."""
    data = dataset([0, 1])
    expected = scanned(MemoryDatasetSource(data))
    for other in (
        data.cast_column("image", datasets.Image(decode=False)),
        data.with_format("numpy", columns=["label"]),
        data.with_transform(lambda rows: 1 // 0),
    ):
        assert scanned(MemoryDatasetSource(other)) == expected
    without = scanned(MemoryDatasetSource(data.remove_columns("label")))
    assert without == {name: (content, None) for name, (content, _) in expected.items()}


def test_local_paths_of_the_user_are_read(tmp_path: Path) -> None:
    """That is what load_dataset("imagefolder") makes; all else is unreadable, and nothing is fetched."""
    for value, kind in enumerate(("ant", "bee")):
        (tmp_path / "f" / kind).mkdir(parents=True)
        (tmp_path / "f" / kind / "a.png").write_bytes(png(value))
    (tmp_path / "link.png").symlink_to(tmp_path / "f" / "ant" / "a.png")
    (tmp_path / "big.png").write_bytes(b"x" * 999)
    paths = [
        str(tmp_path / "f" / "ant" / "a.png"),
        str(tmp_path / "link.png"),
        str(tmp_path / "none.png"),
        str(tmp_path / "big.png"),
        str(tmp_path),
        "https://example.com/a.png",
        "a\0b",
        None,
    ]
    data = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    found = MemoryDatasetSource(data, limits=Limits(max_bytes=500)).stream()
    assert [(item.content, item.status, item.reason) for item in found] == [
        (png(0), Status.SCANNED, ""),
        (png(0), Status.SCANNED, ""),
        (None, Status.UNREADABLE, "cannot be opened (no such file or directory)"),
        (None, Status.REFUSED, "larger than 500 bytes"),
        (None, Status.REFUSED, "not a regular file"),
        (None, Status.UNREADABLE, "not a local file (nothing is fetched)"),
        (None, Status.UNREADABLE, "no path of a file"),
        (None, Status.UNREADABLE, "neither bytes nor a path in this row"),
    ]


def test_an_imagefolder_is_copied_with_its_bytes(tmp_path: Path) -> None:
    """The copy needs the old files no more, and is read like any saved dataset."""
    for value, kind in enumerate(("ant", "bee")):
        (tmp_path / "f" / kind).mkdir(parents=True)
        (tmp_path / "f" / kind / "a.png").write_bytes(png(value))
    data = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "f"), cache_dir=str(tmp_path / "cache"))
    source = MemoryDatasetSource(data)
    assert source.class_names == ("ant", "bee")
    new_ids = source.rewrite(tmp_path / "copy", keep)
    assert new_ids == {"train#0": f"train/{FILE}#0", "train#1": f"train/{FILE}#1"}
    shutil.rmtree(tmp_path / "f")
    assert scanned(SavedDatasetSource(str(tmp_path / "copy"))) == {
        f"train/{FILE}#0": (png(0), 0),
        f"train/{FILE}#1": (png(1), 1),
    }
    copy = loaded(tmp_path / "copy")["train"]
    assert ([row["image"]["bytes"] for row in copy], str(copy.split)) == ([png(0), png(1)], "train")


def test_a_copy_from_memory_has_the_rows_as_they_stood(tmp_path: Path) -> None:
    """New ids lead to the rows in the copy; other columns go with them."""
    data = dataset([0, 1, 0, 1], words=list("abcd")).select([3, 0, 2])
    new_ids = MemoryDatasetSource(data).rewrite(
        tmp_path / "copy", lambda found: None if found.id == "#1" else (found.content or b"", 0)
    )
    assert new_ids == {"#0": f"{FILE}#0", "#2": f"{FILE}#1"}
    copy = loaded(tmp_path / "copy")
    assert copy.features["label"] == data.features["label"]
    assert [(row["image"]["bytes"], row["label"], row["words"]) for row in copy] == [(png(3), 0, "d"), (png(2), 0, "c")]
    assert list(scanned(SavedDatasetSource(str(tmp_path / "copy")))) == list(new_ids.values())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (dataset([0]).to_iterable_dataset(), "got IterableDataset: load it without streaming"),
        ([1, 2], "expected a datasets.Dataset or DatasetDict, got list"),
        ("a/folder", "got str"),
        (datasets.DatasetDict(), "at least one split"),
        (datasets.DatasetDict(train=dataset([0]).to_iterable_dataset()), "each a datasets.Dataset"),
        (datasets.DatasetDict({"../up": dataset([0])}), "names of folders"),
    ],
)
def test_what_is_no_dataset_is_one_line(value: Any, message: str) -> None:
    """What was expected, what came, what to do."""
    with pytest.raises(SourceError, match=message) as caught:
        MemoryDatasetSource(value)
    assert "\n" not in str(caught.value)


def test_objects_are_known_without_importing_the_library() -> None:
    """What nobody has imported, nobody has made objects of."""
    assert is_dataset(dataset([0]))
    assert is_dataset(two_splits())
    assert not is_dataset({"train": dataset([0])})
    assert not is_dataset("folder")
    code = (
        "import sys; from sanitizer.sources.huggingface import is_dataset; "
        "print(is_dataset([1]), 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
