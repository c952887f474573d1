"""The matrix of the benchmark: every cell can be meant, none is measured twice, tables say where we are behind."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from toy_scans import hurried
from toys import CLASSES, toy_images

from benchmarks.detection import grid, matrix, matrix_table, measure, peers_table
from benchmarks.detection.page import page_of
from benchmarks.places import Places
from sanitizer.embed import probe
from sanitizer.evaluation.cells import CONTROL, Cell
from sanitizer.pipeline import ScanSettings

datasets.disable_progress_bars()
HERE = Places(Path("data"), Path("weights"))
ENTRY = grid.Entry("toys", Cell(attack="badnets", settings={}, rate=0.05, seed=1))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Folders in which the setups of the transfer benchmark lie."""
    setup = {"target class": 1, "target index": 0, "base class": 0, "base indices": [2, 3]}
    file = tmp_path / "poisons" / "setups" / "cifar10_transfer_learning.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([setup] * len(grid.SEEDS)))
    return Places(tmp_path, tmp_path)


def test_every_cell_can_be_meant(places: Places) -> None:
    """Attacks, rates and settings are accepted, and no two cells have a name in common."""
    entries = grid.entries()
    assert len({entry.key for entry in entries}) == len(entries)
    made = {entry.poisoner(places).name for entry in entries}
    assert made == grid.ATTACKS.keys() | grid.CRAFTED.keys()


def test_crafted_poison_is_one_row_whomever_it_aims_at(places: Places) -> None:
    """Each seed has an aim of its own, and no name says where the files lie."""
    crafted = [entry for entry in grid.entries() if entry.cell.attack == "bullseye"]
    assert {entry.data for entry in crafted} == {grid.CRAFTED_SET}
    assert len({entry.cell.row for entry in crafted}) == 1
    aims = [entry.poisoner(places).setup for entry in crafted]  # type: ignore[attr-defined]
    assert sorted(aims) == list(grid.SEEDS)
    assert not any(word in entry.key for entry in crafted for word in ("DATA", "WEIGHTS", "json"))


def test_cheap_sets_come_first_whatever_is_asked_for() -> None:
    """And a set or seed that is named twice is measured once."""
    assert grid.entries(("cifar10", "gtsrb12", "gtsrb12"), (1, 1)) == grid.entries(("gtsrb12", "cifar10"), (1,))
    assert grid.entries(("cifar10", "gtsrb12"))[0].data == "gtsrb12"
    assert grid.entries()[0].cell.attack == CONTROL


class TestFilling:
    """Cells are computed elsewhere; here is what becomes of them."""

    @pytest.fixture
    def measured(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
        """The keys that were computed, in order, by a process that is none."""
        seen: list[str] = []

        def stand_in(entry: grid.Entry, *_: Any) -> dict[str, Any]:
            seen.append(entry.key)
            return cell(seed=entry.cell.seed) | {"name": entry.key}

        monkeypatch.setattr(matrix, "_in_its_own_process", stand_in)
        (tmp_path / "gtsrb12").mkdir()
        (tmp_path / "gtsrb12" / "train.parquet").touch()
        return seen

    def fill(self, folder: Path, peers: Path | None = None) -> None:
        """Two cells of a set that is there, and two of one that is not."""
        wanted = [entry for entry in grid.entries(("gtsrb12", "cifar10"), (0,)) if "badnets at" in entry.key]
        matrix.fill(wanted, folder / "matrix.json", Places(folder, folder), peers=peers, device="cpu")

    def test_what_is_measured_is_kept(
        self, measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A second call computes nothing; sets that are not there are named."""
        self.fill(tmp_path)
        self.fill(tmp_path)
        assert measured == ["gtsrb12: badnets at 0.01, seed 0", "gtsrb12: badnets at 0.003, seed 0"]
        assert matrix.read(tmp_path / "matrix.json").keys() == set(measured)
        assert "cifar10: badnets at 0.01, seed 0: skipped" in capsys.readouterr().out

    def test_what_failed_is_tried_again(self, measured: list[str], tmp_path: Path) -> None:
        """And so is what was measured without the peers, once they are asked for."""
        failed = {"gtsrb12: badnets at 0.01, seed 0": {"failed": "no memory"}}
        (tmp_path / "matrix.json").write_text(json.dumps({"cells": failed}))
        self.fill(tmp_path)
        assert len(measured) == 2
        self.fill(tmp_path, peers=Path(sys.executable))
        assert len(measured) == 2 * 2


def test_a_cell_that_breaks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process ends with an error, the matrix goes on, and the last line of the error is in the results."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho half; echo Traceback >&2; echo 'MemoryError: too much' >&2; exit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    found = matrix._in_its_own_process(ENTRY, HERE, None, "cpu")
    assert found["failed"] == "MemoryError: too much"
    assert found["name"] == ENTRY.key


def test_cover_samples_are_in_no_figure() -> None:
    """They are neither poison nor clean, whatever they score."""
    truth = np.array(["poison", "clean", "cover", "clean"])
    low, high = (
        measure.held(np.array([3.0, 1.0, score, 2.0]), np.array([True, False, flag, True]), truth)
        for score, flag in ((0.0, False), (9.0, True))
    )
    assert low == high == {"auroc": 1.0, "recall_at_0.5_percent": 1.0, "recall": 1.0, "false_positive_rate": 0.5}


def test_the_peers_see_the_very_features_of_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One probe is trained for one cell, and the peers that are not installed are missed by name."""
    images = toy_images(planted=0, seed=1)
    rows = {
        "image": [{"bytes": content, "path": None} for _, content, _ in images],
        "label": [CLASSES.index(name) for name, _, _ in images],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    (tmp_path / "toys").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "toys" / "train.parquet"))

    trained, seen, train, hear = [], [], probe.train_probe, measure.hear_all

    def train_and_tell(*args: Any, **named: Any) -> Any:
        trained.append(train(*args, **named))
        return trained[-1]

    hurry = partial(ScanSettings, budget="fast", detectors=("lof", "hidden_population"))
    monkeypatch.setattr(measure, "ScanSettings", hurry)
    monkeypatch.setattr(probe, "train_probe", train_and_tell)
    monkeypatch.setattr(measure, "hear_all", lambda *args: seen.append(args[1]) or hear(*args))
    with hurried():
        found = measure.measure(ENTRY, Places(tmp_path, tmp_path), Path(sys.executable), "cpu")

    assert len(trained) == 1
    np.testing.assert_array_equal(seen[0], np.asarray(trained[0].feature, np.float32))
    assert found["poison"] == round(0.05 * len(images))
    assert found["compared"]["ours"]["recall"] == found["flags"]["any"]["recall"]
    assert found["compared"]["ours"]["auroc"] == found["fused"]["auroc"]
    assert all("auroc" in told or "is not installed" in told["failed"] for told in found["compared"].values())
    json.dumps(found, allow_nan=False)
    assert "toys: badnets at 0.05" in page_of({ENTRY.key: found})
    assert "| toys (180) | badnets at 0.05 | 1 |" in matrix_table.render({ENTRY.key: found})


def cell(data: str = "toys", attack: str = "badnets at 0.01", seed: int = 0, **scores: float) -> dict[str, Any]:
    """A measured cell: what each detector's figures are; ours are 0.9 if nothing is said."""
    clean = attack == CONTROL

    def told(value: float) -> dict[str, Any]:
        shares = {"auroc": value, "recall_at_0.5_percent": value, "recall": value}
        return (dict.fromkeys(shares) if clean else shares) | {"false_positive_rate": 0.25}

    facts = {"given": "features", "threshold": "its own", "version": "1.0", "failed": None, "seconds": 1.0}
    return {
        "data": data, "row": f"{data}: {attack}", "name": f"{data}: {attack}, seed {seed}", "poisoning": attack,
        "seed": seed, "given": "images and labels", "code": "1", "samples": 1000, "poison": 0 if clean else 10,
        "poison_found": not clean, "peak_mb": 1, "seconds": {"poisoning": 1.0, "scanning": 2.0},
        "compared": {"ours": told(scores.pop("ours", 0.9))}
        | {name: facts | told(value) for name, value in scores.items()},
    }  # fmt: skip


def rendered(render: Any, *cells: dict[str, Any]) -> list[str]:
    """The lines of a table."""
    return str(render({one["name"]: one for one in cells})).splitlines()


@pytest.mark.parametrize("render", [matrix_table.render, peers_table.render])
def test_an_empty_matrix_says_so_in_one_line(render: Any) -> None:
    """And how to fill it."""
    (line,) = rendered(render)
    assert line.startswith("Not measured yet: `python -m benchmarks.detection --matrix")


def test_seeds_are_averaged_and_the_worst_is_told() -> None:
    """The worst of the recalls is the least, of the false positives the most."""
    lines = rendered(matrix_table.render, cell(ours=0.9), cell(seed=1, ours=0.5), cell(attack=CONTROL))
    assert lines[2:] == [
        "| toys (1,000) | badnets at 0.01 | 2 | 70.0 % (worst 50.0 %) | 25.000 % (worst 25.000 %) | 2 of 2 | 0.700 |",
        "| toys (1,000) | none | 1 |  | 25.000 % (worst 25.000 %) | 0 of 1 |  |",
    ]


def test_what_failed_is_listed_beside_what_did_not() -> None:
    """A cell without figures is in no mean, and is not passed over."""
    failed = {"data": "toys", "row": "r", "name": "toys: wanet at 0.01, seed 2", "failed": "a | b"}
    lines = rendered(matrix_table.render, cell(), failed)
    assert lines[-1] == "- toys: wanet at 0.01, seed 2: a \\| b"
    assert "of 1 |" in lines[2]


def test_cells_of_several_versions_are_not_passed_off_as_one() -> None:
    """A matrix takes days, and the code may change meanwhile."""
    assert "Measured with 2 versions of the code." in rendered(
        matrix_table.render, cell(), cell(seed=1) | {"code": "2"}
    )
    assert not any("versions" in line for line in rendered(matrix_table.render, cell(), cell(seed=1)))


def test_every_row_says_where_we_are_behind() -> None:
    """Or that it is nowhere; a control has no rank, and is flagged in vain."""
    cells = cell(LOF=0.8), cell(attack="wanet at 0.01", LOF=0.95), cell(attack=CONTROL, LOF=0.5)
    lines = rendered(peers_table.render, *cells)
    assert "| toys: badnets at 0.01 | 0.900 / 90.0 % | 0.800 / 80.0 % | nothing |" in lines
    assert "| toys: wanet at 0.01 | 0.900 / 90.0 % | 0.950 / 95.0 % | AUROC: LOF; recall: LOF |" in lines
    assert "| toys: none | – / 25.00 % | – / 25.00 % |" in lines
    assert "| LOF | 1.0 | features | its own |  |" in lines


def test_a_peer_that_gave_no_answer_is_counted() -> None:
    """With the reason, in every row that it is missing from."""
    absent = {"given": "features", "threshold": "none", "version": None, "failed": "pyod is not installed"}
    one = cell()
    one["compared"]["LOF"] = absent
    lines = rendered(peers_table.render, one)
    assert "| LOF |  | features | none | 1 of 1: pyod is not installed |" in lines
    assert "| toys: badnets at 0.01 | 0.900 / 90.0 % | – / – | nothing |" in lines
