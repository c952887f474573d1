"""How flagged samples were learned: medians and quartiles of what the page shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_up import flagged, make_verdict, row

from sanitizer.actions.page.dynamics import Dynamics, dynamics
from sanitizer.actions.page.exhibits import Exhibits

ROWS = [*(flagged(f"bad{n}") for n in range(5)), flagged("odd", kind="label"), *(row(f"good{n}") for n in range(3))]


def drawn(losses: dict[str, Any], role: str = "suspicious") -> Dynamics | None:
    """The courses of a gallery with these losses."""
    return dynamics(
        make_verdict(ROWS), Exhibits(tuple({"id": name, "role": role, "losses": losses[name]} for name in losses))
    )


def test_each_kind_has_its_median_and_quartiles() -> None:
    """The scale ends at the highest quartile; what was not flagged comes first, so that it lies behind."""
    losses = {f"bad{n}": [float(n), 0.0] for n in range(5)} | {"good0": [1.0, 1.0], "odd": [0.5, 0.25]}
    made = drawn(losses)
    assert made is not None
    assert [(course.kind, course.count, course.first, course.last) for course in made.courses] == [
        ("", 1, 1.0, 1.0),
        ("label", 1, 0.5, 0.25),
        ("planted", 5, 2.0, 0.0),
    ]
    assert made.highest == 3.0
    assert made.courses[2].line == f"0.0,{100 - 100 * np.sqrt(2 / 3):.1f} 100.0,100.0"
    assert len(made.courses[2].band.split()) == 4


def test_a_sample_counts_once_whatever_it_is_shown_as() -> None:
    """A flagged sample is also a neighbour and a point: its losses are its own."""
    rows = [{"id": "bad0", "role": role, "losses": [1.0, 0.5]} for role in ("suspicious", "neighbour", "point")]
    made = dynamics(make_verdict(ROWS), Exhibits(tuple(rows)))
    assert made is not None
    assert [course.count for course in made.courses] == [1]


@pytest.mark.parametrize("losses", [{}, {"bad0": None}, {"bad0": [1.0]}, {"good0": [1.0, 0.5]}])
def test_without_losses_of_flagged_samples_there_is_nothing_to_draw(losses: dict[str, Any]) -> None:
    """No network was trained, for one epoch only, or nothing was flagged."""
    assert drawn(losses) is None


def test_losses_with_gaps_are_left_out() -> None:
    """Where an epoch was no number, nobody knows which."""
    made = drawn({"bad0": [1.0, 0.5, 0.1], "bad1": [1.0, 0.5, 0.1], "bad2": [9.0, 9.0]})
    assert made is not None
    assert (made.epochs, made.courses[0].count, made.highest) == (3, 2, 1.0)


def test_losses_of_nothing_can_be_drawn() -> None:
    """All of them zero, or a hair below: the line lies on the axis."""
    made = drawn({"bad0": [0.0, -1e-9]})
    assert made is not None
    assert made.courses[0].line == "0.0,100.0 100.0,100.0"
