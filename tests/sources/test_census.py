"""The census: statuses that add up, an order that paths do not change, and views of what was scanned."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sanitizer.errors import SourceError
from sanitizer.progress import Advance
from sanitizer.sources.base import Status, digest_of, open_source, view_digest_of
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import Limits
from sanitizer.sources.encode import encode


def png(value: int, height: int = 4, width: int = 6) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((height, width, 3), value, np.uint8), "PNG")


def grow(root: Path, contents: dict[str, bytes]) -> str:
    """A folder with these files."""
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def some(root: Path) -> str:
    """Two classes with a few pictures of different sizes."""
    return grow(
        root, {f"{kind}/{n}.png": png(10 * n + len(kind), 4 + n, 6) for kind in ("cat", "horse") for n in range(5)}
    )


def told(census: Census) -> list[tuple[str, str]]:
    """What the samples are, paths aside."""
    return [(sample.digest, census.class_names[sample.label or 0]) for sample in census.samples]


def test_every_item_ends_as_one_status_and_the_counts_add_up(tmp_path: Path) -> None:
    """Whatever lies in the folder."""
    root = grow(
        tmp_path / "r",
        {
            "cat/good.png": png(1),
            "cat/cut.jpg": encode(np.zeros((64, 64, 3), np.uint8), "JPEG")[:400],
            "cat/nul.png": b"\0" * 50,
            "cat/big.png": png(2, 200, 200),
            "cat/notes.txt": b"hello",
            "stray.png": png(3),
        },
    )
    os.mkfifo(tmp_path / "r" / "cat" / "pipe.png")
    census = take_census(open_source(root), limits=Limits(max_pixels=10_000))
    assert census.counts == {Status.SCANNED: 1, Status.UNREADABLE: 2, Status.REFUSED: 2, Status.IGNORED: 2}
    assert sum(census.counts.values()) == len(census.samples) + len(census.others)
    assert all(other.content is None and other.reason for other in census.others)


def test_a_sample_knows_its_bytes_its_pixels_and_its_size(tmp_path: Path) -> None:
    """Width first."""
    census = take_census(open_source(grow(tmp_path, {"cat/a.png": png(9, 4, 6)})))
    (sample,) = census.samples
    assert sample.digest == digest_of(png(9, 4, 6))
    assert sample.view_digest == view_digest_of(np.full((4, 6, 3), 9, np.uint8))
    assert (sample.id, sample.label, sample.size) == ("cat/a.png", 0, (6, 4))
    assert census.keys().tolist() == [sample.key]
    assert census.keys().dtype == np.uint64
    assert census.native_side() == 4


def test_renaming_files_changes_nothing_but_ids(tmp_path: Path) -> None:
    """Order, labels and views depend on the content, even where the same image carries two labels."""
    root = some(tmp_path / "a")
    for kind in ("cat", "horse"):
        shutil.copy(f"{root}/cat/1.png", f"{root}/{kind}/same.png")
    first = take_census(open_source(root))
    for kind in ("cat", "horse"):
        for number, file in enumerate(sorted((tmp_path / "a" / kind).iterdir(), reverse=True)):
            (tmp_path / "b" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "b" / kind / f"n{number}.png")
    second = take_census(open_source(str(tmp_path / "b")))
    assert told(first) == told(second)
    np.testing.assert_array_equal(first.labels(), second.labels())
    np.testing.assert_array_equal(first.views(8), second.views(8))


def test_views_are_the_same_kept_in_memory_or_read_again(tmp_path: Path) -> None:
    """In canonical order, in any given order, and with rows asked for twice."""
    source = open_source(some(tmp_path))
    kept, again = take_census(source), take_census(source, keep_bytes=100)
    assert kept._kept is not None
    assert again._kept is None
    np.testing.assert_array_equal(kept.views(8), again.views(8))
    rows = [3, 0, 3, 9]
    np.testing.assert_array_equal(kept.views(8)[rows], again.views(8, rows))
    np.testing.assert_array_equal(kept.views(8)[rows], kept.views(8, np.array(rows)))
    assert again.views(8, []).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("way", ["changed", "gone"])
def test_a_file_that_changes_during_the_scan_is_named(tmp_path: Path, way: str) -> None:
    """The views must be of what the digests say."""
    census = take_census(open_source(some(tmp_path)), keep_bytes=0)
    file = tmp_path / "cat" / "2.png"
    file.unlink()
    if way == "changed":
        file.write_bytes(png(99))
    with pytest.raises(SourceError, match=r"'cat/2\.png' changed during the scan"):
        census.views(8)


def test_a_set_without_labels_says_minus_one(tmp_path: Path) -> None:
    """And has no class names."""
    census = take_census(open_source(grow(tmp_path, {"a.png": png(1), "b.png": png(2)})))
    assert census.labels().tolist() == [-1, -1]
    assert census.labels().dtype == np.int64
    assert census.class_names == ()


def test_nothing_readable_is_a_census_all_the_same(tmp_path: Path) -> None:
    """Empty arrays; it is not for this room to judge."""
    census = take_census(open_source(grow(tmp_path, {"cat/a.png": b"broken"})))
    assert census.views(8).shape == (0, 8, 8, 3)
    assert census.native_side() == 0
    assert census.counts[Status.UNREADABLE] == 1


def test_progress_advances_once_an_item(tmp_path: Path) -> None:
    """So that a bar can be drawn."""
    steps: list[int] = []

    class Listener:
        @contextmanager
        def stage(self, name: str, total: int | None) -> Iterator[Advance]:
            assert (name, total) == ("reading", None)
            yield steps.append

    take_census(open_source(some(tmp_path)), progress=Listener())
    assert sum(steps) == 10
