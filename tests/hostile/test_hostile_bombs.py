"""Bombs: kilobytes on the disk, and bounded work and memory for whoever reads them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sanitizer.sources import isolated
from sanitizer.sources.encode import encode
from tests.hostile.book import Page
from tests.hostile.census import counted, statuses_of
from tests.hostile.images import WORK, saved
from tests.hostile.tables import TABLES, stored
from tests.hostile.trees import GOOD
from tests.hostile.vectors import VECTORS

#: Megabytes that a scan may take for a bomb, with everything it has imported.
MOST_MEGABYTES = 1500
#: The kind of work that stands for the others where time is short: the smallest on the disk.
QUICK = ("jpeg_large_with_many_idle_scans",)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page.name in QUICK else pytest.mark.slow, id=page.name) for page in WORK]
)
def test_minutes_of_work_are_refused_and_the_scan_goes_on(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image behind it is read; the file with both is small."""
    monkeypatch.setattr(isolated, "SECONDS", 1)
    path = tmp_path / "x.parquet"
    path.write_bytes(stored(pa.table({"image": pa.array([page.make(), GOOD])}), compression="zstd"))
    assert path.stat().st_size < 2**18
    assert statuses_of(path) == counted(f"{page.outcome} scanned")


def _largest_image(root: Path) -> Path:
    """Just small enough to be decoded, with an alpha channel to be dropped."""
    root.mkdir()
    (root / "large.png").write_bytes(saved(Image.new("LA", (8000, 8000)), "PNG"))
    (root / "good.png").write_bytes(GOOD)
    return root


def _many_large_images(root: Path) -> Path:
    """More pixels than are kept: they are decoded again when they are wanted."""
    root.mkdir()
    for number in range(5):
        (root / f"{number}.png").write_bytes(encode(np.full((6000, 6000, 3), number, np.uint8), "PNG"))
    return root


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (TABLES.pages["parquet_dictionary_of_a_large_value"].make, "1000 unreadable"),
        pytest.param(TABLES.pages["parquet_page_of_zeros"].make, "100 unreadable", marks=pytest.mark.slow),
        pytest.param(TABLES.pages["parquet_value_that_is_too_large"].make, "scanned refused", marks=pytest.mark.slow),
        (VECTORS.pages["npz_bomb_of_zeros"].make, "error"),
        (_largest_image, "2 scanned"),
        pytest.param(_many_large_images, "5 scanned", marks=pytest.mark.slow),
    ],
    ids=["dictionary", "page", "value", "npz", "largest_image", "many_images"],
)
def test_memory_is_bounded(tmp_path: Path, make: Callable[[Path], Path], outcome: str) -> None:
    """The most that a process which reads nothing else ever had; where it decodes apart, there is a limit for that."""
    code = (
        "import re, resource, sys\nfrom pathlib import Path\nfrom tests.hostile.census import statuses_of\n"
        "found = statuses_of(Path(sys.argv[1]))\n"
        "own = int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "print(own // 1024, *found.elements())"
    )
    path = make(tmp_path / "data")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    peak, *found = done.stdout.split()
    assert counted(" ".join(found)) == counted(outcome)
    assert int(peak) < MOST_MEGABYTES
