"""The histogram: its counts are exact wherever a threshold can be put."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import flagged, make_verdict, row, unread

from sanitizer.actions.page.histogram import BINS, ROOM, Histogram, embedded, histogram

SCORES = st.lists(st.floats(0, 300), min_size=1, max_size=60)


def of_scores(scores: list[float], kinds: list[str] | None = None) -> Histogram:
    """The histogram of samples with these scores, flagged as these kinds."""
    kinds = kinds or [""] * len(scores)
    pairs = enumerate(zip(scores, kinds, strict=True))
    rows = [row(f"{n}", score=score, suspicious=bool(kind), kind=kind) for n, (score, kind) in pairs]
    made = histogram(make_verdict(rows))
    assert made is not None
    return made


@given(SCORES, st.data())
def test_counts_above_every_floor_are_those_of_the_table(scores: list[float], data: st.DataObject) -> None:
    """At any place of the slider, of every kind."""
    kinds = data.draw(st.lists(st.sampled_from(["", "planted", "label"]), min_size=len(scores), max_size=len(scores)))
    made = of_scores(scores, kinds)
    assert 1 <= len(made.floors) <= BINS
    for place, floor in enumerate(made.floors):
        for kind in ("", "planted", "label"):
            above = sum(score >= floor and its == kind for score, its in zip(scores, kinds, strict=True))
            assert sum(made.counts[kind][place:]) == above


@given(SCORES)
def test_floors_are_what_can_be_said_of_them(scores: list[float]) -> None:
    """Three digits, each higher than the one before, the first at zero: what is shown is what is compared with."""
    floors = of_scores(scores).floors
    assert floors[0] == 0
    assert (np.diff(floors) > 0).all()
    assert all(float(f"{floor:.3g}") == floor for floor in floors)


@given(SCORES)
def test_everything_is_drawn_inside(scores: list[float]) -> None:
    """Bars and marks stay between the sides, and none is thinner or lower than nothing."""
    made = of_scores(scores)
    assert made.bars
    for bar in made.bars:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= ROOM + 1e-9
        assert bar.height > 0
    marks = [across for _, across in made.score_marks]
    assert marks == sorted(marks)
    assert 0 <= marks[0] <= marks[-1] <= ROOM


def test_what_was_not_scanned_has_no_score() -> None:
    """Items without a score count nowhere; without any score there is no histogram."""
    rows = [row("a", score=1.0), unread("b"), row("c", score=float("nan"))]
    made = histogram(make_verdict(rows))
    assert made is not None
    assert sum(sum(counts) for counts in made.counts.values()) == 1
    assert histogram(make_verdict([unread("b")])) is None


def test_the_lowest_planted_score_is_marked() -> None:
    """Exactly, and the slider begins in its bin; a label in doubt is no planted sample."""
    rows = [flagged("a", score=4.25), flagged("b", score=9.0), flagged("c", kind="label", score=0.5), row("d")]
    made = histogram(make_verdict(rows))
    assert made is not None
    assert made.lowest_planted == 4.25
    assert made.floors[made.start] <= 4.25 < made.floors[made.start + 1]
    assert of_scores([1.0]).lowest_planted is None


@pytest.mark.parametrize(("highest", "saturated"), [(12.0, False), (300.0, True)])
def test_the_end_of_the_scale_is_known(highest: float, saturated: bool) -> None:
    """Scores that stand for no p-value any more are said to."""
    assert of_scores([0.0, highest]).saturated is saturated


def test_embedded_json_ends_nothing() -> None:
    """No tag, comment or line of its own; a reader of JSON finds what was put in."""
    said: Any = {"a": "</script><!-- & \u2028\u2029"}
    text = str(embedded(json.dumps(said, ensure_ascii=False)))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == said
