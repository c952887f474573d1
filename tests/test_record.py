"""The record: an identity over the conclusion alone, a folder that is read as it was written, an exit code."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sanitizer.errors import UsageError, VerdictError
from sanitizer.record import SUMMARY, TABLE, VOLATILE, Verdict


def rows() -> list[dict[str, Any]]:
    """Three items: clean, flagged, unreadable."""
    common = {"view_digest": "0" * 64, "label": 0, "label_name": "cat", "nearest": [], "score_one": 0.25}
    return [
        common | {"id": "cat/a.png", "digest": "a", "status": "scanned", "suspicious": False, "kind": "",
                  "score": 0.5, "p_value": 0.3, "reasons": []},
        common | {"id": "cat/b.png", "digest": "b", "status": "scanned", "suspicious": True, "kind": "planted",
                  "score": 7.5, "p_value": 3e-8, "reasons": ["It stands apart."], "nearest": ["cat/a.png"]},
        dict.fromkeys(common) | {"id": "cat/c.png", "digest": None, "status": "unreadable", "suspicious": False,
                                 "kind": "", "score": None, "p_value": None, "reasons": ["cut off"], "nearest": []},
    ]  # fmt: skip


def summary(**parts: Any) -> dict[str, Any]:
    """A summary that fits the rows."""
    return {
        "tool": "dataset-sanitizer",
        "source": "/data/cats",
        "answer": {"poison_found": True, "planted": 1, "sentence": "1 of 2 samples looks planted."},
        "counts": {"scanned": 2, "unreadable": 1, "refused": 0, "ignored": 0},
        "classes": [{"label": 0, "name": "cat", "score": 2.123456}],
        "parameters": {"max_drop": 0.2, "detectors": ["auto"]},
        "versions": {"torch": "2.6"},
        "timings": {"reading": 1.5},
        "device": "auto",
        "seed": 0,
        "notes": [],
        "incomplete": [],
    } | parts


def verdict(items: list[dict[str, Any]] | None = None, **parts: Any) -> Verdict:
    """A verdict over the rows, or over others."""
    return Verdict(pa.Table.from_pylist(rows() if items is None else items), summary(**parts))


def test_what_may_differ_between_equal_scans_is_not_in_the_digest() -> None:
    """How long it took, where, and with which versions."""
    assert set(VOLATILE) == {"timings", "versions", "source", "device"}
    for part in VOLATILE:
        assert verdict(**{part: "something else"}).digest == verdict().digest


@pytest.mark.parametrize("part", sorted(set(summary()) - set(VOLATILE)))
def test_every_other_part_of_the_summary_is(part: str) -> None:
    """A changed answer, parameter, seed or note is another verdict."""
    assert verdict(**{part: "something else"}).digest != verdict().digest


@pytest.mark.parametrize("column", sorted(rows()[0]))
@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_cell_is_in_the_digest(column: str, number: int) -> None:
    """Whatever changes in any row changes the digest."""
    items = copy.deepcopy(rows())
    old = items[number][column]
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, list):
        new = [*old, "more"]
    elif column == "label":
        new = 1
    elif column in ("score", "p_value", "score_one"):
        new = (old or 0) + 0.001
    else:
        new = "other"
    items[number][column] = new
    assert verdict(items).digest != verdict().digest


def test_float_noise_is_not() -> None:
    """The last digits of a score may differ between machines, in the table and in the summary."""
    items = copy.deepcopy(rows())
    items[0]["score"] += 1e-9
    items[0]["p_value"] -= 1e-9
    classes = [{"label": 0, "name": "cat", "score": 2.123456 + 1e-9}]
    assert verdict(items, classes=classes).digest == verdict().digest


def test_a_missing_or_additional_row_is_another_verdict() -> None:
    """No item can be left out unnoticed."""
    assert verdict(rows()[:2]).digest != verdict().digest
    assert verdict([*rows(), rows()[0] | {"id": "cat/d.png"}]).digest != verdict().digest


def test_neither_the_order_of_rows_nor_that_of_columns_matters() -> None:
    """The digest is over what is said, not how it is listed."""
    whole = verdict()
    assert verdict(rows()[::-1]).digest == whole.digest
    turned = whole.table.select(whole.table.column_names[::-1])
    assert Verdict(turned, dict(reversed(whole.summary.items()))).digest == whole.digest


def test_minus_zero_is_zero() -> None:
    """A score that rounds to nothing has one way to be written."""
    items = copy.deepcopy(rows())
    items[0]["score"] = -1e-9
    other = copy.deepcopy(rows())
    other[0]["score"] = 1e-9
    assert verdict(items).digest == verdict(other).digest


def test_a_verdict_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Table, summary and digest; tuples in the summary may become lists."""
    written = verdict(parameters={"detectors": ("auto",)})
    written.write(tmp_path)
    found = Verdict.read(tmp_path)
    assert found.table.equals(written.table)
    assert found.digest == written.digest
    assert found.poison_found
    assert found.counts == {"scanned": 2, "unreadable": 1, "refused": 0, "ignored": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([SUMMARY, TABLE])


def test_writing_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    """A folder that does not exist."""
    with pytest.raises(UsageError, match="cannot write"):
        verdict().write(tmp_path / "absent")


def spoil(folder: Path, how: str) -> None:
    """Make a verdict folder into something that is none."""
    table, said = folder / TABLE, folder / SUMMARY
    if how == "a part is missing":
        said.unlink()
    elif how == "the table is cut off":
        table.write_bytes(table.read_bytes()[:-50])
    elif how == "the table is no Parquet":
        table.write_bytes(b"hello")
    elif how == "the summary is no JSON":
        said.write_text("{")
    elif how == "the summary is no text":
        said.write_bytes(b"\xff\xfe\xfa")
    elif how == "the summary is a list":
        said.write_text("[]")
    elif how == "the summary is of something else":
        said.write_text(json.dumps({"name": "a package"}))
    elif how == "the table is of something else":
        pq.write_table(pa.table({"x": [1, 2]}), table)


@pytest.mark.parametrize(
    "how",
    [
        "a part is missing",
        "the table is cut off",
        "the table is no Parquet",
        "the summary is no JSON",
        "the summary is no text",
        "the summary is a list",
        "the summary is of something else",
        "the table is of something else",
    ],
)
def test_what_is_no_verdict_folder_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    """With the folder's name and what to run."""
    verdict().write(tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(VerdictError, match="expected a verdict folder") as caught:
        Verdict.read(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "sanitizer scan" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent", "file", "file/below"])
def test_a_path_without_a_folder_is_refused_too(tmp_path: Path, name: str) -> None:
    """Nothing there, a file, or something below a file."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(VerdictError, match="expected a verdict folder"):
        Verdict.read(tmp_path / name)


@pytest.mark.parametrize(
    ("planted", "refused", "unreadable", "scanned", "incomplete", "expected"),
    [
        (False, 0, 0, 9, (), 0),
        (False, 0, 3, 9, (), 0),
        (True, 0, 0, 9, (), 1),
        (False, 2, 0, 9, (), 1),
        (True, 2, 1, 9, ("a detector failed",), 2),
        (False, 0, 0, 9, ("a detector failed",), 2),
        (False, 0, 3, 0, (), 2),
        (False, 2, 0, 0, (), 2),
    ],
)
def test_the_exit_code(
    planted: bool, refused: int, unreadable: int, scanned: int, incomplete: tuple[str, ...], expected: int
) -> None:
    """0: complete and clean, unreadable or not; 1: planted or hostile items; 2: incomplete, or nothing scanned."""
    found = verdict(
        answer={"poison_found": planted},
        counts={"scanned": scanned, "unreadable": unreadable, "refused": refused, "ignored": 0},
        incomplete=list(incomplete),
    )
    assert found.exit_code == expected
    assert found.incomplete == incomplete


def test_the_flagged_come_worst_first() -> None:
    """By score, then by id."""
    items = [rows()[1] | {"id": name, "score": score} for name, score in [("b", 1.0), ("a", 1.0), ("c", 9.0)]]
    assert verdict([*items, rows()[0], rows()[2]]).suspicious()["id"].to_pylist() == ["c", "a", "b"]


def test_a_verdict_shows_its_answer() -> None:
    """In one sentence."""
    assert repr(verdict()) == "Verdict('1 of 2 samples looks planted.')"
