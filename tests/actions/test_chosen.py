"""What a gallery shows of a set that is too large to be shown."""

from __future__ import annotations

from collections import Counter

from made_up import flagged, make_census, make_verdict, row

from sanitizer.actions import chosen
from sanitizer.actions.chosen import (
    NEIGHBOUR,
    PATTERN,
    POINT,
    SUSPICIOUS,
    Chosen,
    Lookalikes,
    Positions,
    choose,
    planted_classes,
)
from sanitizer.record import Verdict


def all_of(
    verdict: Verdict,
    *roles: str,
    positions: Positions | None = None,
    alike: Lookalikes | None = None,
    limit: int = 200,
) -> list[Chosen]:
    """What is chosen for these roles."""
    picked = choose(verdict, make_census(verdict, 4), positions or {}, alike or {}, limit, 96)
    return [one for one in picked if one.role in roles]


def everywhere(verdict: Verdict, *class_names: str) -> Positions:
    """A map of each class with all of its samples on it."""
    rows = verdict.table.select(["id", "label_name"]).to_pylist()
    return {name: {each["id"]: (0.0, 0.0) for each in rows if each["label_name"] == name} for name in class_names}


def test_classes_are_ranked_by_what_was_planted_in_them() -> None:
    """Labels in doubt and samples without a label make no class of planted ones; equals go by name."""
    rows = [
        *(flagged(f"a{n}", "apple") for n in range(2)),
        *(flagged(f"p{n}", "pear") for n in range(3)),
        *(flagged(f"f{n}", "fig") for n in range(2)),
        *(flagged(f"d{n}", "date", kind="label") for n in range(9)),
        flagged("lost", None),
        row("good", "kiwi"),
    ]
    assert planted_classes(make_verdict(rows)) == ["pear", "apple", "fig"]


def test_twelve_patterns_of_the_worst_flagged_and_of_an_even_choice_of_others() -> None:
    """Others are never flagged as planted themselves; there are at most 200 and 400."""
    rows = [flagged(f"a{n:03}", "apple", score=1000.0 - n) for n in range(220)]
    rows += [row(f"o{n:03}", "apple") for n in range(430)]
    rows += [flagged(f"{n}", f"class{n:02}") for n in range(15)]
    verdict = make_verdict(rows)
    patterns = all_of(verdict, PATTERN)
    assert [one.id for one in patterns] == ["apple", *(f"class{n:02}" for n in range(11))]
    assert list(patterns[0].of) == list(range(200))
    assert len(set(patterns[0].against)) == 400
    assert set(patterns[0].against) <= set(range(220, 650))
    assert all(one.row is None and one.planted for one in patterns)
    assert not patterns[1].against


def test_adding_samples_moves_few_of_those_that_are_compared_with() -> None:
    """Content decides who is chosen: no pattern turns into another because a few files came in."""
    rows = [flagged("bad"), *(row(f"o{n}") for n in range(500))]
    more = [flagged("bad"), *(row(f"n{n}") for n in range(25)), *rows[1:]]
    before, after = (
        {rows[place]["id"] for place in all_of(make_verdict(rows), PATTERN)[0].against} for rows in (rows, more)
    )
    assert len(before - after) < 45


def test_points_are_of_both_kinds_and_bounded() -> None:
    """At most 150 flagged and 350 others for a class, from those that have a place."""
    rows = [flagged(f"b{n}", score=500.0 - n) for n in range(170)] + [row(f"g{n}") for n in range(400)]
    verdict = make_verdict(rows)
    points = all_of(verdict, POINT, positions=everywhere(verdict, "cat"))
    assert Counter(one.planted for one in points) == {True: 150, False: 350}
    assert {one.id for one in points if one.planted} == {f"b{n}" for n in range(150)}
    assert all_of(verdict, POINT) == []
    few = all_of(verdict, POINT, positions={"cat": {"b169": (1.0, 1.0), "g7": (0.0, 0.0), "gone": (0.0, 0.0)}})
    assert [one.id for one in few] == ["b169", "g7"]


def test_pictures_of_points_go_round_the_classes_the_flagged_first() -> None:
    """No class with very much planted in it takes all of them."""
    rows = [flagged(f"{name}{n}", name, score=9.0 - n / 100) for name in "pqrstu" for n in range(120)]
    rows += [row(f"{name}-{n}", name) for name in "pqrstu" for n in range(10)]
    verdict = make_verdict(rows)
    points = all_of(verdict, POINT, positions=everywhere(verdict, *"pqrstu"))
    assert len(points) == len(rows)
    pictured = [one for one in points if one.of]
    assert len(pictured) == chosen.POINT_PICTURES == 600
    assert all(one.planted for one in pictured)
    assert set(Counter(one.class_name for one in pictured).values()) == {100}


def test_trusted_samples_are_no_points_and_no_others() -> None:
    """They are near to somebody, and that is all that is said of them."""
    verdict = make_verdict([flagged("a", nearest=["trusted:t"]), row("b")])
    positions = {"cat": {"a": (1.0, 0.0), "b": (0.0, 0.0), "trusted:t": (0.0, 0.0)}}
    assert [one.id for one in all_of(verdict, POINT, positions=positions)] == ["a", "b"]
    (pattern,) = all_of(verdict, PATTERN)
    assert len(pattern.against) == 1
    assert [one.id for one in all_of(verdict, NEIGHBOUR)] == ["trusted:t"]


def test_a_sample_is_compared_with_those_that_look_like_it() -> None:
    """Its nearest neighbours, which may be planted too, stand in where nobody is known to."""
    rows = [flagged("a", nearest=["b"]), flagged("b", nearest=["a"]), row("good")]
    first, second = all_of(make_verdict(rows), SUSPICIOUS, alike={"a": ["good", "gone"]})
    assert (first.against, second.against) == ([2], [0])


def test_a_sample_is_never_compared_with_itself() -> None:
    """A label in doubt is one of the others of its class: 32 of these stand in for neighbours, without it."""
    rows = [flagged("doubted", kind="label"), *(row(f"o{n}") for n in range(40))]
    (suspect,) = all_of(make_verdict(rows), SUSPICIOUS)
    assert len(set(suspect.against)) == 32
    assert suspect.row not in suspect.against
    assert not suspect.planted
    (alone,) = all_of(make_verdict(rows[:1]), SUSPICIOUS)
    assert not alone.against


def test_a_set_without_labels_has_suspects_and_no_classes() -> None:
    """They are compared with the rest of the set."""
    verdict = make_verdict([flagged("a", None), row("b", None), row("c", None)])
    assert all_of(verdict, PATTERN, POINT) == []
    (suspect,) = all_of(verdict, SUSPICIOUS)
    assert sorted(suspect.against) == [1, 2]
