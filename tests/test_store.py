"""The store: private, named by what values depend on, and nothing in it believed that is not what it says it is."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.errors import UsageError
from sanitizer.store import Shelf, Store, implementation

WRITE = "open"  # of pathlib, by which a shard is written


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    return opened(tmp_path / "store")


def opened(root: Path) -> Store:
    """The store in a folder."""
    found = Store.open(str(root))
    assert found is not None
    return found


def table(number: int = 0, rows: int = 4) -> pa.Table:
    """Rows unlike those of any other number."""
    return pa.table({"number": [number] * rows, "value": [f"{number}/{row}" for row in range(rows)]})


def numbers(shelf: Shelf) -> list[int]:
    """Which tables a shelf gives, sorted."""
    return sorted(found["number"][0].as_py() for found in shelf.tables())


def shards(shelf: Shelf) -> list[Path]:
    """The files of a shelf."""
    return sorted(shelf.folder.iterdir()) if shelf.folder.is_dir() else []


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    """What was said, which is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


# The folder


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


# Shelves

KEY: dict[str, Any] = {"name": "a", "number": 1, "facts": {"mean": [0.5, 0.25], "side": 32}, "none": None}
OTHERS: list[dict[str, Any]] = [
    {**KEY, "name": "b"},
    {**KEY, "number": 2},
    {**KEY, "number": "1"},
    {**KEY, "number": 1.5},
    {**KEY, "facts": {"mean": [0.5, 0.25], "side": 33}},
    {**KEY, "facts": {"mean": [0.25, 0.5], "side": 32}},
    {**KEY, "none": False},
    {**KEY, "more": None},
    {name: value for name, value in KEY.items() if name != "none"},
]


def test_the_name_of_a_shelf_depends_on_every_part_of_its_key(store: Store) -> None:
    """And on the kind, and on nothing else: not on the order of what is said."""
    folders = {store.shelf("kind", **key).folder for key in (KEY, *OTHERS)} | {store.shelf("other", **KEY).folder}
    assert len(folders) == len(OTHERS) + 2
    assert store.shelf("kind", **dict(reversed(KEY.items()))) == store.shelf("kind", **KEY)


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3), min_size=2, max_size=2), st.text(max_size=3))
def test_no_two_keys_share_a_shelf(key: dict[str, str], other: str) -> None:
    """Whatever is written in them: nothing runs together."""
    shelf = Store(Path("/nowhere")).shelf
    for name in key:
        assert (shelf("kind", key=key) == shelf("kind", key=key | {name: other})) == (key[name] == other)


def test_what_is_put_comes_back(store: Store) -> None:
    """Several shards, their types and metadata, from another process's view of the folder too."""
    shelf = store.shelf("kind", a=1)
    assert list(shelf.tables()) == []
    wide = pa.FixedSizeListArray.from_arrays(pa.array([0.5, 1.5, 2.5, 3.5], pa.float16()), 2)
    rich = pa.table({"number": [3, 3], "wide": wide}).replace_schema_metadata({"model": "m"})
    for one in (table(1), table(2), rich):
        shelf.put(one)
    again = {found["number"][0].as_py(): found for found in opened(store.root).shelf("kind", a=1).tables()}
    assert again[1].equals(table(1))
    assert again[2].equals(table(2))
    assert again[3].equals(rich, check_metadata=True)
    assert list(store.shelf("kind", a=2).tables()) == []


def test_a_table_in_pieces_is_one_shard(store: Store) -> None:
    """Put together before it is kept; the same rows are the same file."""
    shelf = store.shelf("kind", a=1)
    assert shelf.put(pa.concat_tables([table(1, 2), table(1, 2)])) == shelf.put(
        pa.concat_tables([table(1, 2), table(1, 2)]).combine_chunks()
    )
    assert len(shards(shelf)) == 1


def test_shards_are_mapped_and_hold_no_file_open(store: Store) -> None:
    """Reading many of them costs neither memory nor file handles; what was read outlives its file."""
    shelf = store.shelf("kind", a=1)
    for number in range(20):
        shelf.put(pa.table({"number": pa.array([number] * 100_000, pa.int64())}))
    before, allocated = handles(), pa.total_allocated_bytes()
    kept = list(shelf.tables())
    assert pa.total_allocated_bytes() - allocated < 1_000_000
    assert handles() == before
    shelf.clear()
    assert sorted(found["number"][99_999].as_py() for found in kept) == list(range(20))


def handles() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - what is listed is counted


def test_the_latest_is_the_one_with_the_largest_value(store: Store) -> None:
    """None where there is nothing; a broken one does not count."""
    shelf = store.shelf("kind", a=1)
    assert shelf.latest("number") is None
    for number in (2, 9, 5):
        shelf.put(table(number))
    found = shelf.latest("number")
    assert found is not None
    assert found.equals(table(9))
    path = shelf.put(table(9))
    path.write_bytes(path.read_bytes()[:-1])
    found = shelf.latest("number")
    assert found is not None
    assert found.equals(table(5))


def test_replacing_and_clearing(store: Store) -> None:
    """One shard is left, also if it was there before; then none."""
    shelf, other = store.shelf("kind", a=1), store.shelf("kind", a=2)
    shelf.clear()
    other.put(table(7))
    shelf.put(table(1))
    for number in (2, 3, 3):
        shelf.replace(table(number))
        assert numbers(shelf) == [number]
    shelf.clear()
    assert (numbers(shelf), numbers(other)) == ([], [7])
    assert shards(shelf) == []


# What is broken


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


# The identity of code


def test_new_code_is_another_implementation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed line, a file more, a file elsewhere; what is no Python changes nothing, and nothing is imported."""
    package = tmp_path / "one" / "made_up_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "first.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    now = functools.partial(fresh, "made_up_package")
    seen = [now()]
    (package / "notes.txt").write_text("no code")
    assert now() == seen[0]
    (package / "first.py").write_text("a = 2\n")
    seen.append(now())
    (package / "second.py").write_text("")
    seen.append(now())
    (package / "second.py").rename(package / "inner" / "second.py")
    seen.append(now())
    (package / "inner" / "second.py").rename(package / "inner" / "third.py")
    seen.append(now())
    assert len(set(seen)) == len(seen)
    assert "made_up_package" not in sys.modules
    shutil.move(tmp_path / "one", tmp_path / "two")
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    assert now() == seen[-1]


def fresh(*modules: str) -> str:
    """As another process would find it."""
    implementation.cache_clear()
    return implementation(*modules)


def test_a_module_is_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its neighbours do not matter; the order of what is named does not come by chance."""
    for name in ("made_up_one", "made_up_two"):
        (tmp_path / f"{name}.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    one, both = fresh("made_up_one"), fresh("made_up_one", "made_up_two")
    (tmp_path / "made_up_two.py").write_text("a = 2\n")
    assert fresh("made_up_one") == one
    assert fresh("made_up_one", "made_up_two") != both
    implementation.cache_clear()
