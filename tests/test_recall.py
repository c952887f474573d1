"""Recall: a verdict comes back only for the very same data and settings, as it was, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sanitizer import recall as room
from sanitizer.recall import Recall
from sanitizer.record import SUMMARY, TABLE, Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.encode import encode
from sanitizer.store import Store

DECISIVE: dict[str, Any] = {"model": "probe", "seed": 0, "max_drop": 0.2, "detectors": {"lof": "LOF()"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    found = Store.open(str(tmp_path / "store"))
    assert found is not None
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, and items that are no samples."""
    folder = tmp_path / "data"
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for number in range(3):
            image = np.full((4, 4, 3), 20 * number + len(str(folder / kind)) % 7 + (kind == "cat"), np.uint8)
            (folder / kind / f"{number}.png").write_bytes(encode(image, "PNG"))
    (folder / "cat" / "cut.png").write_bytes(encode(np.zeros((4, 4, 3), np.uint8), "PNG")[:40])
    (folder / "cat" / "notes.txt").write_text("hello")
    return folder


def counted(root: Path) -> Census:
    """What lies there now."""
    return take_census(open_source(str(root)))


def written(folder: Path, *, incomplete: tuple[str, ...] = ()) -> Verdict:
    """A verdict folder with a report beside it."""
    columns = ["id", "digest", "view_digest", "status", "label", "label_name", "kind", "p_value", "reasons", "nearest"]
    table = pa.table({name: ["x"] for name in columns} | {"suspicious": [False], "score": [0.5]})
    summary = {"answer": {"poison_found": False}, "counts": {}, "classes": [], "parameters": {}}
    verdict = Verdict(table, summary | {"incomplete": list(incomplete)})
    folder.mkdir(parents=True)
    verdict.write(folder)
    (folder / "report.html").write_bytes(b"\xff\x00 any bytes")
    return verdict


def contents(folder: Path) -> dict[str, bytes]:
    """Every file and its bytes."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_verdict_comes_back_as_it_was(store: Store, root: Path, tmp_path: Path) -> None:
    """Every file of it, byte for byte, and it says that it is recalled; before that there is none."""
    census = counted(root)
    verdict = written(tmp_path / "first")
    (tmp_path / "second").mkdir()
    recall = Recall.of(store, census, DECISIVE)
    assert recall.into(tmp_path / "second") is None
    assert not recall.known
    assert contents(tmp_path / "second") == {}
    recall.keep(verdict, tmp_path / "first")
    again = Recall.of(store, counted(root), dict(reversed(DECISIVE.items())))
    assert again.known
    found = again.into(tmp_path / "second")
    assert found is not None
    assert found.recalled
    assert not verdict.recalled
    assert found.digest == verdict.digest
    assert contents(tmp_path / "second") == contents(tmp_path / "first")


def test_an_incomplete_verdict_is_not_kept(store: Store, root: Path, tmp_path: Path) -> None:
    """What failed once may work the next time."""
    recall = Recall.of(store, counted(root), DECISIVE)
    recall.keep(written(tmp_path / "first", incomplete=("detector lof failed",)), tmp_path / "first")
    assert not recall.known


@pytest.mark.parametrize(("with_store", "decisive"), [(False, DECISIVE), (True, None)])
def test_where_nothing_may_be_remembered_nothing_is(
    store: Store, root: Path, tmp_path: Path, with_store: bool, decisive: dict[str, Any] | None
) -> None:
    """Without a store, or where not everything that decides can be named."""
    recall = Recall.of(store if with_store else None, counted(root), decisive)
    recall.keep(written(tmp_path / "first"), tmp_path / "first")
    assert recall.into(tmp_path) is None
    assert not recall.known
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "value"),
    [("seed", 1), ("max_drop", 0.3), ("detectors", {"lof": "LOF(k=5)"}), ("more", None), ("model", "probes")],
)
def test_everything_that_decides_is_asked(store: Store, root: Path, what: str, value: Any) -> None:
    """Another setting is another scan."""
    census = counted(root)
    assert Recall.of(store, census, DECISIVE | {what: value}) != Recall.of(store, census, DECISIVE)


def renamed(root: Path) -> None:
    """A file has another name."""
    (root / "cat" / "0.png").rename(root / "cat" / "zero.png")


def relabelled(root: Path) -> None:
    """A file lies in another class."""
    (root / "cat" / "0.png").rename(root / "dog" / "00.png")


def changed(root: Path) -> None:
    """A byte behind the image is another one: the pixels are the same."""
    with (root / "cat" / "0.png").open("ab") as file:
        file.write(b"x")


def class_renamed(root: Path) -> None:
    """All labels are the same numbers as before."""
    (root / "cat").rename(root / "cab")


def class_added(root: Path) -> None:
    """Nobody is in it."""
    (root / "emu").mkdir()
    (root / "emu" / "cut.png").write_bytes(b"x")


def other_renamed(root: Path) -> None:
    """Of what is no sample."""
    (root / "cat" / "notes.txt").rename(root / "cat" / "note.txt")


def other_gone(root: Path) -> None:
    """A broken file is not there any more."""
    (root / "cat" / "cut.png").unlink()


def other_status(root: Path) -> None:
    """What was broken is refused."""
    (root / "cat" / "cut.png").unlink()
    (root / "cat" / "cut.png").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "change",
    [renamed, relabelled, changed, class_renamed, class_added, other_renamed, other_gone, other_status],
    ids=lambda change: change.__name__,
)
def test_other_data_is_another_scan(store: Store, root: Path, change: Callable[[Path], None]) -> None:
    """Contents, names, labels, and what became of everything else."""
    before = Recall.of(store, counted(root), DECISIVE)
    assert Recall.of(store, counted(root), DECISIVE) == before
    change(root)
    assert Recall.of(store, counted(root), DECISIVE) != before


def test_where_the_data_lies_is_for_the_caller_to_say(store: Store, root: Path, tmp_path: Path) -> None:
    """The census alone does not tell."""
    before = Recall.of(store, counted(root), DECISIVE)
    root.rename(tmp_path / "elsewhere")
    assert Recall.of(store, counted(tmp_path / "elsewhere"), DECISIVE) == before


@pytest.mark.parametrize("name", ["version_of", "implementation"])
def test_another_version_of_anything_is_another_scan(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of a library, and of our own code."""
    census = counted(root)
    before = Recall.of(store, census, DECISIVE)
    monkeypatch.setattr(room, name, lambda *anything: "other")
    assert Recall.of(store, census, DECISIVE) != before


def test_a_broken_or_foreign_shard_is_no_verdict(store: Store, root: Path, tmp_path: Path) -> None:
    """It is passed over; a sound one beside it is found all the same."""
    recall = Recall.of(store, counted(root), DECISIVE)
    verdict = written(tmp_path / "first")
    recall.keep(verdict, tmp_path / "first")
    assert recall.shelf is not None
    (path,) = recall.shelf.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    out = tmp_path / "out"
    out.mkdir()
    assert recall.into(out) is None
    (tmp_path / "first" / SUMMARY).write_text(json.dumps({"answer": "of another version"}))
    recall.keep(verdict, tmp_path / "first")
    assert recall.into(out) is None
    verdict.write(tmp_path / "first")
    recall.keep(verdict, tmp_path / "first")
    found = recall.into(out)
    assert found is not None
    assert found.digest == verdict.digest


def test_names_in_the_store_lead_nowhere_else(store: Store, root: Path, tmp_path: Path) -> None:
    """Whoever wrote them: files come into the folder, or do not come."""
    recall = Recall.of(store, counted(root), DECISIVE)
    assert recall.shelf is not None
    (tmp_path / "deep" / "out").mkdir(parents=True)
    names = ["../outside", str(tmp_path / "absolute"), TABLE]
    recall.shelf.put(pa.table({"name": names, "content": pa.array([b"x"] * 3, pa.large_binary())}))
    assert recall.into(tmp_path / "deep" / "out") is None
    assert not (tmp_path / "deep" / "outside").exists()
    assert not (tmp_path / "absolute").exists()
