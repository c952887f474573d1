"""The folder of a store: private, nowhere near a source, and where somebody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy_stores import one_line, opened, table

from sanitizer.errors import UsageError
from sanitizer.store import Store


def test_a_new_store_is_private(tmp_path: Path) -> None:
    """Whatever the user's mask allows others elsewhere; its shelves too."""
    before = os.umask(0)
    try:
        made = opened(tmp_path / "deep" / "store")
        shelf = made.shelf("kind", a=1)
        shelf.put(table())
    finally:
        os.umask(before)
    assert made.root.stat().st_mode & 0o777 == 0o700
    assert shelf.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put there what we would believe."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    with pytest.raises(UsageError, match=r"others can write .*chmod 700") as caught:
        Store.open(str(tmp_path / "store"))
    one_line(caught)


def test_a_folder_that_others_can_only_read_is_accepted(tmp_path: Path) -> None:
    """It may be shared for reading."""
    (tmp_path / "store").mkdir(mode=0o755)
    assert opened(tmp_path / "store").root == tmp_path / "store"


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns it can write it."""
    Store.open(str(tmp_path / "store"))
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    with pytest.raises(UsageError, match="only you can write") as caught:
        Store.open(str(tmp_path / "store"))
    one_line(caught)


def test_what_cannot_be_a_folder_is_one_line(tmp_path: Path) -> None:
    """A file in its place, a home that nobody has, a name that no file has."""
    (tmp_path / "file").write_text("here")
    for where in (tmp_path / "file", tmp_path / "file" / "below", "~nobody-by-this-name/store", "a\0b"):
        with pytest.raises(UsageError, match=r"cannot keep a store at .*--store") as caught:
            Store.open(str(where))
        one_line(caught)


def test_none_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument and as a variable."""
    assert Store.open("none") is None
    monkeypatch.setenv("SANITIZER_STORE", "none")
    assert Store.open() is None


def test_where_it_lies_unless_somebody_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, then our variable, then the user's cache folder, then ``~/.cache``; relative caches are none."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SANITIZER_STORE", str(tmp_path / "mine"))
    assert opened(tmp_path / "given").root == tmp_path / "given"
    assert roots(None, "") == [tmp_path / "mine"] * 2
    assert roots("~/there") == [tmp_path / "home" / "there"]
    monkeypatch.delenv("SANITIZER_STORE")
    assert roots(None) == [tmp_path / "cache" / "dataset-sanitizer"]
    for elsewhere in ("relative/cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", elsewhere)
        assert roots(None) == [tmp_path / "home" / ".cache" / "dataset-sanitizer"]


def roots(*wheres: str | None) -> list[Path]:
    """Where these lead."""
    return [found.root for found in map(Store.open, wheres) if found]


@pytest.mark.parametrize("place", ["", "below", "../data/below"])
def test_a_store_inside_a_source_is_refused_and_not_made(tmp_path: Path, place: str) -> None:
    """Not even an empty folder appears in what is scanned."""
    source = tmp_path / "data"
    source.mkdir()
    with pytest.raises(UsageError, match="lies inside the source"):
        Store.open(str(source / place), outside=[None, source])
    assert list(source.iterdir()) == []
    assert Store.open(str(tmp_path / "beside"), outside=[None, source])
