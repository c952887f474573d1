"""The gate and verdict folders that somebody made: what contradicts itself, or is no file, is not believed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from toy_gates import TOTAL, failed
from toy_verdicts import write_folder, write_verdict

from sanitizer import Policy, gate, pipeline
from sanitizer.actions.manifest import write_manifest
from sanitizer.outcome import CANNOT_VOUCH
from sanitizer.record import REPORT, TABLE, Verdict


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of images."""
    return write_folder(tmp_path / "data")


def rewritten(folder: Path, table: pa.Table, summary: dict[str, Any]) -> None:
    """A verdict folder in which every digest fits, whatever table and summary say."""
    forged = Verdict(table, summary)
    forged.write(folder)
    write_manifest(forged, folder)


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """The table with other values in a column."""
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("column", "values", "part"),
    [
        ("suspicious", [False] * TOTAL, "not suspicious"),
        ("kind", [""] * TOTAL, "not suspicious"),
        ("kind", ["odd"] + [""] * (TOTAL - 1), "nothing known"),
        ("kind", [None] + [""] * (TOTAL - 1), "lack"),
        ("suspicious", [None] + [False] * (TOTAL - 1), "lack"),
        ("status", ["fine"] + ["scanned"] * (TOTAL - 1), "ended as nothing known"),
        ("status", ["ignored"] + ["scanned"] * (TOTAL - 1), "counts"),
        ("id", ["cat/0.png"] * TOTAL, "twice"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_not_believed(
    data: Path, monkeypatch: pytest.MonkeyPatch, column: str, values: list[Any], part: str
) -> None:
    """Though every digest fits, and whoever wrote it."""

    def scan(source: Path, out: Path, *given: Any) -> None:
        made = write_verdict(source, out)
        flagged = str(made.table["id"][0])
        made = write_verdict(source, out, {flagged: "planted"})
        rewritten(out, with_column(made.table, column, values), dict(made.summary))

    monkeypatch.setattr(pipeline, "scan", scan)
    outcome = gate(data, Policy(max_flagged_fraction=1, max_flagged_fraction_per_class=1))
    assert (outcome.code, failed(outcome)[0]) == (CANNOT_VOUCH, "consistent")
    assert part in outcome.reasons[0]


@pytest.mark.parametrize("part", ["answer", "classes", "detectors", "calibration"])
@pytest.mark.parametrize("value", [None, 3, [], [3], {"x": 3}])
def test_a_summary_in_another_shape_is_not_believed(data: Path, tmp_path: Path, part: str, value: Any) -> None:
    """Nothing raises, and nothing passes: a folder of another tool, or one made by hand."""
    folder = tmp_path / "verdict"
    made = write_verdict(data, folder)
    rewritten(folder, made.table, {**made.summary, part: value})
    outcome = gate(data, Policy(require_calibration="self"), verdict=folder)
    assert outcome.code == CANNOT_VOUCH or (part, value) == ("classes", [])
    assert outcome.checks


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_without_a_verdict_there_is_an_outcome_and_no_verdict(data: Path, tmp_path: Path, there: bool) -> None:
    """Missing or empty: the reason names the folder."""
    if there:
        (tmp_path / "verdict").mkdir()
    outcome = gate(data, verdict=tmp_path / "verdict")
    assert (outcome.code, outcome.verdict, outcome.counts) == (CANNOT_VOUCH, None, {})
    assert str(tmp_path / "verdict") in outcome.reasons[0]


def test_what_lies_in_the_folder_must_be_files(data: Path, tmp_path: Path) -> None:
    """A pipe in place of a table would be waited for for ever, a folder would be read as many tables."""
    folder = tmp_path / "verdict"
    for make in (lambda path: os.mkfifo(path), lambda path: path.mkdir()):
        write_verdict(data, folder)
        (folder / TABLE).unlink()
        make(folder / TABLE)
        outcome = gate(data, verdict=folder)
        assert outcome.code == CANNOT_VOUCH
        assert TABLE in outcome.reasons[0]
        shutil.rmtree(folder)


def test_the_report_is_neither_needed_nor_believed(data: Path, tmp_path: Path) -> None:
    """It is built again from the rest by whoever wants to read it."""
    folder = tmp_path / "verdict"
    write_verdict(data, folder)
    (folder / REPORT).write_text("anything")
    assert gate(data, verdict=folder).ok
    (folder / REPORT).unlink()
    assert gate(data, verdict=folder).ok
