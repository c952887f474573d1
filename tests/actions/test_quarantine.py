"""Quarantine and back is the identity, wherever it is killed, and nothing is ever overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quarantine_toys import DEEP, ODD, ODD_ID, Scene, Write, assert_nothing_lost, tree
from test_apply import _npz, _parquet, _tar, _with_metadata, opened
from test_dropping import judged, png, write_pictures

from sanitizer.actions.journal import ITEMS, JOURNAL
from sanitizer.actions.quarantine import quarantine, restore
from sanitizer.errors import UsageError, VerdictError
from sanitizer.sources.base import open_source

pytestmark = pytest.mark.usefixtures("unhurried_disk")


def test_there_and_back(scene: Scene) -> None:
    """What was flagged is gone, lies in quarantine, and comes back as it was: bytes, mode and time."""
    before = tree(scene.root)
    done = scene.move()
    assert set(done.moved) == set(scene.flags)
    assert not done.before
    there = tree(scene.root)
    assert there == {name: one for name, one in before.items() if name not in scene.paths}
    assert "cat/deep/er" in there  # empty now, and still there
    items = tree(scene.to / ITEMS)
    assert {name: items[name] for name in scene.paths} == {name: before[name] for name in scene.paths}

    back = restore(scene.to)
    assert (set(back.back), back.left, back.removed) == (set(scene.flags), (), True)
    assert tree(scene.root) == before
    assert not scene.to.exists()


def test_nobody_else_may_look_into_it(scene: Scene) -> None:
    """The files may be anything."""
    scene.move()
    assert stat.S_IMODE((scene.to / ITEMS).stat().st_mode) == 0o700


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(places=st.frozensets(st.integers(0, 11), max_size=4), again=st.booleans())
def test_any_choice_of_flags(tmp_path: Path, write_folder: Write, places: frozenset[int], again: bool) -> None:
    """Quarantine then restore is the identity; a second quarantine in between does nothing."""
    root = tmp_path / "data"
    if not root.exists():
        write_pictures(root)
    flags = {f"cat/{place:02}.png" for place in places}
    folder, before = write_folder(judged(open_source(root), flags)), tree(root)
    done = quarantine(folder, open_source(root), tmp_path / "Q")
    assert set(done.moved) == flags
    assert tree(root).keys() == before.keys() - flags
    if again:
        repeated = quarantine(folder, open_source(root), tmp_path / "Q")
        assert (set(repeated.moved), set(repeated.before)) == (set(), flags)
    if flags:
        assert restore(tmp_path / "Q").removed
    assert not (tmp_path / "Q").exists()
    assert tree(root) == before


def test_a_dry_run_touches_nothing(scene: Scene) -> None:
    """And says the same."""
    before, there = tree(scene.root), sorted(scene.to.parent.iterdir())
    done = quarantine(scene.folder, open_source(scene.root), scene.to, dry_run=True)
    assert set(done.moved) == set(scene.flags)
    assert tree(scene.root) == before
    assert sorted(scene.to.parent.iterdir()) == there
    assert done == scene.move()


def test_what_lies_in_quarantine_is_not_overwritten_either(scene: Scene, file_system: str) -> None:
    """A file that came back by other means, while something else lies in its place in quarantine."""
    scene.move()
    shutil.copy(scene.to / ITEMS / DEEP, scene.root / DEEP)
    (scene.to / ITEMS / DEEP).unlink()
    (scene.to / ITEMS / DEEP).write_bytes(b"other")
    with pytest.raises(VerdictError, match="nothing is lost"):
        scene.move()
    assert (scene.to / ITEMS / DEEP).read_bytes() == b"other"
    assert (scene.root / DEEP).exists()


def test_a_place_that_is_taken_is_left_alone(scene: Scene) -> None:
    """By a file, by a folder, by a link that leads nowhere: that item stays, all others come back."""
    before = tree(scene.root)
    for make in (lambda path: path.write_bytes(b"mine"), lambda path: path.mkdir(), lambda path: path.symlink_to("no")):
        scene.move()
        make(scene.root / DEEP)
        taken = tree(scene.root)
        done = restore(scene.to)
        assert (done.back, done.left) == ((ODD_ID,), ((DEEP, "something else is in its place"),))
        assert not done.removed
        assert tree(scene.root) == taken | {ODD: before[ODD]}
        assert (scene.to / ITEMS / DEEP).read_bytes() == before[DEEP][2]
        path = scene.root / DEEP
        path.rmdir() if path.is_dir() else path.unlink()
        assert restore(scene.to).removed
        assert tree(scene.root) == before


def test_the_same_bytes_in_their_place_are_as_good(scene: Scene) -> None:
    """Somebody has copied the file back by hand."""
    scene.move()
    shutil.copy(scene.to / ITEMS / DEEP, scene.root / DEEP)
    assert restore(scene.to).removed


def test_what_changed_in_quarantine_does_not_come_back(scene: Scene) -> None:
    """Neither other bytes nor a link pass for the file that was moved; what is lost is named."""
    scene.move()
    item = scene.to / ITEMS / DEEP
    content = item.read_bytes()
    item.unlink()
    item.write_bytes(b"other")
    assert restore(scene.to).left == ((DEEP, "it is no longer what was put into quarantine"),)
    item.unlink()
    (scene.to / "aside").write_bytes(content)
    item.symlink_to(scene.to / "aside")
    assert restore(scene.to).left == ((DEEP, "a link leads elsewhere"),)
    item.unlink()
    assert restore(scene.to).left == ((DEEP, "neither in quarantine nor, as it was, in its place"),)
    assert not (scene.root / DEEP).exists()


def test_a_folder_that_was_removed_meanwhile_is_made_again(scene: Scene) -> None:
    """Unless something else is there, or it leads out of the source."""
    before = tree(scene.root)
    scene.move()
    shutil.rmtree(scene.root / "cat/deep")
    (scene.root / "cat/deep").symlink_to(scene.to.parent)
    assert restore(scene.to).left == ((DEEP, "a link leads elsewhere"),)
    (scene.root / "cat/deep").unlink()
    (scene.root / "cat/deep").touch()
    assert [name for name, _ in restore(scene.to).left] == [DEEP]
    (scene.root / "cat/deep").unlink()
    assert restore(scene.to).removed
    assert tree(scene.root).keys() == before.keys()


def test_modes_and_times_that_changed_in_quarantine_are_put_right(scene: Scene) -> None:
    """They are in the journal."""
    before = tree(scene.root)
    scene.move()
    (scene.to / ITEMS / DEEP).chmod(0o600)
    os.utime(scene.to / ITEMS / ODD)
    restore(scene.to)
    assert tree(scene.root) == before


def test_what_is_not_ours_stays(scene: Scene) -> None:
    """Everything is back, and the folder of somebody's notes is not removed."""
    before = tree(scene.root)
    scene.move()
    (scene.to / ITEMS / "cat" / "note").write_text("mine")
    done = restore(scene.to)
    assert (done.left, done.removed) == ((), False)
    assert (scene.to / ITEMS / "cat" / "note").read_text() == "mine"
    assert tree(scene.root) == before


def test_data_that_changed_is_refused_before_anything_moves(scene: Scene) -> None:
    """The digest is that of what was scanned, or nothing is touched."""
    (scene.root / DEEP).chmod(0o600)
    (scene.root / DEEP).write_bytes(png(77))
    before = tree(scene.root)
    with pytest.raises(VerdictError, match=f"changed: {DEEP}"):
        scene.move()
    assert tree(scene.root) == before
    assert not scene.to.exists()


def test_a_file_that_changes_on_the_way_is_not_lost(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged after it was checked: it stays where it is, whatever it has become."""
    known = os.link

    def exchanging(old: Path, new: Path, **named: Any) -> None:
        known(old, new, **named)
        if Path(old).name == "20.png" and Path(old).is_relative_to(scene.root):
            Path(old).unlink()
            Path(old).write_bytes(b"new")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", exchanging)
        with pytest.raises(VerdictError, match="changed while it was moved"):
            scene.move()
    assert (scene.root / DEEP).read_bytes() == b"new"
    assert restore(scene.to).left == ((DEEP, "something else is in its place"),)
    assert (scene.root / ODD).exists()


def test_a_link_is_not_moved(tmp_path: Path, write_folder: Write) -> None:
    """Not even one that leads to another file of the set: what would move is not what was scanned."""
    root = write_pictures(tmp_path / "data")
    (root / "cat" / "link.png").symlink_to("03.png")
    before = tree(root)
    folder = write_folder(judged(open_source(root), {"cat/link.png", "cat/00.png"}))
    with pytest.raises(UsageError, match=r"'cat/link\.png' is a link .* `sanitizer apply`"):
        quarantine(folder, open_source(root), tmp_path / "Q")
    assert tree(root) == before
    assert not (tmp_path / "Q").exists()


@pytest.mark.parametrize("make", [_parquet, _tar, _npz], ids=lambda make: make.__name__.strip("_"))
def test_other_layouts_have_no_files_to_move(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """They are sent to ``apply``."""
    with pytest.raises(UsageError, match=r"one file for each item.*`sanitizer apply`"):
        quarantine(tmp_path / "verdict", opened(make(tmp_path / "data")), tmp_path / "Q")


def test_metadata_that_still_name_what_was_moved_are_named(tmp_path: Path, write_folder: Write) -> None:
    """There and back works, and going on does, too: the missing files are no surprise."""
    root = _with_metadata(tmp_path / "data")
    before = tree(root)
    folder = write_folder(judged(open_source(root), {"00.png", "01.png"}))
    done = quarantine(folder, open_source(root), tmp_path / "Q")
    assert done.named_in == ("metadata.csv",)
    assert quarantine(folder, open_source(root), tmp_path / "Q").before == ("00.png", "01.png")
    assert restore(tmp_path / "Q").removed
    assert tree(root) == before


def test_places_that_cannot_be_are_refused(scene: Scene, tmp_path: Path, write_folder: Write) -> None:
    """In the source, in the verdict folder, over other files, or over another quarantine."""
    before = tree(scene.root)
    for inside in (scene.root / "Q", scene.folder / "Q"):
        with pytest.raises(UsageError, match="lies inside"):
            quarantine(scene.folder, open_source(scene.root), inside)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UsageError, match="has content"):
        quarantine(scene.folder, open_source(scene.root), tmp_path / "full")
    assert tree(scene.root) == before
    scene.move()
    other = write_pictures(tmp_path / "other")
    folder = write_folder(judged(open_source(other), {"cat/00.png"}))
    with pytest.raises(UsageError, match="other things in quarantine"):
        quarantine(folder, open_source(other), scene.to)


def test_the_caps_apply(tmp_path: Path, write_folder: Write) -> None:
    """Whatever the table says."""
    root = write_pictures(tmp_path / "data")
    folder = write_folder(judged(open_source(root), {f"cat/{n:02}.png" for n in range(5)}))
    with pytest.raises(VerdictError, match="at most 4"):
        quarantine(folder, open_source(root), tmp_path / "Q")
    assert not (tmp_path / "Q").exists()


def test_a_source_that_is_gone_is_said(scene: Scene) -> None:
    """Nothing is put where no source is; a source that moved and left a link is found."""
    before = tree(scene.root)
    scene.move()
    moved = scene.root.rename(scene.root.parent / "elsewhere")
    with pytest.raises(UsageError, match="there is none"):
        restore(scene.to)
    assert not scene.root.exists()
    scene.root.symlink_to(moved)
    assert restore(scene.to).removed
    assert tree(moved) == before


@pytest.mark.parametrize("step", ["link", "unlink", "fsync"])
def test_what_the_system_refuses_is_one_line(scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A full disk or a folder that may not be written: it can be taken back."""
    before = tree(scene.root)

    def refusing(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refusing)
        with pytest.raises(UsageError) as error:
            scene.move()
    assert "no space left" in str(error.value).lower()
    assert "\n" not in str(error.value)
    assert_nothing_lost(scene, before)
    if (scene.to / JOURNAL).exists():
        assert restore(scene.to).removed
    assert tree(scene.root) == before
