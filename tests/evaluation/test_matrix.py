"""The matrix: the truth stays out of the scan, nothing is measured twice, nothing that failed is passed over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_results import Scanner, verdict
from toy_scans import FAST, hurried

from sanitizer.errors import UsageError
from sanitizer.evaluation import matrix
from sanitizer.evaluation.cells import CONTROL, Cell, plan_cells
from sanitizer.evaluation.matrix import RESULTS, SETS, Task, evaluate, figures, read_results
from sanitizer.sources.base import open_source
from tests.toys import toy_images, write_toys

SCAN = replace(FAST, detectors=("lof", "hidden_population"), store="none")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean toy set, and one that is too small for a scan."""
    root = tmp_path_factory.mktemp("matrix")
    write_toys(root / "train", each=30, planted=0, seed=1)
    write_toys(root / "few", each=4, planted=0, seed=1)
    return root


@pytest.fixture
def task(home: Path) -> Task:
    """What is measured on the small one, by scans that are none."""
    return Task(source=open_source(str(home / "few")), scan=SCAN)


@pytest.fixture
def cells(task: Task) -> list[Cell]:
    """One attack, two seeds, and the control."""
    return plan_cells(task.source, ["badnets"], rates=[0.1], seeds=2, target="dot")


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> Scanner:
    """In place of the scan."""
    made = Scanner()
    monkeypatch.setattr(matrix, "scan", made)
    return made


@pytest.fixture(scope="module")
def measured(home: Path) -> Iterator[tuple[list[dict[str, Any]], Path]]:
    """Two cells, measured by real scans."""
    opened = open_source(str(home / "train"))
    with hurried():
        cells = plan_cells(opened, ["badnets"], rates=[0.1], target="dot", pairs=["badnets.size=4"])
        yield evaluate(cells, Task(source=opened, scan=SCAN), home / "measured"), home / "measured"


def test_a_cell_says_what_was_found(measured: tuple[list[dict[str, Any]], Path]) -> None:
    """Every sample is counted, every detector is ranked, and the control has nothing to be found."""
    attacked, clean = measured[0]
    assert (attacked["attack"], clean["attack"]) == ("badnets", CONTROL)
    assert (attacked["samples"], attacked["poison"], attacked["cover"], attacked["clean"]) == (90, 9, 0, 81)
    assert attacked["settings"] == {"size": 4, "target": "dot"}
    assert attacked["given"] == "images and labels; no rate, no truth"
    assert set(attacked["detectors"]) == {"lof", "hidden_population"}
    assert all(0 <= one["auroc"] <= 1 for one in (*attacked["detectors"].values(), attacked["fused"]))
    assert attacked["flags"]["any"]["poison"] == 9
    assert attacked["seconds"]["scanning"] > 0
    assert "failed" not in attacked
    assert (clean["poison"], clean["clean"], clean["fused"]["auroc"]) == (0, 90, None)
    assert clean["flags"]["any"]["recall"] is None
    assert clean["exit_means"] == matrix.EXIT_MEANS[clean["exit_code"]]


def test_results_are_kept_as_they_were_returned(measured: tuple[list[dict[str, Any]], Path]) -> None:
    """In one JSON file; the poisoned sets are gone."""
    results, out = measured
    assert list(read_results(out).values()) == results
    assert [path.name for path in out.iterdir()] == [RESULTS]


def test_the_scan_sees_data_and_settings_and_no_truth(
    task: Task, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but images below what it is handed, nothing in its settings that the user did not ask for."""
    seen: list[str] = []
    made = Scanner(look=lambda root: seen.extend(path.name for path in root.rglob("*") if path.is_file()))
    monkeypatch.setattr(matrix, "scan", made)
    evaluate(cells, task, tmp_path / "out")
    assert len(seen) == 12 * len(cells)
    assert all(name.endswith(".png") for name in seen)
    assert [settings for _, settings in made.calls] == [replace(SCAN, seed=cell.seed) for cell in cells]
    assert not any("badnets" in source or "none" in source for source, _ in made.calls)


def test_what_is_measured_is_not_measured_again(
    task: Task, cells: list[Cell], scanner: Scanner, tmp_path: Path
) -> None:
    """A second call computes nothing; one that asks for more computes what is new."""
    first = evaluate(cells[:2], task, tmp_path)
    assert evaluate(cells[:2], task, tmp_path) == first
    assert len(scanner.calls) == 2
    assert evaluate(cells, task, tmp_path)[:2] == first
    assert len(scanner.calls) == len(cells)


def test_an_interrupted_run_keeps_what_it_has(
    task: Task, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell is written when it is done."""
    made = Scanner()

    def interrupted(*given: Any) -> Any:
        if len(made.calls) == 2:
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(matrix, "scan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(cells, task, tmp_path)
    assert [result["name"] for result in read_results(tmp_path).values()] == [cell.name for cell in cells[:2]]


def test_a_cell_that_fails_is_told_and_tried_again(
    task: Task, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line; the cells after it are measured all the same."""
    made = Scanner()

    def broken(*given: Any) -> Any:
        if given[2].seed == 0:
            raise RuntimeError("out of luck\nand more lines")
        return made(*given)

    monkeypatch.setattr(matrix, "scan", broken)
    results = evaluate(cells, task, tmp_path)
    assert [result.get("failed") for result in results] == ["RuntimeError: out of luck", None] * 2
    assert "flags" in results[1]
    monkeypatch.setattr(matrix, "scan", made)
    assert not any("failed" in result for result in evaluate(cells, task, tmp_path))
    assert len(made.calls) == len(cells)


def test_a_verdict_on_other_samples_is_no_figure(
    task: Task, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that the truth does not know would count as clean: the cell fails instead."""
    monkeypatch.setattr(matrix, "scan", lambda *given: verdict({"stranger.png": ("planted", 1.0)}))
    (found,) = evaluate(cells[:1], task, tmp_path)
    assert "expected a verdict on the 12 samples" in found["failed"]
    assert "flags" not in found


def test_another_question_is_another_context(task: Task, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, data, labels and code decide; where the data lies does not."""
    moved = home / "moved"
    shutil.copytree(home / "few", moved)
    assert replace(task, source=open_source(str(moved))).context == task.context
    (moved / "bar" / "0000.png").rename(moved / "dot" / "0000.png")
    contexts = {
        task.context,
        replace(task, source=open_source(str(moved))).context,
        replace(task, scan=replace(SCAN, budget="standard")).context,
        replace(task, scan=replace(SCAN, trusted=str(home / "few"))).context,
    }
    monkeypatch.setattr(matrix, "implementation", lambda *modules: "other code")
    assert len(contexts | {replace(task).context}) == 5
    assert replace(task, scan=replace(SCAN, seed=3)).context == replace(task).context  # the cell has the seed


def test_what_a_scan_is_given_is_said(task: Task) -> None:
    """Networks and trusted samples by name, not by where they lie."""
    scan = replace(SCAN, model="/far/away/net.safetensors", reference="timm:vit", trusted="/home/me/clean")
    assert replace(task, scan=scan).given == (
        "images and labels, frozen network net.safetensors, frozen network timm:vit, trusted samples from clean; "
        "no rate, no truth"
    )


def test_figures_count_by_kind_of_flag_and_leave_cover_out() -> None:
    """A flipped label is no planted sample, and a cover sample is neither poison nor clean."""
    rows = {"a": ("planted", 9.0), "b": ("label", 8.0), "c": ("planted", 7.0), "d": ("", 1.0), "e": ("", 0.0)}
    kinds = {"a": "poison", "b": "poison", "c": "cover", "d": "poison", "e": "clean"}
    found = figures(verdict(rows), kinds)
    assert [found["flags"][reading]["recall"] for reading in ("planted", "label", "any")] == [1 / 3, 1 / 3, 2 / 3]
    assert found["flags"]["planted"]["cover_flagged"] == 1
    assert found["flags"]["planted"]["false_positive_rate"] == 0.0
    assert found["fused"] == {
        "auroc": 1.0, "recall_at_1_percent": 1.0, "recall_at_0.1_percent": 1.0,
        "curve": {"clean": [0, 0, 0, 0, 1], "poison": [0, 1, 2, 3, 3]},
    }  # fmt: skip
    assert found["detectors"]["lof"]["auroc"] == 0.0
    assert (found["exit_code"], found["samples"], found["poison_found"]) == (1, 5, True)
    assert figures(verdict(rows, incomplete=("x",)), kinds)["exit_means"] == "incomplete, or nothing scanned"


def test_poisoned_sets_are_kept_on_request_and_used_again(
    task: Task, cells: list[Cell], scanner: Scanner, tmp_path: Path
) -> None:
    """Beside the results; with the truth, which lies outside of what is scanned."""
    keeping = replace(task, keep=True)
    (first,) = evaluate(cells[:1], keeping, tmp_path)
    (kept,) = (tmp_path / SETS).iterdir()
    assert {path.name for path in kept.iterdir()} == {"data", "truth.parquet", "recipe.json"}
    made = (kept / "recipe.json").stat().st_mtime_ns
    (tmp_path / RESULTS).unlink()
    (again,) = evaluate(cells[:1], keeping, tmp_path)
    assert (kept / "recipe.json").stat().st_mtime_ns == made
    assert again["flags"] == first["flags"]


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": {"a": 1}}', '{"cells": {"a": {}}}'])
def test_a_file_that_is_not_ours_is_left_alone(task: Task, cells: list[Cell], tmp_path: Path, content: str) -> None:
    """One line, and nothing is measured."""
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UsageError, match="expected results of `sanitizer evaluate`") as caught:
        evaluate(cells, task, tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / RESULTS).read_text() == content


def test_results_inside_the_source_are_refused(task: Task, cells: list[Cell], home: Path) -> None:
    """The next scan would take them for data."""
    with pytest.raises(UsageError, match="lies inside the source"):
        evaluate(cells, task, home / "few" / "out")
    assert not (home / "few" / "out").exists()


def test_parquet_is_measured_like_a_folder(tmp_path: Path, scanner: Scanner) -> None:
    """The ids of the copy are those of its truth, whatever the layout."""
    images = [(name, content) for name, content, _ in toy_images(each=8, planted=0)]
    table = {"image": [{"bytes": content, "path": None} for _, content in images], "label": [n for n, _ in images]}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(table), tmp_path / "data" / "train.parquet")
    opened = open_source(str(tmp_path / "data" / "train.parquet"))
    cells = plan_cells(opened, ["badnets"], rates=[0.2], clean=False)
    (found,) = evaluate(cells, Task(source=opened, scan=SCAN), tmp_path / "out")
    assert "failed" not in found, found["failed"]
    assert (found["samples"], found["poison"]) == (24, 5)
    assert json.loads((tmp_path / "out" / RESULTS).read_text())["tool"] == "dataset-sanitizer"
