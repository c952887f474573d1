"""An explanation says everything that a verdict folder knows about one item, and finds the item that is meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_up import TRUSTED, flagged, make_verdict, row, unread

from sanitizer.actions.explain import Standing, explain, item_of, standings
from sanitizer.errors import VerdictError
from sanitizer.record import SUMMARY, TABLE

Write = Callable[..., Path]
SAYS = "outliers along the main axis"
PLANTED = flagged(
    "train/cat/0007.png", score_spectral=5.5, score_density=-1.0, reasons=[SAYS], nearest=["train/cat/0008.png"]
)
WRONG = flagged("train/dog/0001.png", "dog", kind="label", score=3.0)


@pytest.fixture
def folder(write_folder: Write) -> Path:
    """A verdict with one sample of each sort."""
    cats = [row(f"train/cat/{n:04}.png", score_spectral=float(n), score_density=float(n)) for n in range(7)]
    dogs = [row(f"train/dog/{n:04}.png", "dog", score_spectral=100.0) for n in range(1, 4)]
    broken = unread("train/cat/cut.png", reasons=["truncated PNG data"])
    return write_folder(make_verdict([*cats, PLANTED, WRONG, *dogs[1:], broken]))


def test_a_flagged_sample(folder: Path) -> None:
    """What it is, as what, how surely and why; ranks within its own class only."""
    assert explain(folder, "train/cat/0007.png") == [
        "train/cat/0007.png: scanned, labelled cat",
        f"sha256 {PLANTED['digest']}",
        "Flagged: it looks planted.",
        "p-value 0.001, score 9: highest of 8",
        f"  {SAYS}",
        "Class cat: evidence 1.5 (suspect from 1.25 on); two groups.",
        "Detectors, with the rank of its score in its class:",
        "  spectral         5.5  2nd highest of 8; a reason",
        "  density           -1  8th highest of 8",
        "Nearest: train/cat/0008.png",
        "Calibration: Calibrated on the set itself.",
    ]


def test_a_sample_that_was_not_flagged(folder: Path) -> None:
    """It is said that it was not."""
    lines = explain(folder, "train/cat/0003.png")
    assert "Not flagged." in lines
    assert "p-value 0.5, score 0.25: 2nd highest of 8" in lines
    assert "  spectral           3  5th highest of 8" in lines
    assert "Nearest: kept of flagged samples only." in lines


def test_a_label_in_doubt(folder: Path) -> None:
    """It is not called planted."""
    assert "Flagged: its label looks wrong." in explain(folder, "train/dog/0001.png")


def test_an_item_that_was_not_scanned(folder: Path) -> None:
    """Why not, and nothing more."""
    assert explain(folder, "cut.png") == ["train/cat/cut.png: unreadable", "Why: truncated PNG data."]


def test_without_labels_ranks_are_among_all(write_folder: Write) -> None:
    """There is no class to speak of."""
    rows = [row(f"#{n}", None, label=None, score=float(n)) for n in range(12)]
    lines = explain(write_folder(make_verdict(rows)), "#2")
    assert "p-value 0.5, score 2: 10th highest of 12" in lines
    assert "Detectors, with the rank of its score:" in lines
    assert not any(line.startswith("Class") for line in lines)


def test_a_trusted_calibration_in_its_own_words(write_folder: Write) -> None:
    """It has no margin of classes."""
    lines = explain(write_folder(make_verdict([PLANTED], calibration=TRUSTED)), "0007.png")
    assert lines[-1] == "Calibration: Calibrated on 999 trusted samples."
    assert "Class cat: evidence 1.5; two groups." in lines


@pytest.mark.parametrize(
    "name", ["7.png", "cat/0007.png", "0007.png", PLANTED["digest"][:6], PLANTED["digest"].upper()]
)
def test_part_of_a_name_is_enough_if_it_is_the_only_one(folder: Path, name: str) -> None:
    """An end of the id, or the start of the digest."""
    assert explain(folder, name) == explain(folder, "train/cat/0007.png")


def test_a_whole_id_wins_over_the_end_of_another(write_folder: Write) -> None:
    """``a.png`` is meant, not ``x/a.png``."""
    folder = write_folder(make_verdict([row("a.png"), row("x/a.png")]))
    assert explain(folder, "a.png")[0].startswith("a.png:")


@pytest.mark.parametrize("name", ["0001.png", "0002.png", ".png"])
def test_an_end_of_several_names_them(folder: Path, name: str) -> None:
    """So that more can be written."""
    with pytest.raises(VerdictError, match=r"means \d+ of them \(train/cat/000.*name all of it"):
        explain(folder, name)


def test_copies_share_a_digest(write_folder: Write) -> None:
    """It names both of them."""
    folder = write_folder(make_verdict([row("a", digest="abcdef" + "0" * 58), row("b", digest="abcdef" + "0" * 58)]))
    with pytest.raises(VerdictError, match=r"means 2 of them \(a, b, "):
        explain(folder, "abcdef")


@pytest.mark.parametrize("name", ["train/cat/00007.png", "train/cat/007.png", "", "abcde", "zzzzzz", "x" * 500])
def test_an_unknown_name_gets_the_nearest_ones(folder: Path, name: str) -> None:
    """In one line."""
    with pytest.raises(VerdictError, match="did you mean 'train/") as error:
        explain(folder, name)
    assert "\n" not in str(error.value)
    if "7" in name:
        assert re.search(r"mean '.*0007\.png' or ", str(error.value))


def test_the_nearest_of_very_many_are_found_at_once(write_folder: Write) -> None:
    """Comparing a typo with all of them would take minutes."""
    from made_up import SCHEMA

    verdict = make_verdict([row("x")])
    ids = [f"train/{n:06}.png" for n in range(50_000)]
    columns = [pa.array(ids) if name == "id" else pa.nulls(len(ids), SCHEMA.field(name).type) for name in SCHEMA.names]
    folder = write_folder(verdict)
    pa.parquet.write_table(pa.table(columns, schema=SCHEMA), folder / TABLE)
    for typo in ("trian/012345.png", "train/012345.pgn", "/data/train/012345.png"):
        with pytest.raises(VerdictError, match=r"mean 'train/012345\.png' or"):
            explain(folder, typo)


@pytest.mark.parametrize("damage", ["no score", "no detectors", "calibration", "classes", "text scores"])
def test_a_foreign_verdict_is_an_error_of_one_line(folder: Path, damage: str) -> None:
    """Whatever is missing or of another kind."""
    import json

    import pyarrow.parquet as pq

    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_bytes())
    table = pq.read_table(folder / TABLE)
    if damage == "no score":
        table = table.set_column(table.column_names.index("score"), "score", pa.nulls(table.num_rows, pa.float64()))
    elif damage == "text scores":
        column = pa.array([["?"]] * table.num_rows)
        table = table.set_column(table.column_names.index("score_spectral"), "score_spectral", column)
    elif damage == "no detectors":
        del summary["detectors"]
    else:
        summary[damage] = 7
    pq.write_table(table, folder / TABLE)
    (folder / SUMMARY).write_text(json.dumps(summary))
    with pytest.raises(VerdictError, match="scan again") as error:
        explain(folder, "train/cat/0007.png")
    assert "\n" not in str(error.value)


def test_equal_scores_share_the_better_rank(write_folder: Write) -> None:
    """Ties are nobody's fault."""
    rows = [row(f"{n}", score=float(np.floor(n / 2))) for n in range(8)]
    folder = write_folder(make_verdict(rows))
    ranks = [re.search(r": (\w+)(?: highest)? of 8", explain(folder, f"{n}")[3]) for n in range(8)]
    assert [rank[1] if rank else "" for rank in ranks] == [
        "7th",
        "7th",
        "5th",
        "5th",
        "3rd",
        "3rd",
        "highest",
        "highest",
    ]


def test_standings_say_in_numbers_what_the_lines_say_in_words(folder: Path) -> None:
    """For whoever draws them: place, size of the class, and who spoke against the sample; no zero is below zero."""
    verdict, item = item_of(folder, "0007.png")
    assert standings(verdict, item) == [
        Standing("spectral", 5.5, place=2, among=8, is_reason=True),
        Standing("density", -1.0, place=8, among=8, is_reason=False),
    ]
    zero = dict(item, score_density=-0.0)
    assert str(standings(verdict, zero)[1].score) == "0.0"
