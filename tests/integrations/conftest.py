"""A small set of images in class folders, a verdict on it that flags some, and one that flags none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from toys import write_toys

from sanitizer.actions.gallery import build_gallery
from sanitizer.actions.manifest import write_manifest
from sanitizer.conclusion import Findings, summary_of, table_of
from sanitizer.evidence import build_evidence
from sanitizer.record import GALLERY, Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census
from sanitizer.verdict import Calibration, judge

#: Of class "bar", by the order of a census.
FLAGGED = 6


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Class folders."""
    write_toys(tmp_path / "images", seed=1)
    return tmp_path / "images"


@pytest.fixture
def verdict_on(tmp_path: Path) -> Callable[..., Path]:
    """A verdict folder as a scan writes it, on a set of which it flags so many of the first class."""

    def write(images: Path, count: int = FLAGGED) -> Path:
        census = take_census(open_source(str(images)))
        evidence = build_evidence({}, census.labels(), census.class_names, census.keys(), ())
        judged = judge(evidence, {}, Calibration())
        chosen = np.flatnonzero(census.labels() == 0)[:count]
        judged.suspicious[chosen], judged.kind[chosen] = True, "planted"
        for row in chosen:
            judged.reasons[row] = ("It was planted.",)
        found = Findings(census, evidence, {}, judged, [], [])
        made = {"source": str(images), "parameters": {"max_drop": 0.2}, "seed": 0, "timings": {}, "view": "RGB",
                "calibration": Calibration().facts(), "model": {}, "reference": None, "device": "cpu"}  # fmt: skip
        verdict = Verdict(table_of(found), summary_of(found) | made)
        folder = tmp_path / f"verdict{count}"
        folder.mkdir()
        verdict.write(folder)
        pq.write_table(build_gallery(verdict=verdict, census=census, losses=None), folder / GALLERY)
        write_manifest(verdict, folder)
        return folder

    return write
