"""The fragment a notebook shows: whole, small, and unmoved by whatever the data is called."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.notebook import MAX_CLASSES, MAX_SAMPLES
from sanitizer.record import Verdict
from tests.actions.made_up import flagged, make_verdict, row, unread

LIMIT = 40_000  # bytes
ALLOWED = {"div", "p", "strong", "br", "ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td"}
HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"' style='position:fixed",
    "&lt;b&gt;&#x3c;",
    "a\x00b\x1b[31m\r\nc\u2028d",
    "photo\u202egnp.exe",
    "x" * 10_000,
    "\U000e0041" * 10_000,
    '"' * 10_000,
    "猫" * 10_000,
    "",
)


class Reader(HTMLParser):
    """Reads a fragment, and fails where a tag is closed that is not open, or something is there that can act."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(fragment)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only a style may stand in a tag, and it names nothing outside."""
        self.tags.append(tag)
        assert all(name == "style" and value and "url" not in value for name, value in attrs), attrs
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """The innermost one is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """What is to be read."""
        self.text += data
        if "td" in self.open:
            self.rows[-1][-1] += data

    def handle_comment(self, data: str) -> None:
        """There is none."""
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def read(verdict: Verdict) -> Reader:
    """The fragment of a verdict, checked for what holds of every one."""
    fragment = verdict._repr_html_()
    assert len(fragment.encode()) < LIMIT
    assert "background" not in fragment
    reader = Reader(fragment)
    assert set(reader.tags) <= ALLOWED
    return reader


def named(text: str) -> Verdict:
    """A verdict in which everything that has a name has this one."""
    rows = [
        flagged(text + "0", text, reasons=[text, text], kind="planted"),
        flagged(text + "1", text, reasons=[text], kind="label"),
        row(text + "2", text),
        unread(text + "3", reasons=[text]),
    ]
    made = make_verdict(rows)
    answer = made.summary["answer"] | {"sentence": f"1 of 3 samples looks planted, in class {text!r}."}
    classes = [entry | {"reason": text} for entry in made.summary["classes"]]
    return make_verdict(rows, answer=answer, classes=classes, notes=[text] * 20, incomplete=[text])


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_acts_or_hides(text: str) -> None:
    """Whatever is called so, the fragment is whole and shows the characters as characters."""
    verdict = named(text)
    reader = read(verdict)
    assert not re.search("[\x00-\x1f\u200b-\u200f\u2028-\u202e\U000e0000-\U000e007f]", reader.text)
    assert "\n" not in repr(verdict)
    if 0 < len(text) < 100 and text.isprintable():
        assert [text + "0", text, "planted", "9", text] in reader.rows


@given(st.text(min_size=1, max_size=30))
def test_a_name_adds_no_tag_and_takes_none(text: str) -> None:
    """The tags are those of any other name, in the same order."""
    assert read(named(text)).tags == read(named("name")).tags


def test_a_long_name_keeps_its_start_and_its_end() -> None:
    """In no more than 120 characters."""
    (*_, cells) = read(make_verdict([flagged("start" + "x" * 10_000 + "end.png")])).rows
    assert cells[0].startswith("start")
    assert cells[0].endswith("end.png")
    assert len(cells[0]) == 120


@pytest.mark.parametrize("letter", ["x", "&", "\x00", "猫", "\U0001f408"])
def test_a_large_verdict_is_a_small_fragment(letter: str) -> None:
    """5,000 flagged rows in 500 classes, whatever they are called; what is not shown is counted."""
    classes = [f"class {number} {letter * 400}" for number in range(500)]
    rows = [
        flagged(f"{number} {letter * 400}", classes[number % 500], reasons=[letter * 1000], score=float(number))
        for number in range(5000)
    ]
    summary = make_verdict(rows).summary | {"notes": [letter * 2000] * 50, "incomplete": [letter * 2000] * 50}
    reader = read(Verdict(make_verdict(rows).table, summary))
    shown = [cells for cells in reader.rows if cells]
    samples = [cells for cells in shown if cells[2] == "planted"]
    assert [cells[0].split()[0] for cells in samples] == [str(4999 - place) for place in range(len(samples))]
    hidden = [int(count.replace(",", "")) for count in re.findall(r"… and ([\d,]+) more", reader.text)]
    assert hidden[1:] == [500 - (len(shown) - len(samples)), 5000 - len(samples)]
    if letter == "x":
        assert (len(shown) - len(samples), len(samples)) == (MAX_CLASSES, MAX_SAMPLES)


def test_classes_come_most_suspicious_first() -> None:
    """Those with a hidden group, then those with the larger share of flagged samples."""
    made = make_verdict([row("a"), flagged("b")])
    (one,) = made.summary["classes"]
    classes = [
        one | {"name": "calm", "hidden": False, "suspicious": 0, "size": 10, "score": 0.5},
        one | {"name": "doubted", "hidden": False, "suspicious": 5, "size": 10, "score": 0.25},
        one | {"name": "poisoned", "hidden": True, "suspicious": 4, "size": 1234, "score": None},
    ]
    reader = read(make_verdict([row("a"), flagged("b")], classes=classes))
    assert [cells for cells in reader.rows if cells][:3] == [
        ["poisoned", "1,234", "4", "–", "two groups"],
        ["doubted", "10", "5", "0.25", "two groups"],
        ["calm", "10", "0", "0.5", "two groups"],
    ]


def test_the_answer_the_counts_and_what_limits_it_are_there() -> None:
    """In words, so that no colour is needed to read it."""
    text = read(make_verdict([flagged("a"), unread("b")], notes=["few copies"], incomplete=["it broke"])).text
    for part in ("1 planted samples found.", "1 scanned", "1 unreadable", "exit code 2", "Incomplete: it broke"):
        assert part in text
    assert "few copies" in text


def test_a_verdict_without_labels_or_findings_has_no_tables() -> None:
    """Nothing to show is not an empty table."""
    assert "table" not in read(make_verdict([row("a", None)])).tags


def luminance(colour: str) -> float:
    """How bright a colour is, as the rules for readable pages have it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_each_exit_code_has_its_colour_and_each_can_be_read_in_light_and_dark() -> None:
    """Contrast of at least 3, which large bold text needs, on white and on a dark notebook."""
    rows: list[dict[str, Any]] = [row("a")]
    verdicts = [make_verdict(rows), make_verdict([*rows, flagged("b")]), make_verdict(rows, incomplete=["it broke"])]
    assert [verdict.exit_code for verdict in verdicts] == [0, 1, 2]
    colours = [set(re.findall("#[0-9a-f]{6}", verdict._repr_html_())) for verdict in verdicts]
    assert all(len(found) == 1 for found in colours)
    assert len(set.union(*colours)) == 3
    for (colour,) in colours:
        bright = luminance(colour) + 0.05
        assert 1.05 / bright >= 3
        assert bright / (luminance("#1e1e1e") + 0.05) >= 3


def test_a_summary_of_another_version_is_shown_too() -> None:
    """What a verdict must have is enough."""
    made = make_verdict([flagged("a")])
    few = {name: made.summary[name] for name in ("answer", "counts", "incomplete", "parameters")}
    assert "cat" in read(Verdict(made.table, few | {"classes": [{"name": "cat"}]})).text
