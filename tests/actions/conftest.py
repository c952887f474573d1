"""A verdict folder to test against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_up import make_census

from sanitizer.actions.gallery import build_gallery
from sanitizer.actions.manifest import write_manifest
from sanitizer.record import GALLERY, Verdict
from sanitizer.sources.base import Holds


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
