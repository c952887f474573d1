"""The pages of a matrix: they say the numbers, colour them, and cannot be made to do anything."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_up_results import control, result

from sanitizer.evaluation.matrix import RESULTS, Task
from sanitizer.evaluation.pages import MARKDOWN, PAGE, markdown, page, write_pages
from sanitizer.evaluation.tables import tables

HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "dl", "div", "dt", "dd", "section",
    "table", "thead", "tbody", "tr", "th", "td", "small",
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</style><script>1</script>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u202egnp.exe",
    "two\nlines | and a bar",
    "[a](javascript:alert(1)) `code` <b>",
]


class Page(HTMLParser):
    """The page as a browser takes it apart."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep each element with its attributes."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        self.words.append(data)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_are_text_whatever_they_say(name: str) -> None:
    """Attacks, classes, detectors and reasons may be called anything: no element and no attribute comes of it."""
    hostile = result(f"{name} at 0.01")
    hostile["detectors"][name] = hostile["fused"]
    failed = {"row": name, "name": name, "context": "c", "failed": name}
    made = tables([hostile, failed])
    found, plain = Page(page(made, {"Source": name})), Page(page(tables([result(), failed | {"failed": ""}]), {}))
    assert {tag for tag, _ in found.tags} <= HARMLESS
    assert {key for _, attributes in found.tags for key in attributes} == {
        key for _, attributes in plain.tags for key in attributes
    }
    assert all(letter.isprintable() or letter in "\n " for letter in page(made, {"Source": name}))
    lines = [line for line in markdown(made, {"Source": name}).splitlines() if line.startswith("|")]
    table = made[1]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert widths == {len(one.columns) + 1 for one in made}
    assert len(lines) == sum(2 + len(one.rows) for one in made)
    assert table.title == "AUROC"
    assert not re.search(r"(?<!\\)<", markdown(made, {"Source": name}))


def test_the_page_needs_nothing_and_says_everything() -> None:
    """A strict policy, no script, no address; every figure is in the text of its field, coloured or not."""
    made = tables([result(), result(seed=1, recall=0.7), control()])
    text = page(made, {"Source": "toys"})
    found = Page(text)
    policy = [told["content"] for _, told in found.tags if told.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    words = " ".join(found.words)
    for table in made:
        for name, entries in table.rows:
            assert name in words
            assert all(entry.text in words and entry.spread in words for entry in entries)
    coloured = [attributes["class"] for tag, attributes in found.tags if tag == "td" and "class" in attributes]
    assert coloured.count("heat h5") >= 2
    assert set(coloured) <= {f"heat h{step}" for step in range(11)}


def written(out: Path, results: list[dict[str, Any]]) -> Task:
    """Results in a folder, and a task of the first one's context."""
    cells = {f"{number}": one for number, one in enumerate(results)}
    (out / RESULTS).write_text(json.dumps({"cells": cells}))
    facts = SimpleNamespace(context=results[0]["context"], given="images", source=SimpleNamespace(uri="toys"))
    return cast(Task, facts)


def test_results_of_other_contexts_are_counted_and_not_mixed_in(tmp_path: Path) -> None:
    """They were measured with other settings, data or code: a mean with them would mean nothing."""
    task = written(tmp_path, [result(), result(seed=1, context="other")])
    told = write_pages(tmp_path, task)
    assert [entries[0].text for _, entries in told[0].rows] == ["1"]
    for name in (MARKDOWN, PAGE):
        assert "1 cells of other settings" in (tmp_path / name).read_text(encoding="utf-8")


def test_equal_results_give_equal_pages(tmp_path: Path) -> None:
    """No date, no chance."""
    task = written(tmp_path, [result(), control()])
    write_pages(tmp_path, task)
    first = [(tmp_path / name).read_bytes() for name in (MARKDOWN, PAGE)]
    write_pages(tmp_path, task)
    assert [(tmp_path / name).read_bytes() for name in (MARKDOWN, PAGE)] == first
