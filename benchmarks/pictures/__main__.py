"""Make the pictures of the README: poison photographs of clothes, scan them, and photograph what comes out.

    python -m benchmarks.pictures --data FOLDER

FOLDER holds the data sets as Parquet files; of these, ``clothing10_128px`` is needed, whose photographs are CC0.
Chromium, its driver and selenium (extra ``dev``) are needed too. Nothing is retouched, but colours are rounded to keep
files small.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from sanitizer.actions.drawing import draw
from sanitizer.attacks.badnets import BadNets
from sanitizer.pipeline import scan
from sanitizer.record import REPORT, Verdict
from sanitizer.sources.base import open_source

SOURCE = "clothing10_128px/train.parquet"
RATE, SEED = 0.01, 7
WIDTH = 1100
COLOURS = 192
#: File, and the first and the last section of the report that are in it.
SHOTS = {"report": ("answer", "patterns"), "map": ("scores", "maps")}


def main() -> None:
    """All of them, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SANITIZER_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        poisoned = Path(scratch) / "poisoned"
        BadNets(rate=RATE, target=0, seed=SEED).poison(open_source(str(args.data / SOURCE)), poisoned)
        folder = Path(scratch) / "verdict"
        verdict = scan(str(poisoned / "data"), folder)
        photograph(folder / REPORT, args.out)
        explained = Path(scratch) / "explain.png"
        draw(folder, worst(verdict), explained)
        keep(Image.open(explained), args.out / "explain.png")


def worst(verdict: Verdict) -> str:
    """The id of the most suspicious sample."""
    return str(verdict.suspicious()["id"][0])


def photograph(page: Path, out: Path) -> None:
    """Parts of the report, as they stand on a screen."""
    browser = opened(page)
    try:
        for name, (first, last) in SHOTS.items():
            keep(part(browser, first, last), out / f"{name}.png")
        keep(cards(browser), out / "samples.png")
    finally:
        browser.quit()


def opened(page: Path) -> Any:
    """The page in a browser without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for option in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", f"window-size={WIDTH},900"):
        options.add_argument(f"--{option}")
    browser = webdriver.Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver")))
    browser.get(page.resolve().as_uri())
    return browser


def part(browser: Any, first: str, last: str) -> Image.Image:
    """From the top of one section to the end of another."""
    top, bottom = browser.execute_script(
        "const box = id => document.getElementById(id).closest('section').getBoundingClientRect();"
        "return [box(arguments[0]).top + scrollY, box(arguments[1]).bottom + scrollY];",
        first, last,
    )  # fmt: skip
    return shot(browser, top - 16, bottom + 16)


def cards(browser: Any) -> Image.Image:
    """The first row of cards."""
    top, bottom = browser.execute_script(
        "const box = document.querySelector('.card').getBoundingClientRect();"
        "return [box.top + scrollY, box.bottom + scrollY];"
    )
    return shot(browser, top - 12, bottom + 12)


def shot(browser: Any, top: float, bottom: float) -> Image.Image:
    """A band of the page."""
    clip = {"x": 0, "y": max(0, top), "width": WIDTH, "height": bottom - max(0, top), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return Image.open(BytesIO(base64.b64decode(taken["data"])))


def keep(picture: Image.Image, path: Path) -> None:
    """Few colours, without dithering: a README is loaded often."""
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
