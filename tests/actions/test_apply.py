"""The copy holds exactly the source minus what was flagged, in every layout, or there is no copy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import make_verdict
from test_dropping import judged, png, write_pictures

from sanitizer.actions import apply as module
from sanitizer.actions.apply import apply
from sanitizer.errors import SanitizerError, UsageError, VerdictError
from sanitizer.sources.base import Change, Found, Source, Status, open_source
from tests.sources.dataset_toys import dataset, saved, two_splits
from tests.sources.tar_toys import labelled, pack

Write = Callable[..., Path]
COUNT = 24
FLAGS = (0, 3, 4)  # of either class


def _folder(root: Path) -> Path:
    return write_pictures(root)


def _with_metadata(root: Path) -> Path:
    root.mkdir()
    for value in range(COUNT):
        (root / f"{value:02}.png").write_bytes(png(value))
    lines = [f"{value:02}.png,{'ox' if value % 2 else 'emu'},{value}" for value in range(COUNT)]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,depth", *lines, ""]))
    return root


def _parquet(root: Path) -> Path:
    root.mkdir()
    images = [{"bytes": png(value), "path": f"{value}.png"} for value in range(COUNT)]
    table = pa.table({"image": images, "label": [value % 2 for value in range(COUNT)], "depth": list(range(COUNT))})
    pq.write_table(table.slice(0, 15), root / "a.parquet")
    pq.write_table(table.slice(15), root / "b.parquet")
    return root


def _saved(root: Path) -> Path:
    return saved(root, dataset([value % 2 for value in range(COUNT)], caption=[str(value) for value in range(COUNT)]))


def _tar(root: Path) -> Path:
    root.mkdir()
    return pack(root / "shard.tar", labelled(COUNT, "json")).parent


def _npz(root: Path) -> Path:
    root.mkdir()
    rows = np.random.default_rng(0).normal(size=(COUNT, 3)).astype(np.float32)
    np.savez(root / "v.npz", vectors=rows, labels=np.arange(COUNT) % 2)
    return root / "v.npz"


LAYOUTS = [_folder, _with_metadata, _parquet, _saved, _tar, _npz]
named = pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__.strip("_"))


def samples(source: Source) -> list[tuple[bytes, str | None]]:
    """Content and class of everything that can be trained on, in the order of the source."""
    return [
        (found.content, None if found.label is None else source.class_names[found.label])
        for found in source.stream()
        if found.content is not None and not found.id.endswith("broken.png")
    ]


def opened(where: Path) -> Source:
    """The source, or the copy of one that is a single file."""
    inside = list(where.glob("*.npz")) if where.is_dir() else []
    return open_source(inside[0] if inside else where)


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def chosen(source: Source) -> frozenset[str]:
    """The ids to flag."""
    ids = [found.id for found in source.stream() if found.content is not None and "broken" not in found.id]
    return frozenset(ids[place] for place in FLAGS)


@named
def test_the_copy_is_the_source_without_what_was_flagged(
    tmp_path: Path, write_folder: Write, make: Callable[[Path], Path]
) -> None:
    """Byte for byte, label for label, in the same order and layout; the source is untouched; twice gives the same."""
    source = opened(make(tmp_path / "data"))
    flags = chosen(source)
    before, folder = files(tmp_path / "data"), write_folder(judged(source, flags))
    applied = apply(folder, source, tmp_path / "copy")
    assert set(applied.dropped) == flags
    assert files(tmp_path / "data") == before

    copy = opened(tmp_path / "copy")
    assert type(copy) is type(source)
    assert copy.class_names == source.class_names
    assert samples(copy) == [one for place, one in enumerate(samples(source)) if place not in FLAGS]
    assert applied.kept == len(samples(copy))
    assert set(applied.new_ids.values()) == {found.id for found in copy.stream() if found.status is Status.SCANNED}
    apply(folder, source, tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "copy")


def test_metadata_stays_with_what_stays(tmp_path: Path, write_folder: Write) -> None:
    """Other columns, rows that are kept, and class names that nobody numbered anew."""
    source = opened(_with_metadata(tmp_path / "m"))
    apply(write_folder(judged(source, chosen(source))), source, tmp_path / "m2")
    lines = (tmp_path / "m2" / "metadata.csv").read_text().split()
    assert lines[0] == "file_name,label,depth"
    assert [line.rpartition(",")[2] for line in lines[1:]] == [str(n) for n in range(COUNT) if n not in FLAGS]

    source = opened(_parquet(tmp_path / "p"))
    apply(write_folder(judged(source, chosen(source))), source, tmp_path / "p2")
    assert pq.read_table(tmp_path / "p2")["depth"].to_pylist() == [n for n in range(COUNT) if n not in FLAGS]

    source = opened(_tar(tmp_path / "t"))
    apply(write_folder(judged(source, chosen(source))), source, tmp_path / "t2")
    kept = {found.id for found in opened(tmp_path / "t2").stream()}
    assert "shard.tar#d/0001.png" in kept
    assert not any("0000" in name or "0003" in name for name in kept)


def test_splits_stay_apart(tmp_path: Path, write_folder: Write) -> None:
    """A DatasetDict is one set, and comes back as a DatasetDict."""
    data = two_splits()
    data["train"] = dataset([n % 2 for n in range(COUNT)])
    source = opened(saved(tmp_path / "data", data))
    flags = frozenset([next(found.id for found in source.stream() if found.id.startswith("train"))])
    applied = apply(write_folder(judged(source, flags)), source, tmp_path / "copy")
    assert applied.kept == COUNT + 1
    assert json.loads((tmp_path / "copy" / "dataset_dict.json").read_text())["splits"] == ["train", "test"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
@given(places=st.frozensets(st.integers(0, 21), max_size=4))
def test_any_choice_of_flags(tmp_path: Path, write_folder: Write, places: frozenset[int]) -> None:
    """Listing the copy gives the source minus the flagged, whoever they are."""
    root = tmp_path / "data"
    source = opened(root if root.exists() else write_pictures(root))
    ids = [found.id for found in source.stream() if found.content is not None and "broken" not in found.id]
    flags = frozenset(ids[place] for place in places)
    destination = tmp_path / f"copy{'-'.join(map(str, sorted(places)))}"
    if not destination.exists():
        applied = apply(write_folder(judged(source, flags)), source, destination)
        assert set(applied.new_ids) == set(ids) - flags
        assert [found.id for found in opened(destination).stream()] == [name for name in ids if name not in flags]


def test_what_nobody_has_judged_is_left_out_and_named(tmp_path: Path, write_folder: Write) -> None:
    """By status; the first names, and the counts add up to everything that was found."""
    source = opened(write_pictures(tmp_path / "data"))
    applied = apply(write_folder(judged(source, {"cat/00.png"})), source, tmp_path / "copy")
    assert applied.not_scanned == {
        "unreadable": ("cat/broken.png",), "refused": ("dog/out.png",), "ignored": ("cat/notes.txt",),
    }  # fmt: skip
    assert applied.lines() == [
        "21 kept, 1 dropped",
        "1 unreadable, left out: cat/broken.png",
        "1 refused, left out: dog/out.png",
        "1 ignored, no samples; only shards keep them: cat/notes.txt",
    ]
    assert not (tmp_path / "copy" / "cat" / "broken.png").exists()
    assert sum(1 for _ in source.stream()) == 21 + 1 + 3


def test_long_lists_are_cut(tmp_path: Path, write_folder: Write) -> None:
    """Ten names are enough to read."""
    root = write_pictures(tmp_path / "data")
    for number in range(15):
        (root / "dog" / f"cut{number:02}.png").write_bytes(png(0)[:40])
    source = opened(root)
    lines = apply(write_folder(judged(source, {"cat/00.png"})), source, tmp_path / "copy").lines()
    assert lines[1].startswith("16 unreadable, left out: cat/broken.png, dog/cut00.png")
    assert lines[1].endswith("dog/cut08.png, and 6 more")


def test_only_the_kinds_that_are_named_go(tmp_path: Path, write_folder: Write) -> None:
    """A label in doubt may be worth another look."""
    source = opened(write_pictures(tmp_path / "data"))
    folder = write_folder(judged(source, {"cat/00.png"}, kind="label"))
    assert apply(folder, source, tmp_path / "planted", kinds=("planted",)).kept == 22
    assert apply(folder, source, tmp_path / "label", kinds=("label",)).kept == 21


def assert_refused(error: type[SanitizerError], said: str, folder: Path, source: Source, to: Path) -> None:
    """An error of one line, and nothing written."""
    before = sorted(path.name for path in to.parent.iterdir()) if to.parent.exists() else None
    with pytest.raises(error, match=said) as caught:
        apply(folder, source, to)
    assert "\n" not in str(caught.value)
    assert (sorted(path.name for path in to.parent.iterdir()) if to.parent.exists() else None) == before


def test_a_place_that_would_be_scanned_or_is_taken_is_refused(tmp_path: Path, write_folder: Write) -> None:
    """Neither in the source, nor in the verdict folder, nor over somebody's files."""
    source = opened(write_pictures(tmp_path / "data"))
    folder = write_folder(judged(source, {"cat/00.png"}))
    assert_refused(UsageError, "lies inside", folder, source, tmp_path / "data" / "copy")
    assert_refused(UsageError, "lies inside", folder, source, folder / "copy")
    assert_refused(UsageError, "lies inside", folder, source, folder / "new" / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert_refused(UsageError, "has content", folder, source, tmp_path / "full")


def test_a_class_of_which_nothing_could_be_read_stops_it(tmp_path: Path, write_folder: Write) -> None:
    """The copy would have one class less, and in a folder all labels behind it would move up."""
    root = write_pictures(tmp_path / "data")
    (root / "bat").mkdir()
    (root / "bat" / "cut.png").write_bytes(png(0)[:40])
    source = opened(root)
    assert source.class_names == ("bat", "cat", "dog")
    assert_refused(VerdictError, "every class .* 'bat'", write_folder(judged(source, set())), source, tmp_path / "copy")


class Moving:
    """A source that is not the same twice."""

    def __init__(self, source: Source, second: Callable[[Found], Found | None]) -> None:
        self._source, self._second = source, second
        self.uri, self.holds, self.class_names, self.root = source.uri, source.holds, source.class_names, source.root

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """As it was scanned."""
        return self._source.stream(wanted)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """With what has become of it since."""
        return self._source.rewrite(destination, lambda found: (new := self._second(found)) and change(new))


@pytest.mark.parametrize("name", ["cat/00.png", "cat/05.png"], ids=["flagged", "kept"])
@pytest.mark.parametrize("becomes", ["lost", "other"])
def test_what_changes_while_it_is_copied_is_an_error(
    tmp_path: Path, write_folder: Write, name: str, becomes: str
) -> None:
    """Neither a flagged sample that was not met nor one that is no longer itself passes for done."""
    source = opened(write_pictures(tmp_path / "data"))
    other = Found(name, 0, png(200), Status.SCANNED) if becomes == "other" else None
    moving = Moving(source, lambda found: other if found.id == name else found)
    said = f"{name}.* changed while" if other else f"missed {name}"
    assert_refused(VerdictError, said, write_folder(judged(source, {"cat/00.png"})), moving, tmp_path / "copy")  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [0, 7, 21])
def test_a_copy_that_is_killed_leaves_nothing(
    tmp_path: Path, write_folder: Write, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Complete or absent."""
    source = opened(write_pictures(tmp_path / "data"))
    folder, calls = write_folder(judged(source, {"cat/00.png"})), iter(range(100))

    def dying(content: bytes) -> str:
        if next(calls) == call:
            raise KeyboardInterrupt
        return str(known(content))

    known = module.digest_of
    monkeypatch.setattr(module, "digest_of", dying)
    with pytest.raises(KeyboardInterrupt):
        apply(folder, source, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "verdict"]


def test_progress_counts_every_item(tmp_path: Path, write_folder: Write) -> None:
    """For those who wait."""
    from contextlib import contextmanager

    stages: list[Any] = []

    class Listening:
        @contextmanager
        def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
            stages.append((name, total))
            yield stages.append

    source = opened(write_pictures(tmp_path / "data"))
    apply(write_folder(judged(source, {"cat/00.png"})), source, tmp_path / "copy", progress=Listening())
    assert stages[0] == ("copying", 25)
    assert sum(stages[1:]) == 23


def test_a_verdict_of_other_data_is_refused(tmp_path: Path, write_folder: Write) -> None:
    """Ids alone prove nothing."""
    source = opened(write_pictures(tmp_path / "data"))
    rows = [{**one, "digest": "0" * 64} for one in judged(source, {"cat/00.png"}).table.to_pylist()]
    assert_refused(VerdictError, "changed: cat/00.png", write_folder(make_verdict(rows)), source, tmp_path / "copy")
