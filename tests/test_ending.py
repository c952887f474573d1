"""What a scan says at its end: short if nothing was found, never endless, each thing once."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_cli import entry, row, verdict

from sanitizer.baseline import Baseline
from sanitizer.ending import COLUMNS, MAX_CLASSES, MAX_SAMPLES, Ending, as_object, ending
from sanitizer.record import Verdict

FOLDER = Path("verdict")


def end_of(made: Verdict, **given: Any) -> Ending:
    """The end of a scan of ``data``."""
    return ending(made, FOLDER, given.pop("source", ["data"]), **given)


def texts(ended: Ending) -> list[str]:
    """All of its lines."""
    return [line.text for line in (*ended.before, *ended.after)]


def with_rows(made: Verdict, rows: list[dict[str, Any]]) -> Verdict:
    """The verdict with other samples."""
    return Verdict(pa.Table.from_pylist(rows), made.summary)


def test_a_clean_set_is_told_in_few_words() -> None:
    """The answer, the counts, what could have been found, the report; no table, nothing to do next."""
    ended = end_of(verdict(classes=[entry("cat"), entry("dog")]))
    assert ended.classes == []
    assert texts(ended) == [
        "An answer.", "1,234 scanned, 0 unreadable, 0 refused, 0 ignored", "Looks for little.",
        "Report: verdict/report.html",
    ]  # fmt: skip


def test_what_was_found_is_told_with_what_to_do_next() -> None:
    """Report and commands exactly once."""
    ended = end_of(verdict(planted=True))
    assert ended.classes == [["cat", "10", "1", "0", "9.00"]]
    assert texts(ended)[3:] == [
        "  class cat: two groups", "Flagged:", "  a.png", "    labelled cat, score 9: It stands apart.",
        "Look closer: sanitizer explain verdict a.png",
        "Copy without them: sanitizer apply verdict data --to COPY", "Report: verdict/report.html",
    ]  # fmt: skip


def test_nobody_is_sent_to_drop_by_an_incomplete_verdict() -> None:
    """``apply`` would refuse it."""
    said = texts(end_of(verdict(planted=True, incomplete=("a detector failed",))))
    assert "  a detector failed" in said
    assert not [line for line in said if "sanitizer apply" in line]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 99), st.booleans()), max_size=40),
    st.integers(0, 12),
)
def test_no_set_makes_it_long_and_nothing_goes_uncounted(
    classes: list[tuple[int, int, float, bool]], flagged: int
) -> None:
    """At most ten classes and three samples, and the number of the others."""
    entries = [
        entry(f"c{n}", suspicious=planted, label_suspects=wrong, score=score, reason="held back" if held else "")
        for n, (planted, wrong, score, held) in enumerate(classes)
    ]
    rows = [row("calm", suspicious=False), *(row(f"s{n}") for n in range(flagged))]
    ended = end_of(with_rows(verdict(planted=True, classes=entries), rows))
    suspects = [one for one in entries if one["suspicious"] or one["label_suspects"]]
    assert len(ended.classes) == min(MAX_CLASSES, len(suspects))
    assert len(texts(ended)) <= 3 + 2 * MAX_CLASSES + 2 * MAX_SAMPLES + 6
    left_out = len(suspects) - MAX_CLASSES
    more = f"  and {left_out} more classes; the report lists them"
    assert [line for line in texts(ended) if line.endswith("more classes; the report lists them")] == (
        [more] if left_out > 0 else []
    )
    assert len([line for line in texts(ended) if line.startswith("  s")]) == min(flagged, MAX_SAMPLES)
    assert all(len(cells) == len(COLUMNS) for cells in ended.classes)


def test_the_most_suspicious_class_comes_first() -> None:
    """By the share that looks planted, then by labels in doubt, then by evidence; never by size."""
    classes = [
        entry("labels", label_suspects=9), entry("big", size=1000, suspicious=50), entry("calm"),
        entry("small", size=10, suspicious=4), entry("strong", size=1000, suspicious=50, score=20.0),
    ]  # fmt: skip
    assert [cells[0] for cells in end_of(verdict(classes=classes)).classes] == ["small", "strong", "big", "labels"]


def test_a_reason_is_told_unless_the_table_tells_it() -> None:
    """What was held back or capped is; a mere count is not told twice."""
    classes = [
        entry("plain", suspicious=3, reason="3 of 10 samples form a second population inside 'plain'"),
        entry("capped", suspicious=5, reason="7 of 10 look planted: capped at 50%"),
        entry("tiny", size=4, reason="the class has only 4 samples: reported, nothing flagged"),
    ]
    said = [line for line in texts(end_of(verdict(classes=classes))) if line.startswith("  class ")]
    assert [line.split(":")[0] for line in said] == ["  class capped", "  class tiny"]


def test_only_what_is_new_is_named_beside_a_baseline() -> None:
    """The verdict stays whole: the table shows all that was flagged."""
    made = with_rows(verdict(planted=True), [row("old", digest="1"), row("new", digest="2", score=1.0)])
    earlier = Baseline(Counter({("1", "cat", "planted"): 1}), Counter({("1", "cat"): 1}))
    said = texts(end_of(made, earlier=earlier))
    assert "  new" in said
    assert "  old" not in said
    assert "Look closer: sanitizer explain verdict new" in said
    assert as_object(made, FOLDER, earlier)["new"] == 1
    assert as_object(made, FOLDER)["new"] is None


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cat/1.png", "cat/1.png"),
        ("train.parquet#7", "train.parquet#7"),
        ("two words.png", "two words.png"),
        ("$(reboot)", "$(reboot)"),
        ("it's", "it's"),
        ("-rf", "abcdef012345"),
        ("a\nb", "abcdef012345"),
        ("né.png", "abcdef012345"),
        ("\x1b[2J", "abcdef012345"),
    ],
)
def test_a_command_can_be_pasted_into_a_shell(name: str, word: str) -> None:
    """Whatever a sample is called: quoted, or by its digest where the name might not survive the way."""
    made = with_rows(verdict(planted=True), [row(name, digest="abcdef0123456789")])
    command = next(line.text for line in end_of(made).after if line.text.startswith("Look closer: "))
    assert shlex.split(command.partition(": ")[2]) == ["sanitizer", "explain", "verdict", word]


def test_what_is_copied_is_marked_as_such() -> None:
    """Ids, commands and the report: they must reach the screen in one piece."""
    copied = [line.text for line in end_of(verdict(planted=True)).after if line.copied]
    assert [line.split()[0] for line in copied] == ["a.png", "Look", "Copy", "Report:"]


def test_programs_get_the_same_answer() -> None:
    """Plain values: it goes through JSON and comes back."""
    made = verdict(planted=True)
    found = as_object(made, FOLDER)
    assert json.loads(json.dumps(found)) == found
    assert (found["exit_code"], found["planted"], found["counts"]["scanned"]) == (1, 1, 1234)
    assert [one["name"] for one in found["classes"]] == ["cat"]
    assert found["samples"] == [
        {"id": "a.png", "label_name": "cat", "kind": "planted", "score": 9.0, "reasons": ["It stands apart."]}
    ]
