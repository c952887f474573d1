"""JUnit: a test run that any reader of XML 1.0 takes, with a case for each check and each class under each detector."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from made_up import make_verdict, row

from sanitizer.actions.junit import MAX_CASES, build_junit
from sanitizer.outcome import ABOVE, Check, ClassCount, Outcome
from sanitizer.policy import Policy

CHECKS = (
    Check("data", True, "The data is what was scanned."),
    Check("unreadable", False, "1 of 5 items are unreadable."),
    Check("flagged", False, "2 of 5 samples are flagged.", ABOVE),
)
CLASSES = (ClassCount("cat", 4, 2, True, "two groups"), ClassCount("dog", 4, 0, False, ""))
DETECTORS = {"run": [{"name": "lof"}, {"name": "scan"}], "not_run": [{"name": "loss", "reason": "no network"}]}


def outcome(
    *, checks: tuple[Check, ...] = CHECKS, classes: tuple[ClassCount, ...] = CLASSES, **summary: Any
) -> Outcome:
    """What a gate could have come to."""
    return Outcome(Policy(), checks, make_verdict([row("a")], detectors=DETECTORS, **summary), classes=classes)


def read(made: Outcome) -> ElementTree.Element:
    """The run as any reader sees it."""
    return ElementTree.fromstring(build_junit(made))


def cases(suites: ElementTree.Element) -> dict[tuple[str, str], str]:
    """Group and name of each case -> what became of it, and why."""
    found = {}
    for case in suites.iter("testcase"):
        fault = "; ".join(f"{part.tag}: {part.get('message')}" for part in case)
        found[str(case.get("classname")), str(case.get("name"))] = fault
    return found


def test_what_is_above_fails_and_what_cannot_be_vouched_for_is_an_error() -> None:
    """One case for each check, for each class under each detector, and for who could not be asked."""
    assert cases(read(outcome(incomplete=["detector knn failed"]))) == {
        ("policy", "data"): "",
        ("policy", "unreadable"): "error: 1 of 5 items are unreadable.",
        ("policy", "flagged"): "failure: 2 of 5 samples are flagged.",
        ("scan", "incomplete 1"): "error: detector knn failed",
        ("scan", "loss"): "skipped: no network",
        ("cat", "lof"): "failure: 2 of 4 samples are flagged. two groups",
        ("cat", "scan"): "failure: 2 of 4 samples are flagged. two groups",
        ("dog", "lof"): "",
        ("dog", "scan"): "",
    }


def test_the_sums_are_right() -> None:
    """Those of each suite and those of all."""
    suites = read(outcome(incomplete=["a", "b"]))
    for one in (suites, *suites):
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"), ("tests", "testcase")):
            assert int(one.get(kind, "-1")) == len(list(one.iter(tag)))
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("10", "3", "3")


def test_without_a_verdict_there_are_the_checks() -> None:
    """A reader still sees why."""
    suites = read(Outcome(Policy(), (Check("verdict", False, "No manifest."),)))
    assert cases(suites) == {("policy", "verdict"): "error: No manifest."}
    assert suites.get("errors") == "1"


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85, 0x202E, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF], ids=hex)
def test_no_name_breaks_the_file(code: int) -> None:
    """What XML 1.0 cannot hold is shown as what it is, whoever is called that."""
    name = f"a{chr(code)}b"
    classes = (ClassCount(name, 4, 2, True, name),)
    content = build_junit(outcome(checks=(Check("data", False, name),), classes=classes, incomplete=[name]))
    assert not re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", content.decode())
    found = cases(ElementTree.fromstring(content))
    assert len(found) == 5
    assert not any(chr(code) in part for names in found for part in names)


def test_markup_in_names_is_text() -> None:
    """As it was given."""
    name = """<b>&amp;"'</b>]]>"""
    found = cases(read(outcome(classes=(ClassCount(name, 4, 2, True, name),))))
    assert found[name, "lof"] == f"failure: 2 of 4 samples are flagged. {name}"


def test_a_thousand_classes_do_not_make_a_thousand_megabytes() -> None:
    """Where not all fit, those that fail are listed, up to a limit."""
    calm = [ClassCount(f"calm{number}", 9, 0, False, "") for number in range(MAX_CASES)]
    loud = [ClassCount(f"loud{number}", 9, 9, True, "") for number in range(3)]
    found = cases(read(outcome(classes=(*loud, *calm))))
    assert sum(group.startswith("loud") for group, _ in found) == 6
    assert not any(group.startswith("calm") for group, _ in found)
