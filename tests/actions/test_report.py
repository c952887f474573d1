"""The page: what it says, what it cannot be made to do, and how large it can become."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import TRUSTED, flagged, make_verdict, row, unread

from sanitizer.actions.gallery import SCHEMA
from sanitizer.actions.page.cards import MAX_CARDS
from sanitizer.actions.page.pictures import MAX_PICTURES
from sanitizer.actions.report import render_report, shown, write_report
from sanitizer.errors import VerdictError
from sanitizer.record import GALLERY, REPORT, SUMMARY
from sanitizer.sources.encode import encode

Write = Callable[..., Path]

#: What a page without network and forms is made of.
HARMLESS = (
    {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "footer",
        "section",
        "article",
    }
    | {"h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "strong", "b", "br", "code", "a"}
    | {"table", "thead", "tbody", "tr", "th", "td", "img", "figure", "figcaption", "details", "summary"}
    | {"svg", "g", "line", "polyline", "polygon", "rect", "circle", "text"}
    | {"label", "input", "select", "option", "output", "button"}
)
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</style><script>1</script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "a\u202egnp.exe",
    "two\nlines\r\t\x1b[31m\x00",
    "javascript:alert(1)",
    "http://example.com/x.png",
    "x" * 5000,
    "\u2066\u2069\u200b\ufeff\U000e0041",
    "漢字 ünïcode العربية",
]


class Page(HTMLParser):
    """The page as a browser takes it apart."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.unread = False
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep each element with its attributes."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.unread = tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        """Keep each piece of text that a reader sees."""
        if not self.unread:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        """What follows a style or a script is text again."""
        self.unread = False

    @property
    def text(self) -> str:
        """What a reader sees."""
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        """The values of an attribute, in the order of the page."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def assert_harmless(content: bytes) -> Page:
    """No element, attribute or address that could act, whatever the data was called."""
    page = Page(content)
    assert {tag for tag, _ in page.tags} <= HARMLESS
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("srcset", "action", "xlink:href", "style")]
    assert all(target.startswith("#") for target in page.attributes("href"))
    for source in page.attributes("src") + page.attributes("data-picture"):
        assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", source)
    assert {attributes.get("type", "") for tag, attributes in page.tags if tag == "script"} <= {"", "application/json"}
    assert sum(tag == "script" and not attributes for tag, attributes in page.tags) == 1
    assert not re.search(r"url\(|@import", content.decode().partition("</style>")[0])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", content.decode())
    return page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(write_folder: Write, name: str) -> None:
    """A name is shown wherever names are shown, and is never anything but text."""
    rows = [
        flagged(name, name, reasons=[name] * 9, nearest=[name, "other"]),
        row("other", name + "2"),
        unread(name + "3", reasons=[name]),
    ]
    said = {"settings": {name: name}, "name": name, "says": name}
    verdict = make_verdict(
        rows,
        source=name,
        notes=[name],
        incomplete=[name],
        view=name,
        device=name,
        parameters={name: {name: [name]}},
        model={name: name},
        versions={name: name},
        timings={name: 1.0},
        detectors={"run": [said], "not_run": [{"name": name, "reason": name}]},
    )
    page = assert_harmless(render_report(write_folder(verdict)))
    assert shown(name)[:80].split()[0] in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_every_kind_of_verdict(write_folder: Write, name: str) -> None:
    """With a trusted reference, labels in doubt, a named network beside the model, and no pictures."""
    rows = [flagged(name, name, kind="label", reasons=[name], nearest=[f"trusted:{name}"]), flagged("b", name)]
    network = {"kind": "backbone", "name": name, "architecture": name, name: name}
    verdict = make_verdict(rows, calibration=TRUSTED | {"says": name}, model=network, reference=network)
    page = assert_harmless(render_report(write_folder(verdict, holds="vectors")))
    assert page.text.count(shown(name)[:80].split()[0]) >= 5


def test_what_cannot_be_seen_is_written_out() -> None:
    """Characters that reorder, hide or break lines become escapes; letters of any script stay."""
    assert shown("a\u202eb\nc\x1b\u2066\x85\ud800") == "a\\u202eb\\nc\\x1b\\u2066\\x85\\ud800"
    assert shown("漢字 ünïcode العربية 🙂") == "漢字 ünïcode العربية 🙂"


def test_the_page_forbids_itself_everything_but_its_own_pictures_style_and_script(write_folder: Write) -> None:
    """The content security policy is the second wall behind escaping, and comes before anything it governs."""
    content = render_report(write_folder(make_verdict([flagged("a")]))).decode()
    style, script = (re.search(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL) for tag in ("style", "script"))
    assert style
    assert script
    hashes = [base64.b64encode(hashlib.sha256(part[1].encode()).digest()).decode() for part in (style, script)]
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in content
    assert content.index("Content-Security-Policy") < content.index("<style>") < content.index("<script")
    assert "http://" not in content
    assert "https://" not in content


def test_each_suspicious_sample_is_shown_with_its_evidence(write_folder: Write) -> None:
    """Picture, label, kind, score, p-value, reasons, detectors, neighbours and losses are on the page."""
    rows = [
        flagged("cat/a.png", score=9.5, p_value=0.0042, reasons=["far from its class"], nearest=["cat/b.png"]),
        row("cat/b.png"),
        flagged("dog/c.png", "dog", kind="label", score=4.0, p_value=None),
    ]
    page = Page(render_report(write_folder(make_verdict(rows), losses=np.array([[2.0, 0.5]] * 3))))
    for words in ("cat/a.png", "planted", "9.5", "0.0042", "far from its class", "spectral", "0.125", "label in doubt"):
        assert words in page.text
    assert page.text.index("cat/a.png") < page.text.index("dog/c.png")
    assert [words for words in page.attributes("alt") if "labelled" in words] == [
        "cat/a.png, labelled cat",  # beside what its class has in common
        "cat/a.png, labelled cat",
        "cat/b.png, labelled cat",
        "dog/c.png, labelled dog",
    ]
    assert "Training loss over 2 epochs, from 2 to 0.5" in page.attributes("aria-label")
    for source in page.attributes("src"):
        assert base64.b64decode(source.partition(",")[2]).startswith(b"\x89PNG")


def test_small_pictures_are_enlarged_without_blur(write_folder: Write) -> None:
    """Pixels of a 32 x 32 image are to be seen as pixels; a photograph is not."""
    small, large = (Page(render_report(write_folder(make_verdict([flagged("a")]), side=side))) for side in (32, 96))
    assert "large pixelated" in small.attributes("class")
    assert "large" in large.attributes("class")


@pytest.mark.parametrize(
    ("rows", "summary", "tone"),
    [
        ([flagged("a")], {}, "planted"),
        ([flagged("a")], {"incomplete": ["half"]}, "planted"),
        ([row("a")], {}, "clear"),
        ([row("a")], {"incomplete": ["half"]}, "incomplete"),
        ([], {}, "incomplete"),
        ([row("a"), unread("b", "refused")], {}, "refused"),
        ([row("a"), unread("b")], {}, "clear"),
    ],
)
def test_the_band_has_the_colour_of_the_answer(
    write_folder: Write, rows: list[dict[str, Any]], summary: dict[str, Any], tone: str
) -> None:
    """Green means: complete, nothing planted, nothing hostile."""
    page = Page(render_report(write_folder(make_verdict(rows, **summary))))
    assert f"answer {tone}" in page.attributes("class")
    assert make_verdict(rows).summary["answer"]["sentence"] in page.text
    assert all(gap in page.text for gap in summary.get("incomplete", ()))


def test_nothing_found_is_a_page_too(write_folder: Write) -> None:
    """A clean scan says so, and still says what it did not look for."""
    page = assert_harmless(render_report(write_folder(make_verdict([row("a"), row("b", None)]))))
    assert "No sample was flagged." in page.text
    assert "no network was trained" in page.text
    assert not page.attributes("src")


def test_an_empty_scan_of_a_source_without_classes_is_a_page_too(write_folder: Write) -> None:
    """No rows, no classes, no detectors."""
    verdict = make_verdict([], classes=[], detectors={"run": [], "not_run": []}, versions={}, timings={}, model={})
    page = assert_harmless(render_report(write_folder(verdict)))
    assert "This set has no labels, so there are no classes" in page.text


def test_planted_samples_come_before_labels_in_doubt(write_folder: Write) -> None:
    """Two chapters, each with its own count, whatever the scores."""
    doubted = [flagged(f"doubted{n}", kind="label", score=50.0) for n in range(3)]
    page = Page(render_report(write_folder(make_verdict([*doubted, flagged("planted.png", score=2.0)]))))
    text = page.text.partition("Suspicious samples")[2]
    assert text.index("Planted 1") < text.index("planted.png") < text.index("Label in doubt 3") < text.index("doubted0")
    assert "All 3, most suspicious first." in text


def test_labels_in_doubt_alone_are_no_alarm(write_folder: Write) -> None:
    """The answer stays that of a clean set, and says that there is something to look at."""
    page = render_report(write_folder(make_verdict([flagged("a", kind="label", p_value=0.0625), row("b")])))
    assert "Nothing planted found, labels in doubt" in Page(page).text
    assert "0.0625" not in Page(page).text  # odds decided, not this
    assert '<section class="answer clear"' in page.decode()


def test_a_trusted_reference_is_described(write_folder: Write) -> None:
    """Its size, the smallest group it can reveal, what flagged a class; its samples are marked where they are near."""
    rows = [flagged("a.png", p_value=0.001, nearest=["trusted:t.png", "b.png"]), row("b.png")]
    page = Page(render_report(write_folder(make_verdict(rows, calibration=TRUSTED))))
    assert "With 999 trusted samples the smallest planted group that can be seen has 1 samples, 50.00 %" in page.text
    for words in ("Calibrated on 999 trusted samples.", "stands out", "p = 0.001", "decides nothing"):
        assert words in page.text
    assert "hides a second population" not in page.text
    assert page.attributes("title") == ["trusted: trusted:t.png", "cat: b.png"]
    assert "name other" not in page.attributes("class")


def test_a_trusted_reference_that_is_too_small_is_called_so(write_folder: Write) -> None:
    """No share of the set would be seen: that is said, not a share above one."""
    verdict = make_verdict([row("a")], calibration=TRUSTED | {"smallest_visible": 2})
    assert "nothing can be seen in a set of this size" in Page(render_report(write_folder(verdict))).text


def test_a_name_that_only_looks_trusted_is_not_called_so(write_folder: Write) -> None:
    """Without a trusted source, a file may be called anything."""
    rows = [flagged("a", nearest=["trusted:b"]), row("trusted:b")]
    assert Page(render_report(write_folder(make_verdict(rows)))).attributes("title") == ["cat: trusted:b"]


def test_vectors_are_shown_without_frames_for_pictures(write_folder: Write) -> None:
    """No thumbnails, no blanks: names, scores and neighbours are what there is."""
    rows = [flagged("v.npz#1", nearest=["v.npz#2"]), row("v.npz#2")]
    verdict = make_verdict(rows, model={"kind": "vectors", "width": 32})
    page = Page(render_report(write_folder(verdict, holds="vectors")))
    assert not page.attributes("src")
    assert not [label for label in page.attributes("aria-label") if label.startswith("no picture")]
    for words in ("There are no pictures of them.", "Nearest samples of its class v.npz#2", "vectors of 32 numbers"):
        assert words in page.text


def test_a_set_without_labels_is_not_said_to_lack_any_sample_s(write_folder: Write) -> None:
    """There is one sentence on it, in place of a tag on every card."""
    lonely = flagged("a", None, label=None, nearest=["b"])
    gap = "without labels scores only rank"
    answer = {"poison_found": True, "planted": 1, "label_suspects": 0, "sentence": f"Incomplete: {gap}.", "power": ""}
    verdict = make_verdict([lonely, row("b", None, label=None)], answer=answer, incomplete=[gap])
    page = Page(render_report(write_folder(verdict)))
    assert "This set has no labels" in page.text
    assert "none: these samples have no labels" in page.text
    assert page.text.count(gap) == 1
    assert "of its class" not in page.text
    assert "no label" not in page.text.replace("no labels", "")
    assert page.attributes("title") == ["b"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kind": "probe", "epochs": 8}, "a probe: a small network trained on this very set, 8 epochs"),
        ({"kind": "backbone", "name": "f.safetensors", "architecture": "resnet20"}, "f.safetensors (resnet20), a"),
        ({"kind": "vectors", "width": 1024}, "ready-made vectors of 1,024 numbers"),
        ({"name": "of another time"}, "Looked at by of another time"),
    ],
    ids=["probe", "backbone", "vectors", "unknown"],
)
def test_who_looked_at_the_samples_is_said(write_folder: Write, model: dict[str, Any], words: str) -> None:
    """The model, and the network that judged the labels beside it."""
    beside = {"kind": "backbone", "name": "timm:vit", "architecture": "vit"}
    alone = Page(render_report(write_folder(make_verdict([row("a")], model=model)))).text
    both = Page(render_report(write_folder(make_verdict([row("a")], model=model, reference=beside)))).text
    assert words in alone
    assert "Labels judged by" not in alone
    assert "Labels judged by timm:vit (vit), a frozen network" in both


def test_detectors_that_were_not_run_share_their_reason(write_folder: Write) -> None:
    """Named together, without their settings, above the classes."""
    lacking = "compares samples with their class; this set has no labels"
    absent = [{"name": name, "reason": f"{name.title()}(k=3) {lacking}"} for name in ("spectral", "hidden")]
    verdict = make_verdict([row("a")], detectors={"run": [], "not_run": absent})
    text = Page(render_report(write_folder(verdict))).text
    assert f"spectral, hidden {lacking}" in text
    assert text.count(lacking) == 1


def test_classes_are_sorted_by_suspicion(write_folder: Write) -> None:
    """A class that hides something comes first, then the share of suspicious samples decides."""
    rest = {"label_suspects": 0, "score": None, "reason": None}
    classes = [
        {"name": "calm", "size": 100, "suspicious": 1, "hidden": False, **rest},
        {"name": "busy", "size": 10, "suspicious": 5, "hidden": False, **rest},
        {"name": "hiding", "size": 50, "suspicious": 0, "hidden": True, **rest},
        {"name": "empty", "size": 0, "suspicious": 0, "hidden": False, **rest},
    ]
    text = Page(render_report(write_folder(make_verdict([row("a")], classes=classes)))).text
    assert text.index("hiding") < text.index("busy") < text.index("calm")
    assert "50.0 %" in text


def test_items_that_were_not_scanned_are_listed_and_then_counted(write_folder: Write) -> None:
    """Two hundred are named, refused ones first, the rest is a number."""
    rows = [unread(f"bad{n:03}.png", reasons=["truncated JPEG data"]) for n in range(230)]
    text = Page(render_report(write_folder(make_verdict([row("a"), *rows, unread("zip", "refused")])))).text
    assert text.index("zip") < text.index("bad000.png")
    assert text.count("truncated JPEG data") == 199
    assert "And 31 more, in verdicts.parquet." in text


def test_equal_folders_give_equal_pages(write_folder: Write, tmp_path: Path) -> None:
    """The page is a function of the folder: a rebuild is the first build, byte by byte."""
    folder = write_folder(make_verdict([flagged("a", nearest=["b"]), row("b")]), losses=np.ones((2, 5)))
    write_report(folder)
    first = (folder / REPORT).read_bytes()
    (folder / REPORT).unlink()
    elsewhere = folder.rename(tmp_path / "moved")
    write_report(elsewhere)
    assert (elsewhere / REPORT).read_bytes() == first


def test_two_thousand_findings_with_endless_names_stay_small(write_folder: Write) -> None:
    """Neither many findings, nor long names, nor many classes make a page that cannot be opened."""
    names = [f"{n}" + "\U000e0041" * 400 if n < 400 else f"{n}" for n in range(2000)]
    rows = [
        flagged(name, names[n % 400], score=2000.0 - n, reasons=[name] * 9, nearest=names[n + 1 : n + 4])
        for n, name in enumerate(names)
    ]
    page = render_report(write_folder(make_verdict(rows), side=96))
    assert len(page) < 20e6
    assert len(Page(page).attributes("data-card")) == MAX_CARDS
    assert "200 of 2,000" in Page(page).text


def test_a_gallery_full_of_everything_stays_small(write_folder: Write) -> None:
    """Maps, patterns, differences and the longest names together: below what a page may weigh."""
    long = "\U000e0041" * 400
    names = [f"{n}{long}" for n in range(220)]
    rows = [flagged(name, f"{n % 40}{long}", nearest=names[:3], reasons=[long] * 5) for n, name in enumerate(names)]
    folder = write_folder(make_verdict(rows))
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    picture = encode(noise, "PNG")
    shown_twice = {"thumbnail": picture, "difference": picture, "losses": [1.0] * 100}
    entries = [{"id": name, "role": role, **shown_twice} for name in names for role in ("suspicious", "neighbour")]
    entries += [{"id": f"{n % 40}{long}", "role": "pattern", **shown_twice} for n in range(40)]
    place = {"role": "point", "x": 1.0, "y": 2.0, "planted": True, "thumbnail": picture}
    entries += [{"id": f"{n}{long}", "class_name": f"{n % 10}{long}", **place} for n in range(8000)]
    pq.write_table(pa.Table.from_pylist(entries, SCHEMA), folder / GALLERY)
    page = render_report(folder)
    assert sum(map(len, Page(page).attributes("src"))) <= MAX_PICTURES
    assert 10e6 < len(page) < 20e6


def test_pictures_that_do_not_fit_leave_a_blank(write_folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery that somebody made larger does not make the page larger; the samples stay listed."""
    monkeypatch.setattr("sanitizer.actions.page.pictures.MAX_PICTURES", 10_000)
    page = Page(render_report(write_folder(make_verdict([flagged(f"{n}") for n in range(5)]))))
    assert 0 < sum(map(len, page.attributes("src"))) <= 10_000
    assert len(page.attributes("data-card")) == 5
    blank = [label for label in page.attributes("aria-label") if label.startswith("no picture of")]
    assert {f"no picture of {n}" for n in (3, 4)} <= set(blank)


def test_what_is_no_png_is_not_shown(write_folder: Write) -> None:
    """A gallery from elsewhere cannot bring another format into the page."""
    folder = write_folder(make_verdict([flagged("a")]))
    svg = {"id": "a", "role": "suspicious", "thumbnail": b"<svg onload=alert(1)>", "losses": None}
    pq.write_table(pa.Table.from_pylist([svg], SCHEMA), folder / GALLERY)
    assert not assert_harmless(render_report(folder)).attributes("src")


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"{}"])
@pytest.mark.parametrize("name", [GALLERY, SUMMARY, "verdicts.parquet"])
def test_a_folder_that_lacks_a_part_is_one_line(write_folder: Write, name: str, content: bytes | None) -> None:
    """A report is built from a verdict, or not at all."""
    folder = write_folder(make_verdict([row("a")]))
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(VerdictError, match=r"^expected .* got:? .*(again|first|run `sanitizer scan`)$"):
        render_report(folder)
