"""Ready-made vectors: rows keep their identity from file to file, and what is odd is said by row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vector_toys import LABELS, ROWS, alter, keep, seen, source_of, told

from sanitizer.errors import SourceError, UsageError
from sanitizer.sources.base import Source, digest_of
from sanitizer.sources.census import take_census
from sanitizer.sources.npz import NpzSource
from sanitizer.sources.vectors import ParquetVectorSource

kinds = pytest.mark.parametrize("kind", ["npz", "parquet"])


@kinds
def test_a_row_is_its_float32_bytes(tmp_path: Path, kind: str) -> None:
    """Its digest is theirs; classes that are numbers are in their order."""
    source = source_of(kind, tmp_path)
    assert source.holds == "vectors"
    assert source.root == tmp_path.resolve()
    assert source.class_names == ("0", "1", "2", "10")
    assert seen(source) == [(f"v.{kind}#{row}", str(label)) for row, label in enumerate(LABELS)]
    assert [item.content for item in source.stream()] == [row.tobytes() for row in ROWS]
    census = take_census(source)
    assert {sample.digest for sample in census.samples} == {digest_of(row.tobytes()) for row in ROWS}
    assert np.array_equal(np.sort(census.vectors(), axis=0), np.sort(ROWS, axis=0))


@kinds
def test_both_layouts_tell_the_same(tmp_path: Path, kind: str) -> None:
    """Whatever the precision, as long as float32 holds it, and whatever the order in memory."""
    expected = told(source_of("npz", tmp_path / "expected"))
    assert told(source_of(kind, tmp_path / "plain")) == expected
    assert told(source_of(kind, tmp_path / "wide", ROWS.astype(np.float64), LABELS.astype(np.int8))) == expected
    assert told(source_of(kind, tmp_path / "fortran", np.asfortranarray(ROWS).astype(">f4"), LABELS)) == expected
    shuffle = np.random.default_rng(1).permutation(len(ROWS))
    assert told(source_of(kind, tmp_path / "shuffled", ROWS[shuffle], LABELS[shuffle])) == expected


@kinds
def test_only_what_is_wanted_is_given(tmp_path: Path, kind: str) -> None:
    """Ids that nobody has are passed over."""
    source = source_of(kind, tmp_path)
    wanted = frozenset({f"v.{kind}#5", f"v.{kind}#0", f"v.{kind}#99", "other#1"})
    assert [item.content for item in source.stream(wanted)] == [ROWS[0].tobytes(), ROWS[5].tobytes()]


@kinds
def test_a_set_without_labels_has_none(tmp_path: Path, kind: str) -> None:
    """A copy of it neither."""
    source = source_of(kind, tmp_path / "d", labels=None)
    assert source.class_names == ()
    assert {name for _, name in seen(source)} == {None}
    source.rewrite(tmp_path / "copy", keep)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [f"v.{kind}"]
    with pytest.raises(UsageError, match="expected a label below 0, got 0"):
        source.rewrite(tmp_path / "labelled", lambda found: (found.content or b"", 0))


@kinds
@pytest.mark.parametrize("labels", [LABELS, np.array(list("babacab")), None])
def test_a_copy_of_nothing_changed_is_the_same_set(tmp_path: Path, kind: str, labels: Any) -> None:
    """Ids, contents and labels."""
    source = source_of(kind, tmp_path / "d", labels=labels)
    new_ids = source.rewrite(tmp_path / "copy", keep)
    assert new_ids == {id: id for id, _ in seen(source)}
    path = str(tmp_path / "copy" / f"v.{kind}")
    copied: Source = NpzSource(path) if kind == "npz" else ParquetVectorSource(path)
    assert seen(copied) == seen(source)
    assert told(copied) == told(source)


@kinds
def test_a_copy_carries_new_vectors_and_labels_and_leaves_out_what_it_should(tmp_path: Path, kind: str) -> None:
    """In the order that was."""
    source = source_of(kind, tmp_path / "d")
    new_ids = source.rewrite(tmp_path / "copy", alter)
    assert new_ids == {f"v.{kind}#{old}": f"v.{kind}#{new}" for new, old in enumerate([0, 2, 3, 4, 5, 6])}
    path = str(tmp_path / "copy" / f"v.{kind}")
    copied: Source = NpzSource(path) if kind == "npz" else ParquetVectorSource(path)
    assert [item.content for item in copied.stream()] == [ROWS[row].tobytes() for row in (0, 0, 3, 4, 5, 6)]
    assert [name for _, name in seen(copied)] == ["0", "10", "0", "1", "2", "10"]


@kinds
def test_a_failing_copy_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """A label that no class has, a vector of another length, or a change that raises."""
    source = source_of(kind, tmp_path / "d")
    with pytest.raises(UsageError, match="expected a label below 4, got 4"):
        source.rewrite(tmp_path / "copy", lambda found: (found.content or b"", 4))
    with pytest.raises(UsageError, match="vectors of 3 float32 numbers, got 4 bytes"):
        source.rewrite(tmp_path / "copy", lambda found: (b"1234", 0))
    with pytest.raises(ZeroDivisionError):
        source.rewrite(tmp_path / "copy", lambda found: (b"", 1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@kinds
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_the_first_row_that_is_not_finite_is_named(tmp_path: Path, kind: str, value: float) -> None:
    """Also where only float32 cannot hold it."""
    rows = ROWS.astype(np.float64)
    rows[4, 1] = rows[5, 2] = value
    with pytest.raises(
        SourceError, match=rf"finite float32 numbers, got {re.escape(str(value))} in 'v\.{kind}#4'"
    ) as caught:
        list(source_of(kind, tmp_path, rows).stream())
    assert "\n" not in str(caught.value)
