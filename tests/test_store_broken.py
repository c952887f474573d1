"""What is broken in a store: nothing is believed that is not what it says it is, and nothing half-written is seen."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_stores import handles, numbers, one_line, opened, shards, table

from sanitizer.errors import UsageError
from sanitizer.store import Shelf, Store

WRITE = "open"  # of pathlib, by which a shard is written


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    return opened(tmp_path / "store")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shelf, Path, bytes]:
    """A shelf with one shard, its file, and what is in it."""
    shelf = opened(tmp_path_factory.mktemp("sound") / "store").shelf("kind", a=1)
    path = shelf.put(table(1))
    return shelf, path, path.read_bytes()


def distrusted(sound: tuple[Shelf, Path, bytes], content: bytes) -> None:
    """With this in its place, the shard is not there, its file is gone, and it can be put again."""
    shelf, path, _ = sound
    path.write_bytes(content)
    assert list(shelf.tables()) == []
    assert shards(shelf) == []
    assert shelf.put(table(1)) == path
    assert numbers(shelf) == [1]


@given(st.data())
def test_no_changed_byte_is_believed(sound: tuple[Shelf, Path, bytes], data: st.DataObject) -> None:
    """At any place, by any change."""
    content = bytearray(sound[2])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    distrusted(sound, bytes(content))


@given(st.data())
def test_no_length_is_believed_but_its_own(sound: tuple[Shelf, Path, bytes], data: st.DataObject) -> None:
    """Shorter, empty, or with something behind it."""
    content = sound[2]
    length = data.draw(st.integers(0, len(content) - 1))
    distrusted(sound, data.draw(st.sampled_from([content[:length], content + content[: length + 1]])))


@pytest.mark.parametrize("length", [0, 1, 6, 8])
def test_hardly_anything_is_left(sound: tuple[Shelf, Path, bytes], length: int) -> None:
    """An empty file cannot even be mapped."""
    distrusted(sound, sound[2][:length])


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.putenv, ("SANITIZER_TEST_PICKLED", "yes")


def test_a_pickle_is_not_opened(sound: tuple[Shelf, Path, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name of a shard, and under its own."""
    monkeypatch.setattr(pickle, "loads", lambda *anything, **more: pytest.fail("it was opened"))
    content = pickle.dumps({"table": table(1), "evil": Evil()})
    distrusted(sound, content)
    named = sound[1].with_name(hashlib.sha256(content).hexdigest() + ".arrow")
    named.write_bytes(content)
    assert numbers(sound[0]) == [1]
    assert not named.exists()


def test_another_shard_under_this_name_is_not_believed(sound: tuple[Shelf, Path, bytes]) -> None:
    """Intact as it is."""
    elsewhere = Shelf(sound[0].folder.with_name("elsewhere"))
    distrusted(sound, elsewhere.put(table(2)).read_bytes())


def test_what_no_shard_is_called_is_left_alone(store: Store) -> None:
    """What a killed scan was writing, or what somebody put there; a folder with the name of a shard too."""
    shelf = store.shelf("kind", a=1)
    path = shelf.put(table(1))
    (shelf.folder / ".partial-0123").write_bytes(path.read_bytes()[:99])
    (shelf.folder / "note.txt").write_text("hello")
    (shelf.folder / "folder.arrow").mkdir()
    assert numbers(shelf) == [1]
    assert len(shards(shelf)) == 4


def test_what_cannot_be_read_just_now_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files say nothing about a shard; one that vanishes is nobody's fault."""
    shelf = store.shelf("kind", a=1)
    shelf.put(table(1))
    for code in (errno.EMFILE, errno.EIO, errno.ENOENT):
        with monkeypatch.context() as patch:
            patch.setattr(pa, "memory_map", raising(code))
            assert numbers(shelf) == []
        assert numbers(shelf) == [1]


def raising(code: int) -> Callable[..., Any]:
    """A function that fails like this."""

    def fail(*anything: Any, **more: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_nothing_half_written_is_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its last step a shard is not there; when that step fails it never was."""
    shelf = store.shelf("kind", a=1)
    shelf.put(table(1))
    seen: list[list[int]] = []

    def last_step(self: Path, target: Path) -> Path:
        seen.append(numbers(shelf))
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", last_step)
    with pytest.raises(KeyboardInterrupt):
        shelf.put(table(2))
    assert seen == [[1]]
    assert numbers(shelf) == [1]
    assert len(shards(shelf)) == 1


def test_a_full_disk_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """For shards, for their folder, and for scratch files, which leave no handle behind."""
    shelf = store.shelf("kind", a=1)
    before = handles()
    ways: list[tuple[Any, str, Callable[[], Any]]] = [
        (Path, WRITE, lambda: shelf.put(table())),
        (Path, "mkdir", lambda: shelf.put(table())),
        (os, "posix_fallocate", lambda: store.scratch(1000)),
        (tempfile, "TemporaryFile", lambda: store.scratch(1000)),
    ]
    for where, name, write in ways:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, raising(errno.ENOSPC))
            with pytest.raises(UsageError, match=r"cannot write .*No space left on device") as caught:
                write()
        one_line(caught)
    assert shards(shelf) == []
    assert handles() == before


def test_scratch_has_its_size_and_no_name(store: Store) -> None:
    """It is the store's disk that is used, and nothing stays."""
    with store.scratch(5000) as file:
        assert os.fstat(file.fileno()).st_size == 5000
        assert os.fstat(file.fileno()).st_dev == store.root.stat().st_dev
        assert list(store.root.iterdir()) == []


def test_two_scans_may_use_one_shelf(store: Store) -> None:
    """One writes while the other forgets and reads: neither fails, and what is read is whole."""
    shelf = store.shelf("kind", a=1)
    failed: list[BaseException] = []

    def work(step: Callable[[int], Any]) -> None:
        try:
            for number in range(40):
                step(number)
        except BaseException as error:
            failed.append(error)

    steps: list[Callable[[int], Any]] = [
        lambda number: shelf.replace(table(number % 5)),
        lambda number: shelf.put(table(number % 5)),
        lambda number: shelf.clear(),
        lambda number: numbers(shelf),
    ]
    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert set(numbers(shelf)) <= set(range(5))
