"""Moving one file: a second name or a whole copy, never over another file, never another content."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sanitizer.actions.journal import Entry
from sanitizer.actions.moving import is_intact, put, settle, unfinished_of
from sanitizer.errors import VerdictError
from sanitizer.sources.base import digest_of

CONTENT = b"what was flagged"
MODE, MOMENT = 0o640, 1_234_567_890_123_456_789
ENTRY = Entry("a.png", "a.png", digest_of(CONTENT), len(CONTENT), MODE, MOMENT)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as its entry says it."""
    path = tmp_path / "a.png"
    path.write_bytes(CONTENT)
    settle(path, ENTRY)
    return path


@pytest.fixture(params=["links", "copies", "no links"], autouse=True)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two, or one where no file has two names."""
    known = os.link

    def link(old: Path, new: Path, **named: Any) -> None:
        if request.param == "no links" or (request.param == "copies" and Path(old).parent != Path(new).parent):
            raise OSError(errno.EXDEV, "another file system")
        known(old, new, **named)

    monkeypatch.setattr(os, "link", link)


def test_the_new_name_is_as_good_as_the_old_one(old: Path, tmp_path: Path) -> None:
    """Bytes, mode and time of change; the old name stays, and nothing else appears."""
    new = tmp_path / "there" / "a.png"
    new.parent.mkdir()
    put(old, new, ENTRY)
    for path in (old, new):
        about = path.stat()
        assert (path.read_bytes(), stat.S_IMODE(about.st_mode), about.st_mtime_ns) == (CONTENT, MODE, MOMENT)
    assert list(new.parent.iterdir()) == [new]


def test_nothing_is_overwritten(old: Path, tmp_path: Path) -> None:
    """Neither a file nor a link that leads nowhere."""
    for number, make in enumerate((lambda path: path.write_bytes(b"mine"), lambda path: path.symlink_to("no"))):
        new = tmp_path / str(number) / "a.png"
        new.parent.mkdir()
        make(new)
        before = os.lstat(new)
        with pytest.raises(FileExistsError):
            put(old, new, ENTRY)
        assert os.path.samestat(os.lstat(new), before)


def test_what_a_killed_copy_left_is_no_hindrance(old: Path, tmp_path: Path) -> None:
    """It grows under a name that is known, and is begun again."""
    new = tmp_path / "there" / "a.png"
    new.parent.mkdir()
    unfinished_of(new).write_bytes(CONTENT[:3])
    put(old, new, ENTRY)
    assert is_intact(new, ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"other"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.symlink_to(path.rename(path.with_name("b.png"))),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
    ids=["content", "gone", "folder", "link", "pipe"],
)
def test_only_the_very_file_is_intact(old: Path, change: Callable[[Path], object]) -> None:
    """The same bytes behind a link are not the file."""
    assert is_intact(old, ENTRY)
    change(old)
    assert not is_intact(old, ENTRY)


def test_other_bytes_are_not_copied(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no second name for a file, what it holds is compared on the way."""

    def link(*given: Any, **named: Any) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", link)
    old.write_bytes(b"other")
    with pytest.raises(VerdictError, match="nothing is lost"):
        put(old, tmp_path / "b.png", ENTRY)
    assert list(tmp_path.iterdir()) == [old]
