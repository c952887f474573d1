"""What a flagged sample is compared with: its own class, nobody flagged, the likest first."""

from __future__ import annotations

import numpy as np

from sanitizer.lookalikes import COMPARED, lookalikes
from tests.actions.made_up import flagged, make_verdict, row

CATS = 20


def test_they_are_the_likest_of_their_class_that_nobody_flagged() -> None:
    """A planted twin and a likelier sample of another class are passed over."""
    rows = [flagged("a"), flagged("twin"), *(row(f"cat{place:02}") for place in range(CATS)), row("dog", "dog")]
    ids = [one["id"] for one in rows]
    layout = np.zeros((len(ids), 2), np.float16)
    layout[2 : 2 + CATS, 0] = np.arange(CATS)[::-1] + 1  # the last cat is the likest
    found = lookalikes({"layout": layout}, ids, make_verdict(rows))
    assert found["a"] == [f"cat{CATS - 1 - place:02}" for place in range(COMPARED)]
    assert set(found) == {"a", "twin"}


def test_equally_alike_ones_are_named_in_a_fixed_order() -> None:
    """Whatever the order of the samples was."""
    rows = [flagged("a"), *(row(f"cat{place:02}") for place in range(CATS))]
    ids = [one["id"] for one in rows]
    layout = np.zeros((len(ids), 2), np.float16)
    there = lookalikes({"layout": layout}, ids, make_verdict(rows))
    back = lookalikes({"layout": layout}, ids[::-1], make_verdict(rows[::-1]))
    assert there == back == {"a": [f"cat{place:02}" for place in range(COMPARED)]}


def test_who_has_nobody_to_be_compared_with_is_left_out() -> None:
    """A class that was flagged whole, samples without labels among them, and a scan that made no layouts."""
    rows = [flagged("a"), flagged("b"), flagged("c", None), row("d", None)]
    layout = np.zeros((4, 2), np.float16)
    assert lookalikes({"layout": layout}, ["a", "b", "c", "d"], make_verdict(rows)) == {"c": ["d"]}
    assert lookalikes({}, ["a", "b", "c", "d"], make_verdict(rows)) == {}
