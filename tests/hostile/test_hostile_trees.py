"""Every hostile folder and every hostile metadata file: each item found once, nothing touched, nothing run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanitizer.sources.base import open_source
from tests.hostile.book import Page
from tests.hostile.census import census_of, counted, statuses_of
from tests.hostile.labels import LABELS, flat_images
from tests.hostile.trees import TREES, good_images


@pytest.mark.parametrize("page", list(TREES), ids=lambda page: page.name)
def test_what_lies_in_a_tree_is_counted_once(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Read from inside the folder, where a module or settings that lie there would be found."""
    data = tmp_path / "data"
    good_images(data)
    page.make(data)
    monkeypatch.chdir(data)
    assert statuses_of(data) == counted(f"4 scanned {page.outcome}")
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name == "canary"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("page", list(LABELS), ids=lambda page: page.name)
def test_what_metadata_say_is_counted_once(tmp_path: Path, page: Page) -> None:
    """Nothing they name outside of the folder is opened, and class names are printable text."""
    data = tmp_path / "data"
    flat_images(data)
    page.make(data)
    expected = counted(page.outcome if page.outcome == "error" else f"4 scanned ignored {page.outcome}")
    assert statuses_of(data) == expected
    if page.outcome != "error":
        source = open_source(str(data))
        assert all(name.strip() and name.encode() for name in source.class_names)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("name", ["a", "a/0.png"])
def test_what_may_not_be_read_is_counted(tmp_path: Path, name: str) -> None:
    """A folder that cannot be listed is one unreadable item, and so is a file."""
    data = tmp_path / "data"
    good_images(data)
    (data / name).chmod(0)
    try:
        assert census_of(data).counts["unreadable"] == 1
    finally:
        (data / name).chmod(0o700)
