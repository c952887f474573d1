"""Maps of classes: marks stay inside, and axes say no more than is known."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_up import flagged, make_verdict

from sanitizer.actions.page.exhibits import Exhibits
from sanitizer.actions.page.maps import HEIGHT, MAX_MAPS, MAX_POINTS, Map, maps
from sanitizer.actions.page.pictures import Pictures


def point(name: str = "a", class_name: str = "cat", **columns: Any) -> dict[str, Any]:
    """One point of a gallery."""
    return {"id": name, "role": "point", "class_name": class_name, "thumbnail": b"", "x": 0.0, "y": 0.0,
            "planted": False} | columns  # fmt: skip


def drawn(*points: dict[str, Any], cards: dict[str, int] | None = None) -> list[Map]:
    """The maps of a gallery."""
    return maps(Pictures(make_verdict([flagged("a")]), Exhibits(points)), cards or {})


@given(st.lists(st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 2), min_size=2, max_size=20))
def test_marks_lie_inside_and_keep_their_order(places: list[tuple[float, float]]) -> None:
    """What lies farther right or farther up in the gallery does so on the map, whatever the scale."""
    (made,) = drawn(*(point(f"{n}", x=x, y=y) for n, (x, y) in enumerate(places)))
    assert all(0 <= mark.x <= 100 and 0 <= mark.y <= HEIGHT for mark in made.points)
    marks = [(mark.x, -mark.y) for mark in made.points]
    for axis in (0, 1):
        along = sorted(range(len(places)), key=lambda n: places[n][axis])
        drawn_along = [marks[n][axis] for n in along]
        assert drawn_along == sorted(drawn_along)


def test_points_without_a_place_are_not_drawn() -> None:
    """Neither nulls nor what is no number; a class without any other point has no map."""
    assert drawn(point(x=None), point(y=float("nan")), point(x=float("inf"))) == []


def test_planted_marks_lie_before_the_others() -> None:
    """They are what somebody looks for; each knows its card."""
    (made,) = drawn(point("bad", planted=True), point("good", planted=None), cards={"bad": 3})
    assert [(mark.id, mark.planted, mark.card) for mark in made.points] == [("good", False, None), ("bad", True, 3)]


def test_maps_are_cut_to_what_a_page_holds() -> None:
    """A gallery that somebody made larger does not make the page larger."""
    assert len(drawn(*(point(class_name=f"{n}") for n in range(MAX_MAPS + 2)))) == MAX_MAPS
    (made,) = drawn(*(point(f"{n}") for n in range(MAX_POINTS + 5)))
    assert len(made.points) == MAX_POINTS


def test_axes_say_what_they_are() -> None:
    """A direction of the flagged ones is spoken of only where it can have been learned."""

    def axes(planted: int, others: int) -> str:
        return drawn(*(point(f"{n}", planted=n < planted) for n in range(planted + others)))[0].axes

    assert axes(0, 50) == axes(7, 50) == axes(50, 7) == "Right and up: the two widest spreads of the class."
    assert axes(30, 60).startswith("Right: as the flagged ones differ, by what the other half of the class shows.")
    assert axes(30, 60).endswith("of the rest.")
    assert axes(10, 60).endswith("With few in either half: the two widest spreads.")
