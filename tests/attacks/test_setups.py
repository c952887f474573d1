"""Fixed setups out of the files of the public benchmark: what does not fit them is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from crafts import toy_source
from made import source_of

from sanitizer.attacks.setups import Setup, read_setup, rows_at
from sanitizer.errors import UsageError
from sanitizer.sources.census import take_census

GOOD = {"target class": 1, "target index": 3, "base class": 0, "base indices": [8, 0, 4]}


def written(root: Path, content: object) -> str:
    """A file of setups."""
    path = root / "setups.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_setup_is_read(tmp_path: Path) -> None:
    """By its number."""
    path = written(tmp_path, [{**GOOD, "target index": 9}, GOOD])
    assert read_setup(path, 1) == Setup(1, 3, 0, (8, 0, 4))


def test_a_number_out_of_range_is_refused(tmp_path: Path) -> None:
    """With the range."""
    with pytest.raises(UsageError, match="setup: expected a number from 0 to 0, got 1"):
        read_setup(written(tmp_path, [GOOD]), 1)


@pytest.mark.parametrize(
    "content",
    [
        "{", "null", "3", {}, [[]], [{}], [{**GOOD, "base indices": 3}], [{**GOOD, "base indices": []}],
        [{**GOOD, "base class": 1}], [{**GOOD, "target index": "first"}], '[{"target class": Infinity}]', "[" * 100_000,
        '[{"target class": Infinity, "target index": 3, "base class": 0, "base indices": [1]}]',
    ],
)  # fmt: skip
def test_a_file_that_holds_no_setups_is_refused(tmp_path: Path, content: object) -> None:
    """Whatever else it holds."""
    with pytest.raises(UsageError, match=r"^setups?: expected ") as caught:
        read_setup(written(tmp_path, content), 0)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="No such file"):
        read_setup(str(tmp_path / "none.json"), 0)


def test_rows_are_found_by_their_number_in_the_table(tmp_path: Path) -> None:
    """The samples of those numbers, in canonical order, once each."""
    census = take_census(source_of(tmp_path / "source", count=40))
    rows = rows_at(census, [8, 0, 36, 8], 0, "base indices")
    assert np.array_equal(rows, np.sort(rows))
    assert {census.samples[row].id.rpartition("#")[2] for row in rows} == {"0", "8", "36"}


def test_rows_of_another_class_are_refused(tmp_path: Path) -> None:
    """The data are in another order than the setups."""
    census = take_census(source_of(tmp_path / "source", count=8))
    with pytest.raises(UsageError, match="expected class 1 at the rows of its target index"):
        rows_at(census, [4], 1, "target index")


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """So are samples that are no rows."""
    census = take_census(source_of(tmp_path / "source", count=8))
    with pytest.raises(UsageError, match="with a row 40 for its base indices, got 8 numbered rows"):
        rows_at(census, [4, 40], 0, "base indices")
    files = take_census(toy_source(tmp_path / "files", each=2))
    with pytest.raises(UsageError, match="got 0 numbered rows"):
        rows_at(files, [0], 0, "base indices")
