"""Verdict folders to test against, and a source with flagged files that are about to be moved."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from made_up import make_census

from sanitizer.actions.gallery import build_gallery
from sanitizer.actions.manifest import write_manifest
from sanitizer.record import GALLERY, Verdict
from sanitizer.sources.base import Holds

if TYPE_CHECKING:
    from quarantine_toys import Scene


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a verdict with its gallery and manifest, and says where."""

    def write(verdict: Verdict, *, losses: Any = None, side: int = 32, holds: Holds = "images") -> Path:
        folder = tmp_path / "verdict"
        folder.mkdir(exist_ok=True)
        verdict.write(folder)
        gallery = build_gallery(verdict=verdict, census=make_census(verdict, side, holds=holds), losses=losses)
        pq.write_table(gallery, folder / GALLERY)
        write_manifest(verdict, folder)
        return folder

    return write


@pytest.fixture
def unhurried_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here: the hundreds of waits for the disk are left out."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def scene(tmp_path: Path, write_folder: Callable[..., Path], unhurried_disk: None) -> Scene:
    """Two flagged files in awkward places."""
    from quarantine_toys import make_scene  # only here: it imports tests, which pytest has to see first

    return make_scene(tmp_path, write_folder)


@pytest.fixture(params=["links", "copies", "no links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> str:
    """Quarantine on the same file system, on another one, and on one where no file has two names."""
    known, kind, verdict = os.link, str(request.param), Verdict.read(scene.folder)
    monkeypatch.setattr(Verdict, "read", lambda folder: verdict)  # a hundred times the same

    def link(old: Path, new: Path, **named: Any) -> None:
        if kind == "no links":
            raise OSError(errno.EPERM, "not permitted")
        if kind == "copies" and Path(old).parent != Path(new).parent:
            raise OSError(errno.EXDEV, "another file system")
        known(old, new, **named)

    monkeypatch.setattr(os, "link", link)
    return kind
