"""What the planted pattern of a class looks like, and which samples stand beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_up import flagged, make_verdict, row

from sanitizer.actions.page.exhibits import Exhibits
from sanitizer.actions.page.patterns import EXAMPLES, MAX_PATTERNS, Pattern, patterns
from sanitizer.actions.page.pictures import Pictures
from sanitizer.sources.encode import encode

PICTURE = encode(np.zeros((8, 8, 3), np.uint8), "PNG")


def exhibit(name: str, role: str, **columns: Any) -> dict[str, Any]:
    """One row of a gallery with all its pictures."""
    return {"id": name, "role": role, "class_name": name, "thumbnail": PICTURE, "difference": PICTURE} | columns


def drawn(*entries: dict[str, Any]) -> list[Pattern]:
    """The patterns of a set with ten planted cats, of which one has no picture, a doubted cat and a planted dog."""
    rows = [flagged(f"cat{n}", score=20.0 - n) for n in range(10)]
    rows += [flagged("doubted", kind="label", score=99.0), flagged("rex", "dog"), row("calm")]
    shown = [exhibit(one["id"], "suspicious") for one in rows if one["id"] not in ("calm", "cat1")]
    verdict = make_verdict(rows)
    return patterns(verdict, Pictures(verdict, Exhibits((*shown, *entries))))


def test_the_worst_planted_samples_of_the_class_stand_beside_it() -> None:
    """With a picture, of this class, planted: not whatever is worst."""
    (made,) = drawn(exhibit("cat", "pattern"))
    assert [example.id for example in made.examples] == ["cat0", "cat2", "cat3", "cat4", "cat5"][:EXAMPLES]
    assert (made.class_name, made.size, made.reason) == ("cat", 12, "two groups")
    assert made.mean
    assert made.residual


def test_a_pattern_without_pictures_is_left_out() -> None:
    """There is nothing to look at; one of the two is enough."""
    assert drawn(exhibit("cat", "pattern", thumbnail=b"", difference=b"")) == []
    assert len(drawn(exhibit("cat", "pattern", difference=None))) == 1


def test_patterns_are_cut_to_what_a_page_holds() -> None:
    """A class that the summary does not know is no reason to fail."""
    assert len(drawn(*(exhibit(f"{n}", "pattern") for n in range(MAX_PATTERNS + 3)))) == MAX_PATTERNS
