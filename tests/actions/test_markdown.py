"""Markdown: one screen, added to what others wrote, with names that stay names."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from made_up import flagged, make_verdict, row

from sanitizer.actions.markdown import MAX_ROWS, append_markdown, build_markdown, escaped
from sanitizer.errors import UsageError
from sanitizer.outcome import ABOVE, Check, ClassCount, Outcome
from sanitizer.policy import Policy

CHECKS = (
    Check("data", True, "The data is what was scanned."),
    Check("flagged", False, "2 of 5 samples are flagged, the policy allows 0 %.", ABOVE),
)
CLASSES = (ClassCount("cat", 4, 2, True, "two groups"), ClassCount("dog", 4, 0, False, ""))


def outcome(names: list[str], classes: tuple[ClassCount, ...] = CLASSES) -> Outcome:
    """What a gate could have come to."""
    verdict = make_verdict([row("ok"), *(flagged(name, reasons=["It stands apart."]) for name in names)])
    return Outcome(Policy(), CHECKS, verdict, "ab" * 32, 2, 0, classes, verdict.counts)


def shown(text: str) -> str:
    """What a browser makes of the character references."""
    return html.unescape(text)


def test_it_says_the_answer_and_why() -> None:
    """Failed checks first, then classes, then samples."""
    said = shown(build_markdown(outcome(["cat/1.png"])))
    assert said.startswith("## Dataset gate: The data is above the policy.\n\n2 scanned, 0 unreadable")
    assert "| flagged | **failed** | 2 of 5 samples are flagged, the policy allows 0 %. |\n| data | passed |" in said
    assert "| cat | 4 | 2 | two groups |" in said
    assert "| dog |" not in said
    assert "| cat/1.png | cat | planted | It stands apart. |" in said


def test_without_a_verdict_it_says_why() -> None:
    """No tables of what nobody saw."""
    said = build_markdown(Outcome(Policy(), (Check("verdict", False, "No manifest."),)))
    assert said.startswith("## Dataset gate: Nothing can vouch for the data.\n")
    assert "No manifest" in said
    assert said.count("\n|---|") == 1


def test_it_stays_on_one_screen() -> None:
    """However much was found, and however long the names are."""
    classes = tuple(ClassCount(f"c{number}" + "x" * 10_000, 4, 2, True, "y" * 10_000) for number in range(500))
    said = build_markdown(outcome([f"{number}" + "z" * 10_000 for number in range(500)], classes))
    assert len(said.splitlines()) < 3 * MAX_ROWS + 20
    assert len(said) < 20_000
    assert said.count("and 490 more") == 2


HOSTILE = [
    "a|b", "`x`", "``` x", "<img src=x onerror=alert(1)>", "a\nb", "a\r\n\n# Owned", "[x](http://evil)", "![x](y)",
    "**bold**", "_x_", "~~x~~", "\\|", "https://evil.example", "www.evil.example", "me@evil.example", "@team", "#1",
    "&lt;", "\u202egnp.exe", "\x1b[2J", "\x00", "$x$", ":skull:",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_are_text_and_nothing_else(name: str) -> None:
    """No cell, no line, no markup, no link, no mention comes out of the data."""
    calm = build_markdown(outcome(["calm"], (ClassCount("calm", 4, 2, True, "calm"),)))
    said = build_markdown(outcome([name], (ClassCount(name, 4, 2, True, name),)))
    assert [line.count("|") for line in said.splitlines()] == [line.count("|") for line in calm.splitlines()]
    assert all(letter.isprintable() for letter in said.replace("\n", ""))
    made = escaped(name)
    assert not re.search(r"[^\w\s,/-]", re.sub(r"&#\d+;", "", made))
    assert "_" not in made
    if name.isprintable():
        assert shown(made) == name


def test_others_write_to_the_same_file(tmp_path: Path) -> None:
    """What is there stays, and what comes begins on a line of its own."""
    path = tmp_path / "summary.md"
    path.write_text("## Tests\nfine")
    append_markdown(outcome([]), path)
    append_markdown(outcome([]), path)
    said = path.read_text()
    assert said.startswith("## Tests\nfine\n## Dataset gate")
    assert said.count("\n## Dataset gate: ") == 2


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """As for every other output."""
    with pytest.raises(UsageError, match="cannot write"):
        append_markdown(outcome([]), tmp_path / "none" / "summary.md")
