"""Names of what a source holds: all of them, once each, in blocks that can be read by themselves."""

import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from toy_engines import ROWS_IN_A_GROUP, parquet
from toy_scans import poisoned
from toys import toy_images, write_toys

from sanitizer.engines import references
from sanitizer.engines.references import blocks_of
from sanitizer.sources.base import Source, open_source
from sanitizer.sources.pooled import PooledSource


def tar(path: Path) -> Path:
    """Toys beside their labels."""
    with tarfile.open(path, "w") as archive:
        for number, (name, content, _) in enumerate(toy_images(each=5)):
            for extension, body in (("png", content), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{number:04d}.{extension}")
                member.size = len(body)
                archive.addfile(member, BytesIO(body))
    return path


def pooled(tmp_path: Path) -> Source:
    """Two folders as one source."""
    for name in ("suspect", "trusted"):
        write_toys(tmp_path / name, each=4, planted=0, seed=len(name))
    return PooledSource(open_source(tmp_path / "suspect"), open_source(tmp_path / "trusted"))


@pytest.fixture(params=["folder", "parquet", "tar", "pooled"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """One of each layout."""
    if request.param == "folder":
        return open_source(poisoned(tmp_path / "set")[0])
    if request.param == "pooled":
        return pooled(tmp_path)
    return open_source((parquet if request.param == "parquet" else tar)(tmp_path / f"set.{request.param}"))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_item_is_in_one_block(source: Source, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of blocks: the names are those that streaming gives, none twice, none left out."""
    monkeypatch.setattr(references, "BLOCK_ITEMS", size)
    names = [name for block in blocks_of(source) for name in block]
    assert len(set(names)) == len(names)
    assert set(names) == {found.id for found in source.stream()}


def test_a_block_can_be_read_by_itself(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for the names of a block, a source gives these items and no others."""
    monkeypatch.setattr(references, "BLOCK_ITEMS", 7)
    for block in blocks_of(source)[:3]:
        assert {found.id for found in source.stream(frozenset(block))} == set(block)


def test_row_groups_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read as a whole or not at all, so no two workers should need the same one."""
    monkeypatch.setattr(references, "BLOCK_ITEMS", 10)
    sizes = [len(block) for block in blocks_of(open_source(parquet(tmp_path / "set.parquet")))]
    assert set(sizes[:-1]) == {ROWS_IN_A_GROUP}


def test_there_are_never_too_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source looks through all that it holds for each of them."""
    monkeypatch.setattr(references, "BLOCK_ITEMS", 1)
    monkeypatch.setattr(references, "MOST_BLOCKS", 5)
    assert len(blocks_of(open_source(poisoned(tmp_path / "set")[0]))) <= 5
