"""Who names the flagged samples: counts, and who agrees with whom."""

from __future__ import annotations

from typing import Any

from made_up import flagged, make_verdict, row

from sanitizer.actions.page.agreement import MAX_COMPARED, Agreement, agreement, speakers


def run_by(*names: str) -> dict[str, Any]:
    """Detectors of these names, each saying its own name."""
    return {"run": [{"name": name, "settings": {}, "says": f"says {name}"} for name in names], "not_run": []}


def agreed(*reasons: str, names: str = "abc") -> Agreement | None:
    """The agreement on samples that were named by these detectors, a letter each."""
    rows = [flagged(f"{n}", reasons=[f"says {name}" for name in some]) for n, some in enumerate(reasons)]
    return agreement(make_verdict([*rows, row("calm", reasons=["says a"])], detectors=run_by(*names)))


def test_voices_are_counted_over_flagged_samples() -> None:
    """Most heard first; who named somebody alone is told; who named nobody is not listed."""
    made = agreed("a", "ab", "ab", "b", "b")
    assert made is not None
    assert made.flagged == 5
    assert [(voice.name, voice.count, voice.alone) for voice in made.voices] == [("b", 4, 2), ("a", 3, 1)]


def test_overlap_is_symmetric_and_full_on_the_diagonal() -> None:
    """Both named 2 of 5 that either did."""
    made = agreed("a", "ab", "ab", "b", "b")
    assert made is not None
    assert made.overlap == [("b", [(4, 10), (2, 4)]), ("a", [(2, 4), (3, 10)])]


def test_only_a_few_are_compared() -> None:
    """The others are listed."""
    names = "abcdefghijk"
    made = agreed(names, names=names)
    assert made is not None
    assert len(made.voices) == len(names)
    assert [len(fields) for _, fields in made.overlap] == [MAX_COMPARED] * MAX_COMPARED


def test_reasons_of_nobody_are_no_voices() -> None:
    """What was said by none of the detectors that were run counts for none of them."""
    assert agreed("z", "") is None
    assert agreement(make_verdict([row("a")])) is None


def test_detectors_that_say_the_same_are_named_together() -> None:
    """A reason does not tell them apart."""
    twins = [{"name": name, "says": "It is far."} for name in ("one", "other")]
    assert speakers({"detectors": {"run": twins}}) == {"It is far.": "one or other"}
