"""A pool: two sources read as one, alike in everything but the mark on the ids of the trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Change, Found, Holds, Source, Status, open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.encode import encode
from sanitizer.sources.pooled import PooledSource


@dataclass
class MadeUp:
    """A source in memory that remembers what it was asked for."""

    uri: str
    class_names: tuple[str, ...]
    items: tuple[Found, ...] = ()
    holds: Holds = "images"
    root: Path | None = None
    asked: frozenset[str] | None = frozenset({"nobody asked"})

    def stream(self, wanted: frozenset[str] | None = None) -> Iterator[Found]:
        """The items, or those that are wanted."""
        self.asked = wanted
        yield from (item for item in self.items if wanted is None or item.id in wanted)

    def rewrite(self, destination: Path, change: Callable[[Found], Change]) -> dict[str, str]:
        """No pool may get here."""
        raise AssertionError


def item(name: str, label: int | None, *, status: Status = Status.SCANNED) -> Found:
    """One item; its content is its name."""
    return Found(name, label, name.encode() if status is Status.SCANNED else None, status)


SUSPECT = MadeUp("suspect", ("cat", "dog"), (item("a", 0), item("b", 1), item("x", 1, status=Status.REFUSED)))
TRUSTED = MadeUp("trusted", ("dog", "cat"), (item("a", 0), item("c", 1), item("d", None, status=Status.UNREADABLE)))


def pooled(suspect: Source = SUSPECT, trusted: Source = TRUSTED) -> PooledSource:
    """Both as one."""
    return PooledSource(suspect, trusted)


def test_every_item_of_both_once_and_only_the_trusted_are_marked() -> None:
    """The same id on both sides is two items; statuses and contents are what they were."""
    found = list(pooled().stream())
    assert [one.id for one in found] == ["a", "b", "x", "trusted:a", "trusted:c", "trusted:d"]
    assert [PooledSource.is_trusted(one.id) for one in found] == [False] * 3 + [True] * 3
    assert [one.status for one in found] == [one.status for one in SUSPECT.items + TRUSTED.items]
    assert [one.content for one in found] == [one.content for one in SUSPECT.items + TRUSTED.items]


def test_labels_mean_what_the_suspect_source_says() -> None:
    """The trusted source lists its classes in another order: names decide."""
    pool = pooled()
    named = {one.id: None if one.label is None else pool.class_names[one.label] for one in pool.stream()}
    assert pool.class_names == SUSPECT.class_names
    assert named == {"a": "cat", "b": "dog", "x": "dog", "trusted:a": "dog", "trusted:c": "cat", "trusted:d": None}


def test_a_pool_stands_for_the_suspect_source() -> None:
    """That is what was asked about: its name, its place, what it holds."""
    pool = pooled(MadeUp("suspect", (), root=Path("/here")), MadeUp("trusted", (), root=Path("/there")))
    assert (pool.uri, pool.root, pool.holds) == ("suspect", Path("/here"), "images")


@pytest.mark.parametrize(
    ("wanted", "suspect", "trusted"),
    [
        (None, None, None),
        ({"a"}, {"a"}, set()),
        ({"trusted:a"}, set(), {"a"}),
        ({"b", "trusted:c", "trusted:d"}, {"b"}, {"c", "d"}),
        (set(), set(), set()),
    ],
)
def test_each_side_is_asked_for_its_own(
    wanted: set[str] | None, suspect: set[str] | None, trusted: set[str] | None
) -> None:
    """By the ids that it gave itself; and only what was wanted comes."""
    found = [one.id for one in pooled().stream(None if wanted is None else frozenset(wanted))]
    assert SUSPECT.asked == suspect
    assert TRUSTED.asked == trusted
    assert wanted is None or set(found) == wanted


@pytest.mark.parametrize(
    ("suspect", "trusted", "message"),
    [
        (
            MadeUp("s", ("a",)),
            MadeUp("t", ("a",), holds="vectors"),
            "expected images in the trusted source 't'.*vectors",
        ),
        (MadeUp("s", ("a",)), MadeUp("t", ()), "labels in both sources or in none: 's' has them, 't' has not"),
        (MadeUp("s", ()), MadeUp("t", ("a",)), "labels in both sources or in none: 't' has them, 's' has not"),
        (MadeUp("s", ("a", "b")), MadeUp("t", ("a",)), "'b' is only in the suspect source"),
        (MadeUp("s", ("a",)), MadeUp("t", ("a", "z")), "'z' is only in the trusted source"),
        (MadeUp("s", ("a", "b")), MadeUp("t", ("a", "z")), "'z' is only in the trusted source"),
    ],
)
def test_sources_that_cannot_be_compared_are_refused(suspect: Source, trusted: Source, message: str) -> None:
    """Images with vectors, labels with none, other classes: one line that says on which side."""
    with pytest.raises(SourceError, match=message) as caught:
        pooled(suspect, trusted)
    assert "\n" not in str(caught.value)


def test_vectors_of_another_length_cannot_be_compared() -> None:
    """They come from another network: one line, not an array that does not fit."""
    of_two = MadeUp("s", (), (Found("a", None, bytes(8), Status.SCANNED),), holds="vectors")
    of_three = MadeUp("t", (), (Found("b", None, bytes(12), Status.SCANNED),), holds="vectors")
    assert len(list(pooled(of_two, replace(of_two, uri="t")).stream())) == 2
    with pytest.raises(SourceError, match=r"vectors of length 2 in the trusted source 't'.* got length 3: embed both"):
        list(pooled(of_two, of_three).stream())


def test_no_suspect_can_pass_for_trusted() -> None:
    """A file that is named like the mark would vouch for itself."""
    hostile = MadeUp("suspect", ("dog", "cat"), (item("a", 0), item("trusted:evil.png", 0)))
    with pytest.raises(SourceError, match=r"'trusted:evil\.png' begins with 'trusted:'"):
        list(pooled(hostile).stream())


def test_a_trusted_item_may_be_called_anything() -> None:
    """Its mark is put before whatever it is called, and taken off once."""
    odd = MadeUp("trusted", ("dog", "cat"), (item("trusted:a", 0),))
    pool = pooled(trusted=odd)
    assert [one.id for one in pool.stream(frozenset({"trusted:trusted:a"}))] == ["trusted:trusted:a"]
    assert odd.asked == {"trusted:a"}


def test_a_pool_is_not_copied(tmp_path: Path) -> None:
    """There is no layout that both share."""
    with pytest.raises(UsageError, match="one by one"):
        pooled().rewrite(tmp_path / "copy", lambda found: None)
    assert not (tmp_path / "copy").exists()


def write_folder(root: Path, values: dict[str, range]) -> Source:
    """A folder with a plain picture for each value of each class."""
    for name, numbers in values.items():
        (root / name).mkdir(parents=True)
        for value in numbers:
            (root / name / f"{value}.png").write_bytes(encode(np.full((4, 4, 3), value, np.uint8), "PNG"))
    return open_source(root)


def test_marks_do_not_decide_the_order(tmp_path: Path) -> None:
    """Samples come in the order of their contents: exchanging both sides exchanges the marks and moves nothing."""
    one = write_folder(tmp_path / "one", {"cat": range(10), "dog": range(30, 40)})
    other = write_folder(tmp_path / "other", {"cat": range(10, 20), "dog": range(40, 50)})
    here, there = take_census(PooledSource(one, other)), take_census(PooledSource(other, one))
    assert [sample.digest for sample in here.samples] == [sample.digest for sample in there.samples]
    assert here.labels().tolist() == there.labels().tolist()
    marks = [[PooledSource.is_trusted(sample.id) for sample in census.samples] for census in (here, there)]
    assert marks[0] == [not mark for mark in marks[1]]
    assert sum(marks[0]) == 20


def test_pixels_are_read_again_from_the_side_that_has_them(tmp_path: Path) -> None:
    """Where nothing is kept in memory, every sample finds its way back to its file."""
    one = write_folder(tmp_path / "one", {"cat": range(3), "dog": range(30, 33)})
    other = write_folder(tmp_path / "other", {"cat": range(10, 13), "dog": range(40, 43)})
    census = take_census(PooledSource(one, other), keep_bytes=0)
    values = census.views(4)[:, 0, 0, 0]
    said = [int(sample.id.removeprefix("trusted:").split("/")[1].removesuffix(".png")) for sample in census.samples]
    assert values.tolist() == said
    assert census.views(4, rows=[0, 11, 0])[:, 0, 0, 0].tolist() == [said[0], said[11], said[0]]
