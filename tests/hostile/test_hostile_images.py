"""Every hostile image: one status, the same in every layout, and never anything else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sanitizer.sources.decode import LIMITS, Refused, Unreadable, decode
from tests.hostile.book import Page
from tests.hostile.census import census_of, statuses_of
from tests.hostile.images import IMAGES
from tests.hostile.tables import stored, table


@pytest.mark.parametrize("page", list(IMAGES), ids=lambda page: page.name)
def test_an_image_comes_to_one_status(tmp_path: Path, page: Page) -> None:
    """Under a name that claims another format, beside a good image."""
    good = IMAGES.pages["png_of_one_pixel"].make()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hostile.jpg").write_bytes(page.make())
    (tmp_path / "data" / "good.png").write_bytes(good)
    census = census_of(tmp_path / "data")
    found = {sample.id: "scanned" for sample in census.samples} | {one.id: str(one.status) for one in census.others}
    assert found == {"hostile.jpg": page.outcome, "good.png": "scanned"}


def test_the_layout_makes_no_difference(tmp_path: Path) -> None:
    """A folder, Parquet and a tar with all of them: the same counts, item by item."""
    contents = {page.name: page.make() for page in IMAGES}
    (tmp_path / "folder").mkdir()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in contents.items():
            (tmp_path / "folder" / f"{name}.png").write_bytes(content)
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    rows = table(list(contents.values())).drop_columns(["label"])
    (tmp_path / "x.parquet").write_bytes(stored(rows, compression="zstd"))
    folder, parquet, tar = (statuses_of(tmp_path / name) for name in ("folder", "x.parquet", "x.tar"))
    assert folder == parquet == tar
    assert sum(folder.values()) == len(IMAGES)


def test_no_image_is_written_or_read_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding happens in memory: it opens no file."""

    def forbidden(*words: object) -> None:
        raise AssertionError(words)

    contents = [page.make() for page in IMAGES]
    for content in contents:  # what is imported late is imported now
        _outcome_of(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.open", forbidden)
    monkeypatch.setattr("os.open", forbidden)
    for page, content in zip(IMAGES, contents, strict=True):
        assert _outcome_of(content) == page.outcome, page.name
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def _outcome_of(content: bytes) -> str:
    try:
        decode(content, LIMITS)
    except Unreadable:
        return "unreadable"
    except Refused:
        return "refused"
    return "scanned"
