"""A browser to look at pages with, how a test looks and acts in it, and a verdict with something of everything."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from made_up import flagged, make_verdict, row, unread

from sanitizer.actions.gallery import SCHEMA
from sanitizer.actions.report import write_report
from sanitizer.record import GALLERY, REPORT, Verdict
from sanitizer.sources.encode import encode

DETECTORS = [
    {"name": "spectral", "settings": {}, "says": "It lies far out."},
    {"name": "density", "settings": {}, "says": "It lies alone."},
]


def square(shade: int) -> bytes:
    """A picture that is told from others by its colour."""
    return encode(np.full((8, 8, 3), (shade, 255 - shade, 40), np.uint8), "PNG")


def uri_of(content: bytes) -> str:
    """The address by which the page holds a picture."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def exhibit(name: str, role: str, shade: int = 0, **columns: Any) -> dict[str, Any]:
    """One row of a gallery."""
    return {"id": name, "role": role, "thumbnail": square(shade), "difference": b"", **columns}


def write_page(folder: Path, verdict: Verdict, gallery: Sequence[dict[str, Any]]) -> Path:
    """A page on disk."""
    folder.mkdir()
    verdict.write(folder)
    pq.write_table(pa.Table.from_pylist(list(gallery), SCHEMA), folder / GALLERY)
    write_report(folder)
    return folder / REPORT


def varied_verdict() -> Verdict:
    """Three classes; thirty samples flagged in two of them, by one detector or both; scores of all sizes."""
    rng = np.random.default_rng(0)
    says = [detector["says"] for detector in DETECTORS]
    rows = [
        flagged(
            f"{label}/{n:02}.png", label, score=float(rng.uniform(1, 60)), reasons=says[: 1 + n % 2], p_value=10.0**-n
        )
        for label, count in (("cat", 20), ("dog", 7))
        for n in range(count)
    ]
    rows += [flagged(f"dog/odd{n}.png", "dog", kind="label", score=0.5 + n, reasons=says[1:]) for n in range(3)]
    rows += [
        row(f"{label}/clean{n}.png", label, score=float(rng.exponential()))
        for label, count in (("cat", 80), ("dog", 40), ("emu", 300))
        for n in range(count)
    ]
    return make_verdict([*rows, unread("bad.png")], detectors={"run": DETECTORS, "not_run": []})


def varied_gallery(verdict: Verdict) -> list[dict[str, Any]]:
    """A picture, a difference and losses of each flagged sample; a pattern and a map of each class that hides some."""
    found = verdict.suspicious().to_pylist()
    extra = {"difference": square(250), "losses": [2.0, 1.0, 0.1, 0.0]}
    entries = [exhibit(one["id"], "suspicious", place * 5, **extra) for place, one in enumerate(found)]
    entries += [exhibit(name, "pattern", 100, class_name=name, difference=square(9)) for name in ("cat", "dog")]
    planted = {one["id"] for one in found if one["kind"] == "planted"}
    rng = np.random.default_rng(1)
    for place, one in enumerate(verdict.table.to_pylist()):
        if one["label_name"] in ("cat", "dog"):
            where = dict(zip("xy", rng.normal(size=2).tolist(), strict=True), planted=one["id"] in planted)
            losses = [1.0, 0.5, 0.2, 0.1]
            entries.append(
                exhibit(one["id"], "point", place % 200, class_name=one["label_name"], losses=losses, **where)
            )
    return entries


def look(driver: Any, width: int = 1280, *, scheme: str = "light", media: str = "") -> None:
    """As which reader to see pages; nothing moves, so that tests need not wait."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def visit(driver: Any, page: Path) -> None:
    """Open a page."""
    driver.get(page.as_uri())


def ask(driver: Any, question: str, *given: Any) -> Any:
    """What an expression of JavaScript comes to."""
    return driver.execute_script(f"return {question}", *given)


def one(driver: Any, selector: str) -> Any:
    """The first element that fits."""
    return driver.find_element("css selector", selector)


def texts(driver: Any, selector: str) -> list[str]:
    """The text of all elements that fit and can be seen."""
    seen = "filter((part) => part.getClientRects().length).map((part) => part.textContent)"
    found: list[str] = ask(driver, f"Array.from(document.querySelectorAll(arguments[0])).{seen}", selector)
    return found


def choose(driver: Any, selector: str, text: str) -> None:
    """Take an option by its name."""
    from selenium.webdriver.support.ui import Select

    Select(one(driver, selector)).select_by_visible_text(text)


def slide(driver: Any, place: int) -> None:
    """Move the threshold."""
    driver.execute_script(
        "const slider = document.getElementById('threshold'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'))",
        place,
    )


def contrast(driver: Any, inner: str, outer: str) -> float:
    """How far two computed colours are apart: the ratio of WCAG, from 1 to 21."""
    lights = []
    for selector, name in ((inner, "color"), (outer, "backgroundColor")):
        said = ask(driver, "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)
        channels = np.array([float(part) for part in said[said.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)
