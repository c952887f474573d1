"""JUnit XML: a gate as a test run, with one case for each check and for each class and detector, never for an image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from sanitizer.actions.report import brief, shown
from sanitizer.outcome import ABOVE, Check, ClassCount, Outcome

#: Beyond this many cases only the classes that fail are listed.
MAX_CASES = 20_000
MAX_NAME = 200

# The only characters that XML 1.0 cannot hold and that ``shown`` does not make visible.
_NO_XML = re.compile("[\ufffe\uffff]")


def build_junit(outcome: Outcome) -> bytes:
    """The test run. What is above the policy is a failure, what nothing can vouch for is an error."""
    suites = ElementTree.Element("testsuites", name="sanitizer gate")
    suites.extend(suite for suite in _suites(outcome) if len(suite))
    for kind, total in _totals(list(suites)).items():
        suites.set(kind, str(total))
    written: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _suites(outcome: Outcome) -> Iterator[ElementTree.Element]:
    yield _suite("policy", [_case("policy", check.name, *_fault_of(check)) for check in outcome.checks])
    if outcome.verdict is None:
        return
    summary = outcome.verdict.summary
    broken = [
        _case("scan", f"incomplete {number}", "error", why) for number, why in enumerate(outcome.verdict.incomplete, 1)
    ]
    not_run = [_case("scan", one["name"], "skipped", one["reason"]) for one in summary["detectors"]["not_run"]]
    yield _suite("scan", broken + not_run)
    detectors = [one["name"] for one in summary["detectors"]["run"]]
    classes = [one for one in outcome.classes if one.above or len(outcome.classes) * len(detectors) <= MAX_CASES]
    yield _suite("classes", [_of_class(one, name) for one in classes for name in detectors][:MAX_CASES])


def _suite(name: str, cases: Sequence[ElementTree.Element]) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=name)
    suite.extend(cases)
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    return suite


def _case(group: str, name: str, fault: str = "", said: str = "") -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=_text(brief(group, MAX_NAME)), name=_text(brief(name, MAX_NAME)))
    if fault:
        ElementTree.SubElement(case, fault, message=_text(said))
    return case


def _fault_of(check: Check) -> tuple[str, str]:
    if check.passed:
        return "", ""
    return "failure" if check.code == ABOVE else "error", check.said


def _of_class(one: ClassCount, detector: str) -> ElementTree.Element:
    """What was flagged in a class is flagged by all that ran together, so the class fails under each of them."""
    said = f"{one.flagged:,} of {one.size:,} samples are flagged. {one.reason}"
    return _case(one.name, detector, *(("failure", said) if one.above else ("", "")))


def _totals(suites: Sequence[ElementTree.Element]) -> dict[str, int]:
    return {
        kind: sum(int(suite.get(kind, "0")) for suite in suites) for kind in ("tests", "failures", "errors", "skipped")
    }


def _text(value: str) -> str:
    """Text that XML 1.0 can hold and no reader is fooled by."""
    return _NO_XML.sub("\ufffd", shown(value))
