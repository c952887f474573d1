"""The tables: seeds are averaged, the control is no failure of recall, and what failed is named."""

from __future__ import annotations

from typing import Any

import pytest
from made_up_results import control, result, retrained

from sanitizer.evaluation.tables import FUSED, Table, overview, tables


def of(title: str, made: list[Table]) -> Table:
    """The table with this title."""
    return next(table for table in made if table.title == title)


def fields(table: Table, row: str) -> dict[str, str]:
    """A row by the names of its columns."""
    (found,) = [entries for name, entries in table.rows if name == row]
    return dict(zip(table.columns[1:], (entry.full for entry in found), strict=True))


def test_seeds_are_averaged_with_their_interval() -> None:
    """One row for two seeds; one seed has no interval."""
    made = tables([result(seed=0, recall=0.4), result(seed=1, recall=0.6), result("flip at 0.1")])
    answers = of("At the tool's own threshold", made)
    both = fields(answers, "badnets at 0.01")
    assert (both["runs"], both["found"], both["cover flagged"], both["seconds"]) == ("2", "2 of 2", "4 of 10", "3")
    assert both["poison flagged (planted)"] == "50.0 % (0.0 to 100.0)"
    assert fields(answers, "flip at 0.1")["poison flagged (any)"] == "50.0 %"


def test_a_heat_map_for_each_measure() -> None:
    """With a column for each detector, and the control left out: it has no poison to rank."""
    made = tables([result(), control()])
    auroc = of("AUROC", made)
    assert auroc.columns == ("set", FUSED, "lof")
    assert [name for name, _ in auroc.rows] == ["badnets at 0.01"]
    assert auroc.rows[0][1][0].heat == pytest.approx(0.5)
    assert auroc.centred
    assert not of("Recall at 0.1 % false positives", made).centred


def test_the_control_shows_false_alarms_and_no_recall() -> None:
    """A dash, which is no zero."""
    row = fields(of("At the tool's own threshold", tables([control()])), "none")
    assert (row["poison flagged (any)"], row["clean flagged (any)"], row["found"]) == ("–", "0.000 %", "0 of 1")
    assert fields(overview([control()])[0], "none")["best of one detector"] == "–"


def test_what_failed_is_named_everywhere() -> None:
    """Also if nothing else is there to be shown."""
    failed = {"row": "x", "name": "x, seed 0", "context": "c", "failed": "out of luck"}
    for made in (tables([failed, result()]), overview([failed])):
        assert fields(of("Failed", made), "x, seed 0") == {"why": "out of luck"}
    assert tables([]) == []


def test_rows_and_columns_stand_in_an_order_of_their_own() -> None:
    """Not in that of measuring: rates rise (by number), the control is last; the best detector is first everywhere."""
    rows = ["none", "badnets at 0.1", "flip at 0.1", "badnets at 0.02"]
    made = [control() if row == "none" else result(row) for row in rows]
    for one in made:
        one["detectors"] = {"worse": one["detectors"]["lof"], "best": dict(one["detectors"]["lof"])}
        if one["poison"]:
            one["detectors"]["best"] |= {"auroc": 0.9}
    told = tables(made)
    assert [name for name, _ in told[0].rows] == ["badnets at 0.02", "badnets at 0.1", "flip at 0.1", "none"]
    hot = [table for table in told if table.hot]
    assert len(hot) == 3
    assert all(table.columns == ("set", FUSED, "best", "worse") for table in hot)
    assert tables(made[::-1]) == told


def test_the_overview_names_the_best_detector() -> None:
    """Whose choice needs the truth, and beside it what all of them say."""
    better: dict[str, Any] = {"auroc": 0.9, "recall_at_1_percent": 0.0, "recall_at_0.1_percent": 0.0}
    made = result()
    made["detectors"]["dao"] = better
    row = fields(overview([made])[0], "badnets at 0.01")
    assert (row["best of one detector"], row["AUROC together"]) == ("dao 90.0 %", "50.0 %")


def test_victims_are_compared_seed_by_seed() -> None:
    """Two victims that differ by the same amount are a sure difference, however much they differ among themselves."""
    made = tables([result() | {"retraining": retrained([0.9, 0.5], [0.7, 0.3])}])
    assert fields(of("Victims", made), "badnets at 0.01: after")["removed"] == "5"
    changes = of("What removing changes", made)
    assert fields(changes, "badnets at 0.01: after - before")["success"] == "-20.0 % (-20.0 to -20.0)"
    assert fields(changes, "badnets at 0.01: random - before")["clean accuracy"] == "+0.0 % (+0.0 to +0.0)"


def test_victims_of_one_set_are_no_independent_sets() -> None:
    """Over two sets the interval is that of two means, not of four victims."""
    told = [retrained([1.0, 0.0], [0.0, 0.0]), retrained([0.5, 0.5], [0.0, 0.0])]
    made = tables([result(seed=seed) | {"retraining": one} for seed, one in enumerate(told)])
    changes = of("What removing changes", made)
    assert fields(changes, "badnets at 0.01: after - before")["success"] == "-50.0 % (-50.0 to -50.0)"
