"""SARIF: valid in shape, bounded in size, and nothing in it that a name of the data could command."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from made_up import flagged, make_verdict, row, unread
from sarif_rules import RELATIVE, problems

from sanitizer.actions.sarif import MAX_CLASSES, MAX_FINDINGS, MAX_URI, RULES, address_of, build_sarif
from sanitizer.outcome import ABOVE, Check, ClassCount, Outcome
from sanitizer.policy import Policy
from sanitizer.sources.base import digest_of

PASSED = Check("flagged", True, "Nothing is flagged.")
ABOVE_IT = Check("flagged", False, "2 of 5 samples are flagged.", ABOVE)
ROWS = [
    row("cat/ok.png"),
    flagged("cat/a b.png", score=9.0, reasons=["It stands apart.", "More."]),
    flagged("dog/1.png", "dog", score=20.0),
    flagged("dog/2.png", "dog", kind="label", score=99.0),
    unread("cat/cut.png", reasons=["truncated"]),
    unread("out.png", "refused", reasons=["a link out of the root"]),
    unread("notes.txt", "ignored"),
]
CLASSES = (ClassCount("cat", 2, 1, True, "two groups"), ClassCount("dog", 2, 0, False, ""))


def outcome(rows: list[dict[str, Any]], *checks: Check, classes: tuple[ClassCount, ...] = CLASSES) -> Outcome:
    """What a gate could have come to."""
    verdict = make_verdict(rows)
    return Outcome(Policy(), checks or (PASSED,), verdict, "ab" * 32, 0, 0, classes, verdict.counts)


def run_of(made: Outcome) -> dict[str, Any]:
    """The only run of the log."""
    log = json.loads(build_sarif(made))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    return dict(run)


NOTHING = Outcome(Policy(), (Check("verdict", False, "There is none."),))


@pytest.mark.parametrize("made", [outcome(ROWS), outcome(ROWS, ABOVE_IT), outcome([]), NOTHING], ids=range(4))
@pytest.mark.parametrize("base", ["", "data/my train", "../elsewhere"])
def test_the_log_keeps_to_the_standard(made: Outcome, base: str) -> None:
    """With findings, without, and where nothing can vouch; wherever the source lies."""
    assert list(problems(json.loads(build_sarif(made, base)))) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: run.pop("tool"), "lacks tool"),
        (lambda run: run["tool"]["driver"].pop("name"), "lacks name"),
        (lambda run: run.update(extra=1), "may have no extra"),
        (lambda run: run.update(results={}), "no list"),
        (lambda run: run["results"][0].pop("message"), "lacks message"),
        (lambda run: run["results"][0].update(level="fatal"), "no level"),
        (lambda run: run["results"][0].update(ruleId="odd"), "no rule"),
        (lambda run: run["results"][0].update(ruleIndex=3), "no rule"),
        (lambda run: run["results"][0]["message"].update(text=None), "no text"),
        (lambda run: run["invocations"][0].update(exitCode=True), "no number"),
        *(
            (lambda run, uri=uri: _place(run)["artifactLocation"].update(uri=uri), "no relative")
            for uri in ("", "//host/x", "http://x", "a b", "a#1", "100%", "a:b", "ü", "a\\b")
        ),
        (lambda run: _place(run)["region"].update(startLine=0), "no from one"),
    ],
)
def test_the_rules_notice(spoil: Callable[[dict[str, Any]], object], said: str) -> None:
    """Each of these is no SARIF."""
    log = json.loads(build_sarif(outcome(ROWS, ABOVE_IT)))
    spoil(log["runs"][0])
    assert any(said in line for line in problems(log))


def _place(run: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = run["results"][0]["locations"][0]["physicalLocation"]
    return place


def test_every_finding_has_its_rule_and_level() -> None:
    """The worst first, each kind by its own measure; what is ignored or fine is no finding."""
    results = run_of(outcome(ROWS))["results"]
    found = [(one["ruleId"], one["level"], one["message"]["text"].partition(":")[0]) for one in results]
    assert found == [
        ("planted", "error", "dog/1.png (class dog)"),
        ("planted", "error", "cat/a b.png (class cat)"),
        ("refused", "error", "out.png"),
        ("label", "warning", "dog/2.png (class dog)"),
        ("unreadable", "warning", "cat/cut.png"),
        ("class-summary", "warning", "class cat"),
    ]
    assert results[1]["message"]["text"] == "cat/a b.png (class cat): It stands apart."
    assert results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "cat/a%20b.png"
    assert results[1]["partialFingerprints"] == {"contentDigest/v1": digest_of(b"cat/a b.png")}
    assert all(one["partialFingerprints"]["contentDigest/v1"] for one in results)


def test_results_refer_to_the_rules_of_the_tool() -> None:
    """By name and by index."""
    run = run_of(outcome(ROWS, ABOVE_IT))
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert len(result["locations"]) == 1


def test_a_class_summary_says_how_much_of_it() -> None:
    """Of classes that there is something to say about."""
    (result,) = [one for one in run_of(outcome([row("a")]))["results"] if one["ruleId"] == "class-summary"]
    assert result["message"]["text"] == "class cat: 1 of 2 samples are flagged. two groups"
    assert result["properties"] == {"class": "cat", "size": 2, "flagged": 1, "above": True}


def test_a_gate_that_cannot_vouch_is_no_run_without_findings() -> None:
    """Code scanning would call everything fixed: there is a result for each failed check, and no success."""
    run = run_of(Outcome(Policy(), (Check("verdict", False, "verdicts.parquet is [gone](http://x)."),)))
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["invocations"][0]["exitCode"] == 2
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("gate", "error")
    assert result["message"]["text"] == r"verdict: verdicts.parquet is \[gone\](http://x)."
    assert run_of(outcome(ROWS, ABOVE_IT))["invocations"][0] == {
        "executionSuccessful": True,
        "exitCode": 1,
        "toolExecutionNotifications": [{"level": "error", "message": {"text": ABOVE_IT.said}}],
    }


@pytest.mark.parametrize(
    "name",
    [
        "http://evil.example/x.png", "//evil.example/x.png", "/etc/passwd", "../../x.png", "a/../../x.png", "C:\\x.png",
        "javascript:alert(1)", "a?b#c.png", "100%.png", "ü 日本.png", "\x1b[2J.png", "a\nb.png", "\ud800.png", "", ".",
        "#17", "x" * 5000, "日" * 5000,
    ],
    ids=lambda name: ascii(name)[:20],
)  # fmt: skip
def test_every_address_is_relative_and_stays_in_the_source(name: str) -> None:
    """Percent-encoded, bounded, no scheme, no host, no way up."""
    uri, _ = address_of(name)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert uri
    assert uri.isascii()
    assert uri.isprintable()
    assert not uri.startswith("/")
    assert RELATIVE.fullmatch(uri)
    assert ".." not in unquote(uri).split("/")
    assert len(uri) <= MAX_URI


@pytest.mark.parametrize("name", ["cat/a b#x.png", "ü/日本%20.png", "a/b/c.png"])
def test_an_address_can_be_read_back(name: str) -> None:
    """It names that very file."""
    assert unquote(address_of(name)[0]) == name


@pytest.mark.parametrize(
    ("name", "uri", "inside"),
    [
        ("train.parquet#17", "train.parquet", {"row": 17}),
        ("a#1/b.parquet#3", "a%231/b.parquet", {"row": 3}),
        ("#3", ".", {"row": 3}),
        ("s/0.tar#cat/1#2.png", "s/0.tar", {"member": "cat/1#2.png"}),
        ("0.TAR.gz#1.png", "0.TAR.gz", {"member": "1.png"}),
        ("x#y.png", "x%23y.png", {}),
    ],
)
def test_rows_of_tables_and_members_of_shards_lie_in_their_file(name: str, uri: str, inside: dict[str, Any]) -> None:
    """The address is the file's; where in it stands beside it."""
    assert address_of(name) == (uri, inside)


def test_no_text_is_a_link_or_a_command() -> None:
    """Brackets make links in SARIF's own messages, direction marks fool readers."""
    name = "[click](http://evil)\\\u202egnp.exe\x1b[2J"
    (result,) = run_of(outcome([flagged(name, "[x](1)")], classes=()))["results"]
    text = result["message"]["text"]
    assert text.startswith(r"\[click\](http://evil)\\\\u202egnp.exe\\x1b\[2J (class \[x\](1)): ")
    assert text.isprintable()


def test_the_log_stays_below_the_limits_of_code_scanning() -> None:
    """The worst names that can be, of thousands of findings and classes: many are told of, in less than 10 MB."""
    rows = [
        flagged(f"{number}" + "\U000e0001\u65e5\U0001f600" * 100, "\U0001f600" * 100, reasons=['"\\\U000e0001' * 100])
        for number in range(5_100)
    ]
    classes = tuple(ClassCount(f"{n}" + "\U0001f600" * 500, 9, 9, True, "\\[" * 5000) for n in range(2_100))
    content = build_sarif(outcome(rows, ABOVE_IT, classes=classes))
    assert len(content) < 10 * 10**6
    assert len(gzip.compress(content, 1)) < 10 * 10**6
    assert list(problems(json.loads(content))) == []
    results = json.loads(content)["runs"][0]["results"]
    assert len(results) <= 25_000
    assert 1_000 < sum(one["ruleId"] == "planted" for one in results) < MAX_FINDINGS
    assert 500 < sum(one["ruleId"] == "class-summary" for one in results) <= MAX_CLASSES


def test_only_the_worst_fit() -> None:
    """Whoever scores highest; the rest is in the table."""
    rows = [flagged(f"{number}", score=float(number)) for number in range(MAX_FINDINGS + 10)]
    results = run_of(outcome([*rows, unread("x")], classes=()))["results"]
    assert len(results) == MAX_FINDINGS
    assert results[0]["message"]["text"].startswith(f"{MAX_FINDINGS + 9} ")
    assert results[-1]["message"]["text"].startswith("10 ")


def test_addresses_begin_where_the_consumer_looks() -> None:
    """Below the folder of the source, as it is seen from the root of a repository; without one, below the source."""
    log = json.loads(build_sarif(outcome(ROWS, ABOVE_IT), base="data/my train"))
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in log["runs"][0]["results"]]
    assert "data/my%20train/cat/a%20b.png" in places
    assert all(place == "data/my%20train" or place.startswith("data/my%20train/") for place in places)
    assert "data/my%20train" in places  # the gate's own result is about the whole source
