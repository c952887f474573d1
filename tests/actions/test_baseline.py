"""A baseline knows what was found, copy by copy, and nothing else becomes silent because of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import flagged, make_verdict, row, unread

from sanitizer.baseline import Baseline
from sanitizer.errors import VerdictError
from sanitizer.record import SUMMARY, TABLE

CLEAN = [row(f"cat/{n}") for n in range(12)]
OLD = [*CLEAN, flagged("cat/p"), flagged("cat/q", kind="label"), unread("cat/bomb", "refused")]


@pytest.fixture
def baseline(write_folder: Callable[..., Path]) -> Baseline:
    """Of a verdict that found one planted sample and refused one item."""
    return Baseline.read(write_folder(make_verdict(OLD)))


def moved(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """The same content at another place."""
    return entry | {"id": name}


def test_what_was_found_before_is_not_new(baseline: Baseline) -> None:
    """At the same place or another; the verdict itself still says all of it."""
    again = make_verdict([*OLD[:-3], moved(flagged("cat/p"), "cat/elsewhere"), *OLD[-2:]])
    assert baseline.new(again.table).num_rows == 0
    assert (again.exit_code, baseline.exit_code(again)) == (1, 0)
    assert "0 items; nothing was found" in baseline.says(again.table)


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        (flagged("cat/new"), 1, "1 look planted"),
        (flagged("cat/p", "dog"), 1, "1 look planted"),
        (moved(flagged("cat/p"), "cat/copy"), 1, "1 look planted"),
        (unread("cat/tar", "refused"), 1, "1 were refused"),
        (flagged("cat/3", kind="label"), 0, "1 have a label in doubt"),
        (moved(flagged("cat/q"), "cat/again"), 1, "1 look planted"),
        (row("cat/clean"), 0, "nothing was found"),
    ],
    ids=["content", "label", "copy", "refused", "doubt", "doubted before", "clean"],
)
def test_what_is_new_is_reported(baseline: Baseline, entry: dict[str, Any], code: int, said: str) -> None:
    """Other content, known content under another label, one more copy; a doubt about a label is no poison."""
    now = make_verdict([*OLD, entry])
    assert baseline.exit_code(now) == code
    assert said in baseline.says(now.table)
    assert [found["id"] for found in baseline.new(now.table).to_pylist()] == ([] if said[0] == "n" else [entry["id"]])


def test_an_incomplete_scan_stays_incomplete(baseline: Baseline) -> None:
    """Nothing new is no clean bill then."""
    assert baseline.exit_code(make_verdict(OLD, incomplete=["a detector failed"])) == 2


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_each_copy_counts(old: list[str], new: list[str]) -> None:
    """As many are new as there are more than were known."""
    known = Counter((row(name)["digest"], "cat", "planted") for name in old)
    table = make_verdict([moved(flagged(name), f"{name}{n}") for n, name in enumerate(new)]).table
    assert Baseline(known, Counter()).new(table).num_rows == (Counter(new) - Counter(old)).total()


@pytest.mark.parametrize("name", [TABLE, SUMMARY])
def test_a_baseline_is_as_it_was_written(write_folder: Callable[..., Path], name: str) -> None:
    """Who edits it could make anything known."""
    folder = write_folder(make_verdict(OLD))
    (folder.parent / "other").mkdir()
    make_verdict([*OLD, flagged("cat/q")]).write(folder.parent / "other")
    (folder / name).write_bytes((folder.parent / "other" / name).read_bytes())
    with pytest.raises(VerdictError, match="expected a verdict as it was written"):
        Baseline.read(folder)


def test_an_incomplete_baseline_knows_too_little(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    """And a folder that is none has nothing to say."""
    with pytest.raises(VerdictError, match="a detector failed"):
        Baseline.read(write_folder(make_verdict(OLD, incomplete=["a detector failed"])))
    with pytest.raises(VerdictError, match="run `sanitizer scan`"):
        Baseline.read(tmp_path / "nothing")
