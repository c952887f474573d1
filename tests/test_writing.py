"""Whole writes: complete or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sanitizer.errors import UsageError
from sanitizer.writing import refuse_inside, whole_folder, write_whole


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    """Old content goes, new content is there, no temporary file stays."""
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["report.json"]


def test_a_file_that_cannot_be_written_is_one_line_about_the_path(tmp_path: Path) -> None:
    """A missing folder is a usage error."""
    with pytest.raises(UsageError, match="cannot write") as caught:
        write_whole(tmp_path / "absent" / "x", b"")
    assert "\n" not in str(caught.value)


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens before the rename, the old content stays."""
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("files", [3, 120])
def test_a_folder_appears_under_its_name_with_all_of_its_files(tmp_path: Path, files: int) -> None:
    """Missing parents are made; an empty destination is filled."""
    destination = tmp_path / "deep" / "copy"
    with whole_folder(destination) as folder:
        assert not destination.exists()
        for number in range(files):
            (folder / str(number)).write_bytes(b"x")
    assert len(names(destination)) == files
    assert names(destination.parent) == ["copy"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    """A user may have made the destination already, or linked to it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with whole_folder(tmp_path / "link") as folder:
        (folder / "x").write_bytes(b"x")
    assert (tmp_path / "real" / "x").exists()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_folder_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    """Any failure, an interrupt too, removes what was written so far and passes on."""

    def fill() -> None:
        with whole_folder(tmp_path / "copy") as folder:
            (folder / "x").write_bytes(b"x")
            raise failure

    with pytest.raises(failure):
        fill()
    assert names(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The one failure that everybody meets is a usage error."""
    with pytest.raises(UsageError, match="no room"), whole_folder(tmp_path / "copy"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_destination_with_content_is_refused_and_untouched(tmp_path: Path) -> None:
    """Nothing is ever overwritten."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_bytes(b"x")
    with pytest.raises(UsageError, match="has content"), whole_folder(tmp_path / "copy"):
        raise AssertionError("the block must not run")
    with pytest.raises(UsageError, match="has content"), whole_folder(tmp_path / "copy" / "mine"):
        raise AssertionError("the block must not run")
    assert names(tmp_path) == ["copy"]


def test_a_destination_below_a_file_is_refused(tmp_path: Path) -> None:
    """The parent must be a folder."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="cannot make the folder"), whole_folder(tmp_path / "file" / "copy"):
        raise AssertionError("the block must not run")


def test_output_inside_a_source_is_refused_by_whatever_way_it_gets_there(tmp_path: Path) -> None:
    """The root itself, a folder below it, and a link into it."""
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "link").symlink_to("data")
    for inside in (root, root / "a" / "b", tmp_path / "link" / "x", tmp_path / "other" / ".." / "data"):
        with pytest.raises(UsageError, match="inside the source"):
            refuse_inside(inside, root)
    refuse_inside(tmp_path / "data2", root)
    refuse_inside(tmp_path, root)
