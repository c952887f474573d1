"""The store: named by what values depend on, and what is put comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_stores import handles, numbers, opened, shards, table

from sanitizer.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    return opened(tmp_path / "store")


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
