"""Plots: numbers lie where their axis says, labels do not collide, and what is drawn is well-formed and inert."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from sanitizer.evaluation.plots import (
    HEIGHT,
    LOOKS,
    OWN,
    SHARES,
    WIDTH,
    Axis,
    Line,
    Mark,
    Span,
    apart,
    intervals,
    plot,
    swatch,
)

SHARE = Axis("share", SHARES)
RATE = Axis("rate", ((1e-4, "0.01 %"), (1.0, "100 %")), 1e-4, 1.0, log=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def parsed(picture: Markup) -> ElementTree.Element:
    """The picture as a tree; one that is not well-formed is none."""
    return ElementTree.fromstring(picture)


def places(picture: Markup, kind: str) -> list[tuple[float, float]]:
    """Where the shapes of a kind are."""
    found = [one.get("transform", "") for one in parsed(picture).iter("path") if one.get("class") == kind]
    pairs = [one.removeprefix("translate(").removesuffix(")").split() for one in found]
    return [(float(x), float(y)) for x, y in pairs]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_nothing_lies_outside_of_the_frame(points: list[tuple[float, float]]) -> None:
    """Whatever the numbers are: a rate of zero lies on the left edge of a logarithmic axis."""
    marks = [Mark(point, OWN, "") for point in points]
    for x, y in places(plot(RATE, SHARE, [], marks, says=""), "own"):
        assert 0 < x < WIDTH
        assert 0 < y < HEIGHT


@given(st.floats(1e-4, 1), st.floats(1e-4, 1))
def test_axes_keep_the_order(one: float, other: float) -> None:
    """And the ends are the ends."""
    low, high = sorted((one, other))
    for axis in (SHARE, RATE):
        assert 0 <= axis.place(low) <= axis.place(high) <= 1
        assert (axis.place(axis.low), axis.place(axis.high)) == (0, 1)


def test_more_is_higher_and_further_right() -> None:
    """A sheet counts from its upper left corner, a plot from its lower left one."""
    marks = [Mark((0.2, 0.3), 1, ""), Mark((0.7, 0.9), 1, "")]
    (x, y), (further, higher) = places(plot(SHARE, SHARE, [], marks, says=""), "mark")
    assert x < further
    assert y > higher


@given(st.lists(st.floats(0, 200), max_size=LOOKS))
def test_labels_are_moved_apart_and_keep_their_order(wanted: list[float]) -> None:
    """None is nearer to another than the gap, none is below the end."""
    found = apart(wanted, gap=10, high=200)
    assert all(place <= 200 for place in found)
    ranked = sorted(range(len(wanted)), key=lambda row: (wanted[row], found[row]))
    assert all(found[b] - found[a] >= 10 - 1e-9 for a, b in pairwise(ranked))


def test_labels_that_have_room_stay() -> None:
    """Only what collides is moved."""
    assert apart([20.0, 100.0, 60.0], gap=10, high=200) == [20.0, 100.0, 60.0]


def test_series_differ_by_more_than_their_colour() -> None:
    """No two looks have the same shape, in plots and in keys alike."""
    shapes = {path.get("d") for look in (OWN, *range(LOOKS)) for path in parsed(swatch(look, lined=False)).iter("path")}
    assert len(shapes) == LOOKS + 1


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"'><g onload=x>", "a\u202eb\x00", "{0} {}", "x" * 5000]
)
def test_names_are_text(name: str) -> None:
    """In elements and attributes: the picture has the same elements as one with a harmless name."""

    def drawn(said: str) -> list[tuple[str, list[str]]]:
        lines = [Line(said, 0, ((0.1, 0.2), (0.5, 0.6)), said), Line(said, 1, ((0.1, 0.2),), said, label_at=0)]
        axis = Axis(said, ((0.5, said),))
        pictures = [
            plot(axis, axis, lines, [Mark((0.5, 0.5), OWN, said)], says=said),
            intervals(axis, [(said, [Span(said, 0, 0.5, None, None, said)])], says=said),
        ]
        return [(one.tag, sorted(one.attrib)) for picture in pictures for one in parsed(picture).iter()]

    assert drawn(name) == drawn("harmless")


def test_an_interval_reaches_from_its_low_to_its_high_end() -> None:
    """A mean of one run has none: its line has no length."""
    picture = intervals(
        SHARE, [("set", [Span("a", 0, 0.5, 0.25, 0.75, ""), Span("b", 1, 0.5, None, None, "")])], says=""
    )
    spans = [one.get("d", "") for one in parsed(picture).iter("path") if one.get("class") == "span"]
    ends = [tuple(float(part.split()[0]) for part in span.removeprefix("M").split("H")) for span in spans]
    (low, high), (start, end) = ends
    (mean, _), (other, _) = places(picture, "mark")
    assert mean - low == pytest.approx(high - mean, abs=0.2)
    assert mean - low > 10
    assert start == end == other
