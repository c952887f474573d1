"""The page in a browser: it is quiet, keeps names text, fits, and its controls do what they say."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_toys import (
    DETECTORS,
    ask,
    choose,
    contrast,
    exhibit,
    look,
    one,
    slide,
    square,
    texts,
    uri_of,
    varied_gallery,
    varied_verdict,
    visit,
    write_page,
)
from made_up import flagged, make_verdict

from sanitizer.actions.page.words import brief, shown
from sanitizer.actions.report import write_report
from sanitizer.record import Verdict

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
WIDTHS = (380, 768, 1280)

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "\"><img src=x onerror=document.title='owned'>'",
    "</title></style></script><h1 id=owned>owned</h1>",
    "<svg/onload=document.title='owned'>",
    "</textarea></select></option><input autofocus onfocus=document.title='owned'>",
    "a\u202egnp.exe",
    "two\nlines\u2028three",
    "{{ 7 * 7 }}&lt;b&gt;",
    "n" * 251 + ".png",
    "javascript:alert(1)",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all tests, which never asks the network for another."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    missing = [program for program in (BROWSER, DRIVER) if not shutil.which(program)]
    if missing:
        pytest.skip(f"there is no {missing[0]}")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """The browser with a wide, light window, which complains of nothing and asks nobody for anything."""
    look(chromium)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert asked


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, Path]:
    """A verdict with everything that a page can show, and its page."""
    verdict = varied_verdict()
    return verdict, write_page(tmp_path_factory.mktemp("pages") / "varied", verdict, varied_gallery(verdict))


def test_a_page_with_everything_is_quiet(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """No error, no refusal, no request; every section is there, and every link leads to one."""
    visit(browser, varied[1])
    titles = texts(browser, "h2")
    assert titles[:2] == ["What the planted pattern looks like", "Classes"]
    for title in ("Suspicious samples", "Scores", "Where they lie", "Which detectors agree", "How they were learned"):
        assert title in titles
    assert ask(browser, "[...document.links].every((link) => document.querySelector(link.hash))")
    assert ask(browser, "[...document.images].every((image) => image.naturalWidth === 8)")


def test_nothing_that_gets_in_runs(chromium: Any, varied: tuple[Verdict, Path]) -> None:
    """Were escaping to fail, the policy would still refuse scripts, styles, handlers and requests."""
    visit(chromium, varied[1])
    chromium.execute_script(
        """
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        const image = document.createElement("img");
        image.setAttribute("onerror", "document.title = 'owned'");
        image.src = "https://localhost/x.png";
        const text = document.createElement("p");
        text.setAttribute("style", "position: fixed");
        text.id = "styled";
        document.body.append(script, image, text);
        """
    )
    time.sleep(0.2)
    assert chromium.title != "owned"
    assert ask(chromium, "getComputedStyle(document.getElementById('styled')).position") == "static"
    refused = " ".join(entry["message"] for entry in chromium.get_log("browser"))
    for directive in ("script-src", "style-src", "img-src"):
        assert directive in refused


def test_hostile_names_stay_text(browser: Any, tmp_path: Path) -> None:
    """Ids, classes, detectors and reasons may be called anything: it is all read, and none of it acts."""
    rows = [flagged(name, name, reasons=[name], nearest=[name]) for name in HOSTILE]
    run = [{"name": name, "settings": {name: name}, "says": name} for name in HOSTILE]
    not_run = [{"name": name, "reason": name} for name in HOSTILE]
    verdict = make_verdict(rows, source=HOSTILE[0], notes=HOSTILE, detectors={"run": run, "not_run": not_run})
    gallery = [exhibit(name, role) for name in HOSTILE for role in ("suspicious", "neighbour")]
    gallery += [exhibit(name, "pattern", class_name=name) for name in HOSTILE]
    gallery += [exhibit(name, "point", class_name=name, x=1.0, y=2.0, planted=True) for name in HOSTILE]
    visit(browser, write_page(tmp_path / "hostile", verdict, gallery))
    expected = {shown(brief(name)) for name in HOSTILE}
    assert set(texts(browser, "h4")) == expected
    assert {" ".join(text.split()) for text in texts(browser, "#class-table tbody th")} == {
        " ".join(name.split()) for name in expected
    }
    assert (
        set(ask(browser, "[...document.querySelectorAll('#card-class option')].map((o) => o.textContent)")) >= expected
    )
    assert browser.title == f"Scan of {HOSTILE[0]}"
    assert ask(browser, "document.scripts.length") == 2
    assert ask(browser, "document.getElementById('owned')") is None
    assert not ask(
        browser,
        "[...document.querySelectorAll('*')].some((part) => part.getAttributeNames().some((a) => a.startsWith('on')))",
    )
    choose(browser, "#map-choice", shown(brief(HOSTILE[1])))
    browser.execute_script("document.querySelector('[data-map]:not([hidden]) svg').focus()")
    from selenium.webdriver.common.keys import Keys

    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    peek = one(browser, "[data-map]:not([hidden]) [data-peek]")
    assert peek.text == f"{shown(brief(HOSTILE[1]))}, planted"
    assert len(peek.find_elements("css selector", "*")) == 2  # the picture and the name


def test_classes_are_sorted_by_clicks_and_by_keys(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """The largest first, then the smallest, then the page's own order again; a reader of headings is told."""
    from selenium.webdriver.common.keys import Keys

    verdict, page = varied
    visit(browser, page)
    head = "#class-table thead th:nth-child(2)"
    sizes = sorted(entry["size"] for entry in verdict.summary["classes"])
    before = texts(browser, "#class-table tbody th")

    def shown_sizes() -> list[int]:
        return [int(text.replace(",", "")) for text in texts(browser, "#class-table tbody td:nth-child(2)")]

    one(browser, f"{head} button").click()
    assert shown_sizes() == sizes[::-1]
    assert one(browser, head).get_attribute("aria-sort") == "descending"
    one(browser, f"{head} button").send_keys(Keys.ENTER)
    assert shown_sizes() == sizes
    assert one(browser, head).get_attribute("aria-sort") == "ascending"
    one(browser, f"{head} button").send_keys(Keys.ENTER)
    assert texts(browser, "#class-table tbody th") == before
    assert one(browser, head).get_attribute("aria-sort") is None
    one(browser, "#class-table thead th:first-child button").click()
    assert texts(browser, "#class-table tbody th") == sorted(before)


def test_classes_are_found_by_name(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """Whatever the case, and the number of them is said."""
    visit(browser, varied[1])
    one(browser, "#class-filter").send_keys("MU")
    assert texts(browser, "#class-table tbody th") == ["emu"]
    assert one(browser, "#class-count").text == "1 of 3 classes"


@pytest.mark.parametrize("label", ["", "cat", "dog"])
@pytest.mark.parametrize("detector", ["", "spectral", "density"])
def test_cards_are_filtered(browser: Any, varied: tuple[Verdict, Path], label: str, detector: str) -> None:
    """By class, by who named them and by id, as the table of the verdict has it."""
    verdict, page = varied
    visit(browser, page)
    if label:
        choose(browser, "#card-class", label)
    if detector:
        choose(browser, "#card-detector", detector)
    if not detector:
        one(browser, "#card-id").send_keys("0")
    browser.execute_script("document.getElementById('card-more').click()")
    says = {entry["name"]: entry["says"] for entry in DETECTORS}
    expected = [
        found["id"]
        for found in verdict.suspicious().to_pylist()
        if found["label_name"] == (label or found["label_name"])
        and (not detector or says[detector] in found["reasons"])
        and (detector or "0" in found["id"])
    ]
    assert expected
    assert texts(browser, "#samples ~ [data-chapter] h4") == expected
    assert one(browser, "#card-count").text == f"{len(expected)} of 30 cards"
    assert one(browser, "#card-count").get_attribute("aria-live") == "polite"


def test_many_cards_are_folded_until_somebody_wants_them(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """What follows the cards stays near; on paper all of them are there."""
    visit(browser, varied[1])
    assert len(texts(browser, "[data-card]")) == 24
    look(browser, media="print")
    assert len(texts(browser, "[data-card]")) == 30
    look(browser)
    one(browser, "#card-more").click()
    assert len(texts(browser, "[data-card]")) == 30
    assert not one(browser, "#card-more").is_displayed()


def test_a_threshold_is_previewed_exactly(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """The numbers are those of the verdict's table, and the cards below are dimmed; the verdict is not touched."""
    verdict, page = varied
    visit(browser, page)
    rows = [found for found in verdict.table.to_pylist() if found["status"] == "scanned"]
    floors = json.loads(one(browser, "#score-counts").get_attribute("textContent"))["floors"]
    assert len(floors) <= 60
    assert not texts(browser, ".below")
    for place in (0, 7, 20, 33, len(floors) - 1):
        slide(browser, place)
        above = [found for found in rows if found["score"] >= floors[place]]
        kinds = [sum(found["kind"] == kind for found in above) for kind in ("planted", "label", "")]
        said = one(browser, "#threshold-says").text
        assert said.startswith(f"At {floors[place]:g} this would flag {len(above)} sample")
        assert f"({kinds[0]} planted, {kinds[1]} label" in said
        assert f"{kinds[2]} not flagged by the verdict)" in said
        if len(above) != 30:
            word = "more" if len(above) > 30 else "fewer"
            assert f"{abs(len(above) - 30)} sample" in said
            assert f"{word} than the verdict" in said
        assert said.endswith("The verdict itself stays.")
        below = sorted(found["id"] for found in rows if found["suspicious"] and found["score"] < floors[place])
        dim = "[...document.querySelectorAll('[data-card].below h4')].map((head) => head.textContent)"
        assert sorted(ask(browser, dim)) == below


def test_a_map_says_who_a_mark_is(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """Pointing at a mark shows its picture and id: that of its card where it has one, for that is larger."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    verdict, page = varied
    visit(browser, page)
    choose(browser, "#map-choice", "dog")
    current = "[data-map]:not([hidden])"
    assert "dog" in one(browser, f"{current} h3").text
    pictures = {(entry["id"], entry["role"]): uri_of(entry["thumbnail"]) for entry in varied_gallery(verdict)}
    marks = browser.find_elements("css selector", f"{current} .point")
    for mark in (marks[0], marks[20], marks[-1]):
        ActionChains(browser).move_to_element(mark).perform()
        name, _, what = one(browser, f"{current} [data-peek]").text.rpartition(", ")
        assert mark.find_element("css selector", "title").get_attribute("textContent") == f"{name}, {what}"
        role = "suspicious" if (name, "suspicious") in pictures else "point"
        assert one(browser, f"{current} [data-peek] img").get_attribute("src") == pictures[name, role]
        assert "on" in mark.get_attribute("class").split()
    chart = one(browser, f"{current} svg")
    chart.send_keys(Keys.HOME)
    left = one(browser, f"{current} [data-peek]").text
    chart.send_keys(Keys.ARROW_RIGHT)
    assert one(browser, f"{current} [data-peek]").text != left
    chart.send_keys(Keys.ARROW_LEFT)
    assert one(browser, f"{current} [data-peek]").text == left


def test_the_page_is_whole_without_its_script(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """No control that does nothing; every card, both maps, the histogram with its mark, and all numbers."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit(browser, varied[1])
    assert len(texts(browser, "[data-card]")) == 30
    assert len(texts(browser, "[data-map] h3")) == 2
    assert texts(browser, "#histogram text.lowest")[0].startswith("lowest planted: ")
    assert len(texts(browser, "#histogram rect")) > 10
    for selector in ("select", "input", "button", "output", "[data-peek]"):
        assert texts(browser, selector) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(
    browser: Any, varied: tuple[Verdict, Path], tmp_path: Path, width: int
) -> None:
    """On a phone, a tablet and a desk, with names of ordinary and of excessive length."""
    long = "w" * 255
    rows = [flagged(long, long, reasons=[long], nearest=[long])]
    said = {"run": [{"name": long, "settings": long, "says": long}], "not_run": [{"name": long, "reason": long}]}
    gallery = [exhibit(long, "suspicious", difference=square(3)), exhibit(long, "pattern", class_name=long)]
    gallery.append(exhibit(long, "point", class_name=long, x=0.0, y=0.0, planted=True))
    look(browser, width)
    for page in (varied[1], write_page(tmp_path / "wide", make_verdict(rows, source=long, detectors=said), gallery)):
        visit(browser, page)
        assert ask(browser, "document.documentElement.scrollWidth <= window.innerWidth")
        assert ask(browser, "document.body.scrollWidth <= window.innerWidth")
        assert bool(texts(browser, "nav a")) == (width >= 768)


def test_the_answer_can_be_read_in_the_dark(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """Two schemes, each with the contrast that people need, and not the same one."""
    pages = []
    for scheme in ("light", "dark"):
        look(browser, scheme=scheme)
        visit(browser, varied[1])
        assert contrast(browser, ".answer h1", ".answer") >= 4.5
        assert contrast(browser, "#classes", "body") >= 7
        assert contrast(browser, ".lead", "body") >= 4.5
        pages.append(ask(browser, "getComputedStyle(document.body).backgroundColor"))
    assert pages[0] != pages[1]


def test_paper_has_no_controls(browser: Any, varied: tuple[Verdict, Path]) -> None:
    """What can be clicked is of no use there."""
    look(browser, media="print")
    visit(browser, varied[1])
    for selector in ("nav", ".controls", "select", "[data-peek]", "#card-more"):
        assert texts(browser, selector) == []
    assert texts(browser, "h1")


def test_a_hundred_thousand_findings_open(browser: Any, tmp_path: Path) -> None:
    """In a time that a person waits, in a size that a person mails, with all of them counted."""
    many = 100_000
    rows = [flagged(f"{n}.png", f"class {n % 9}", score=n / 1000, reasons=[DETECTORS[0]["says"]]) for n in range(many)]
    gallery = [exhibit(f"{n}.png", "suspicious", n % 250) for n in range(many - 300, many)]
    page = write_page(tmp_path / "many", make_verdict(rows, detectors={"run": DETECTORS, "not_run": []}), gallery)
    assert page.stat().st_size < 20e6
    start = time.perf_counter()
    visit(browser, page)
    assert one(browser, "#card-count").text == "200 of 200 cards, the first 24 shown"
    slide(browser, 0)
    assert "would flag 100,000 samples" in one(browser, "#threshold-says").text
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "wrong", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_the_script_never_reads_text_as_markup(wrong: str) -> None:
    """What could make names act is not in it; strict mode and its size keep it readable."""
    script = (Path(write_report.__code__.co_filename).parent / "page" / "report.js").read_text("utf-8")
    assert wrong not in script
    assert script.startswith('"use strict";')
    assert len(script.splitlines()) < 300
