"""The pages of a matrix: they say the numbers, colour them, and cannot be made to do anything."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_up_results import control, older, result, retrained

from sanitizer.evaluation.charts import charts
from sanitizer.evaluation.matrix import RESULTS, Task
from sanitizer.evaluation.pages import MARKDOWN, PAGE, markdown, page, write_pages
from sanitizer.evaluation.tables import tables

HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "dl", "div", "dt", "dd", "section",
    "table", "thead", "tbody", "tr", "th", "td", "small", "nav", "a", "span", "i", "details", "summary", "ul", "li",
    "svg", "g", "path", "text",
}  # fmt: skip
#: Elements without an end.
ALONE = {"meta"}
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
        self.open: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep each element with its attributes."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One that ends at once, as in SVG."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Only what is open can be closed, the innermost first."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        self.words.append(data)


def everything(name: str = "badnets") -> list[dict[str, Any]]:
    """Results that fill every table and every plot, in which an attack, a detector and a set have this name."""
    made = [result(f"{name} at {rate:g}", seed) for rate in (0.01, 0.1) for seed in (0, 1)]
    for one in made:
        one["detectors"][name] = one["fused"]
        one["retraining"] = retrained([0.9, 0.5], [0.7, 0.3])
    return [*made, {"row": name, "name": name, "context": "c", "failed": name}]


def whole(results: list[dict[str, Any]], name: str = "toys") -> str:
    """The page with all that there is to see."""
    return page(tables(results), {"Source": name}, charts(results))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_are_text_whatever_they_say(name: str) -> None:
    """Attacks, classes, detectors and reasons may be called anything: no element and no attribute comes of it."""
    text = whole(everything(name), name)
    found, plain = Page(text), Page(whole(everything()))
    assert {tag for tag, _ in found.tags} <= HARMLESS
    assert [(tag, attributes.keys()) for tag, attributes in found.tags] == [
        (tag, attributes.keys()) for tag, attributes in plain.tags
    ]
    assert found.open == []
    assert all(letter.isprintable() or letter in "\n " for letter in text)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_are_text_in_markdown_too(name: str) -> None:
    """No field ends early, no line is added, and nothing is an element."""
    made = tables(everything(name))
    text = markdown(made, {"Source": name})
    lines = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert widths == {len(one.columns) + 1 for one in made}
    assert len(lines) == sum(2 + len(one.rows) for one in made)
    assert not re.search(r"(?<!\\)<", text)


def test_the_page_needs_nothing_and_says_everything() -> None:
    """A strict policy, no script, no address; every figure is in the text of its field, coloured or not."""
    results = [*everything(), result("flip at 0.2", recall=0.7), control()]
    made = tables(results)
    text = whole(results)
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
    addresses = [attributes["href"] for _, attributes in found.tags if "href" in attributes]
    assert len(addresses) == len(made) + 3
    assert {address.removeprefix("#") for address in addresses} <= {told.get("id") for _, told in found.tags}
    coloured = [attributes["class"] for tag, attributes in found.tags if tag == "td" and "class" in attributes]
    assert coloured.count("heat h5") >= 2
    assert set(coloured) <= {f"heat h{step}" for step in range(11)}


def test_older_results_are_shown_without_their_curves() -> None:
    """All tables and the other plots are there; why this one is not is said, for all of them or by name."""
    results = [older(one) if "fused" in one else one for one in everything()]
    found = Page(whole(results))
    words = " ".join(found.words)
    assert "Not kept by older results: no curve is known." in words
    assert "Recall by share of poison" in words
    assert not any(attributes.get("aria-label", "").startswith("ROC") for _, attributes in found.tags)
    mixed = Page(whole([*results, result("flip at 0.2")]))
    assert "Not kept by older results: badnets at 0.01, badnets at 0.1." in " ".join(mixed.words)
    assert [told["aria-label"] for _, told in mixed.tags if told.get("aria-label", "").startswith("ROC")] == [
        "ROC of flip at 0.2"
    ]


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
