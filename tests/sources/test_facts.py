"""Facts: what was decoded once is not decoded again, and what is remembered is what decoding would say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sanitizer.sources import census as room
from sanitizer.sources import facts
from sanitizer.sources.base import Found, Sample, Status, open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import LIMITS, Limits, Refused, decode
from sanitizer.sources.encode import encode
from sanitizer.sources.facts import Fact, Facts
from sanitizer.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    found = Store.open(str(tmp_path / "store"))
    assert found is not None
    return found


def png(value: int) -> bytes:
    """A small picture unlike all others."""
    return encode(np.full((4, 6 + value % 3, 3), value, np.uint8), "PNG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, a copy under each label, and items of every other status."""
    folder = tmp_path / "data"
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for number in range(6):
            (folder / kind / f"{number}.png").write_bytes(png(10 * number + len(folder.name)))
        (folder / kind / "only.png").write_bytes(png(200 + ord(kind[0]) % 50))
    (folder / "cat" / "cut.png").write_bytes(png(7)[:40])
    (folder / "cat" / "nul.png").write_bytes(b"\0" * 50)
    (folder / "dog" / "big.png").write_bytes(encode(np.zeros((200, 200, 3), np.uint8), "PNG"))
    (folder / "dog" / "notes.txt").write_text("hello")
    return folder


SMALL = Limits(max_pixels=10_000)


def taken(root: Path, store: Store | None, limits: Limits = SMALL) -> Census:
    """A census of the folder."""
    return take_census(open_source(str(root)), limits=limits, store=store)


def told(census: Census) -> tuple[tuple[Sample, ...], tuple[Found, ...], dict[Status, int]]:
    """Everything a census says."""
    return census.samples, census.others, census.counts


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that the census had to decode."""
    seen: list[bytes] = []

    def counted(content: bytes, limits: Limits) -> Any:
        seen.append(content)
        return decode(content, limits)

    monkeypatch.setattr(room, "decode", counted)
    return seen


def test_a_second_census_decodes_nothing_and_says_the_same(root: Path, store: Store, decoded: list[bytes]) -> None:
    """Sizes, view digests, reasons; as a census without a store would."""
    plain = taken(root, None)
    decoded.clear()
    first = taken(root, store)
    assert len(decoded) == len(set(decoded)) == 6 + 2 + 2 + 1  # copies once
    assert told(first) == told(plain)
    decoded.clear()
    (root / "dog" / "big.png").unlink()  # what was refused is asked again
    second = taken(root, store)
    assert decoded == []
    assert told(second) == told(taken(root, None))


def test_what_was_unreadable_stays_so_for_the_same_reason(root: Path, store: Store, decoded: list[bytes]) -> None:
    """From the store, word for word."""
    first, second = taken(root, store), taken(root, store)
    reasons = {other.id: (other.status, other.reason) for other in first.others}
    assert reasons == {other.id: (other.status, other.reason) for other in second.others}
    assert reasons["cat/cut.png"] == (Status.UNREADABLE, "broken PNG data")
    assert reasons["cat/nul.png"][0] is Status.UNREADABLE
    assert all(other.content is None for other in second.others)


def test_what_was_refused_is_not_remembered(
    root: Path, store: Store, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been too little memory; tomorrow there may be more."""
    big = (root / "dog" / "big.png").read_bytes()

    def short_of_memory(content: bytes, limits: Limits) -> Any:
        if content == png(7):
            raise Refused("does not fit into memory")
        return decode(content, limits)

    (root / "dog" / "seven.png").write_bytes(png(7))
    with monkeypatch.context() as patch:
        patch.setattr(room, "decode", short_of_memory)
        assert {other.id for other in taken(root, store).others if other.status is Status.REFUSED} == {
            "dog/seven.png",
            "dog/big.png",
        }
    decoded.clear()
    again = taken(root, store)
    assert set(decoded) == {big, png(7)}
    assert "dog/seven.png" in {sample.id for sample in again.samples}


def test_only_what_is_new_is_decoded(root: Path, store: Store, decoded: list[bytes]) -> None:
    """A changed file, a new one; a renamed or relabelled one is known."""
    taken(root, store)
    (root / "cat" / "0.png").write_bytes(png(99))
    (root / "dog" / "new.png").write_bytes(png(98))
    (root / "cat" / "1.png").rename(root / "dog" / "moved.png")
    decoded.clear()
    assert told(taken(root, store)) == told(taken(root, None))
    assert set(decoded[:3]) >= {png(99), png(98)}


def test_views_of_known_contents_are_decoded_when_they_are_needed(
    root: Path, store: Store, decoded: list[bytes]
) -> None:
    """And are the same."""
    first, second = taken(root, store), taken(root, store)
    np.testing.assert_array_equal(first.views(8), second.views(8))
    np.testing.assert_array_equal(second.views(8), taken(root, None).views(8))


def test_copies_do_not_make_a_census_read_everything_twice(root: Path, store: Store, decoded: list[bytes]) -> None:
    """The pixels of a copy are at hand, and are held once."""
    census = taken(root, store)
    decoded.clear()
    census.views(8)
    assert decoded == []
    assert census._kept is not None
    assert len(census._kept) == len({sample.digest for sample in census.samples}) < len(census.samples)


@pytest.mark.parametrize("limits", [Limits(max_pixels=10_001), Limits(max_pixels=10_000, max_bytes=10**6)])
def test_other_limits_are_other_facts(root: Path, store: Store, decoded: list[bytes], limits: Limits) -> None:
    """What fits under one need not fit under another."""
    taken(root, store)
    decoded.clear()
    taken(root, store, limits)
    assert len(decoded) == 11


@pytest.mark.parametrize("name", ["VIEW", "implementation", "metadata"])
def test_another_view_decoder_or_library_is_other_facts(
    root: Path, store: Store, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Facts are about what this decoder makes of the bytes."""

    class Other:
        """Speaks for another version of everything."""

        @staticmethod
        def version(distribution: str) -> str:
            return "0.0"

    taken(root, store)
    monkeypatch.setattr(facts, name, {"VIEW": "RGB16", "implementation": lambda *code: "new", "metadata": Other}[name])
    decoded.clear()
    taken(root, store)
    assert len(decoded) == 11


def test_broken_facts_are_found_out_and_learnt_again(root: Path, store: Store, decoded: list[bytes]) -> None:
    """A store that was tampered with costs time and nothing else."""
    plain = told(taken(root, None))
    taken(root, store)
    (shard,) = store.root.rglob("*.arrow")
    shard.write_bytes(shard.read_bytes()[:-9] + b"\1" * 9)
    decoded.clear()
    assert told(taken(root, store)) == plain
    assert len(decoded) == 11
    decoded.clear()
    taken(root, store)
    assert len(decoded) == 1  # what is refused


def test_a_shard_of_another_layout_is_passed_over(store: Store) -> None:
    """However it came there."""
    shelf = Facts.of(store, LIMITS).shelf
    assert shelf is not None
    shelf.put(pa.table({"digest": [b"a" * 32]}))
    assert Facts.of(store, LIMITS).get((b"a" * 32).hex()) is None


def test_facts_come_back_as_they_were(store: Store) -> None:
    """In shards of a bounded size, so that an interrupted reading goes on where it stopped."""
    learnt = {f"{number:064x}": fact(number) for number in range(10)}
    first = Facts.of(store, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "SHARD_ROWS", 4)
        for digest, one in learnt.items():
            first.learn(digest, one)
            assert first.get(digest) == one
    interrupted = Facts.of(store, LIMITS)
    assert [interrupted.get(digest) for digest in learnt] == [*list(learnt.values())[:8], None, None]
    first.keep()
    first.keep()
    second = Facts.of(store, LIMITS)
    assert [second.get(digest) for digest in learnt] == list(learnt.values())
    assert len(list(store.root.rglob("*.arrow"))) == 3


def fact(number: int) -> Fact:
    """An image, or something unreadable."""
    if number % 3:
        return Fact(Status.SCANNED, "", f"{number + 1:064x}", (number, 10**5))
    return Fact(Status.UNREADABLE, f"reason {number}, \N{SNOWMAN}")


def test_an_interrupted_reading_goes_on(
    root: Path, store: Store, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in finished shards is not decoded again."""
    monkeypatch.setattr(facts, "SHARD_ROWS", 2)

    def tired(content: bytes, limits: Limits) -> Any:
        if len(decoded) == 7:
            raise KeyboardInterrupt
        decoded.append(content)
        return decode(content, limits)

    with monkeypatch.context() as patch:
        patch.setattr(room, "decode", tired)
        with pytest.raises(KeyboardInterrupt):
            taken(root, store)
    before = set(decoded)
    decoded.clear()
    again = taken(root, store)
    assert len(before & set(decoded)) <= 2  # the unfinished shard, and what is refused
    assert told(again) == told(taken(root, None))


def test_without_a_store_nothing_is_known() -> None:
    """And nothing is kept."""
    nobody = Facts.of(None, LIMITS)
    nobody.learn("00" * 32, fact(1))
    nobody.keep()
    assert nobody.get("00" * 32) is None


def test_vectors_need_no_facts(tmp_path: Path, store: Store) -> None:
    """Their digest says all."""
    np.savez(tmp_path / "v.npz", vectors=np.eye(4, dtype=np.float32), labels=np.arange(4) % 2)
    census = take_census(open_source(str(tmp_path / "v.npz")), store=store)
    assert census.counts[Status.SCANNED] == 4
    assert list(store.root.rglob("*.arrow")) == []
