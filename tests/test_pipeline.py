"""The scan: every item accounted for, the same answer for the same content, and nothing touched but the output."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from toy_scans import FAST, SEED, TOTAL, Failing, Misshapen, contents, flagged, hurried, name_plugin, poisoned
from toys import SIDE, picture, toy_images

from detectors.base import Detector, Evidence, Floats
from sanitizer import registry
from sanitizer.engines import local
from sanitizer.errors import SourceError, UsageError
from sanitizer.pipeline import ScanSettings, choose_detectors, scan
from sanitizer.record import SIGNATURE, WRITTEN, Verdict
from sanitizer.sources.encode import encode


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Every scan here is of toys."""
    with hurried():
        yield


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A poisoned folder with some items that are no samples, and the digests of the planted ones."""
    return poisoned(tmp_path_factory.mktemp("toys") / "data")


@pytest.fixture(scope="module")
def verdict(toys: tuple[Path, set[str]]) -> Verdict:
    """What a scan of them says."""
    return scan(toys[0], settings=FAST)


def scores(verdict: Verdict) -> dict[tuple[str, str], float]:
    """The score of every scanned sample, by content and label."""
    return {
        (row["digest"], row["label_name"]): row["score"]
        for row in verdict.table.to_pylist()
        if row["status"] == "scanned"
    }


def test_what_was_planted_is_found(verdict: Verdict, toys: tuple[Path, set[str]]) -> None:
    """In the class that it was planted in, and hardly anything else."""
    assert verdict.poison_found
    assert toys[1] <= flagged(verdict)
    assert len(flagged(verdict) - toys[1]) <= 2
    assert verdict.exit_code == 1
    assert "in class 'bar'" in verdict.summary["answer"]["sentence"]


def test_every_item_found_has_one_row_and_the_counts_add_up(verdict: Verdict) -> None:
    """Broken, ignored and refused items too."""
    rows = verdict.table.to_pylist()
    assert verdict.counts == {"scanned": TOTAL, "unreadable": 1, "refused": 1, "ignored": 2}
    assert len({row["id"] for row in rows}) == len(rows) == sum(verdict.counts.values())
    for status, count in verdict.counts.items():
        assert sum(row["status"] == status for row in rows) == count
    others = {row["id"]: row for row in rows if row["status"] != "scanned"}
    assert set(others) == {"bar/cut.png", "box/notes.txt", "dot/out.png", "stray.png"}
    assert all(row["reasons"] and row["score"] is None and not row["suspicious"] for row in others.values())


def test_the_table_says_what_the_contract_promises(verdict: Verdict) -> None:
    """Columns, ranges, and reasons for all that was flagged and nothing else scanned."""
    names = verdict.table.column_names
    fixed = ["id", "digest", "view_digest", "status", "label", "label_name", "suspicious", "kind", "score", "p_value"]
    run = [entry["name"] for entry in verdict.summary["detectors"]["run"]]
    assert names == [*fixed, *(f"score_{name}" for name in run), "reasons", "nearest"]
    absent = [entry["name"] for entry in verdict.summary["detectors"]["not_run"]]
    ours = registry.names(registry.DETECTORS, own=True)
    costly = [name for name in ours if registry.detector(name).costly]
    assert absent == ["deep_knn", *costly]  # no frozen network beside the probe, no time for several looks
    assert run == [name for name in ours if name not in absent]
    for row in verdict.table.to_pylist():
        if row["status"] == "scanned":
            assert 0 < row["p_value"] <= 1
            assert row["score"] == pytest.approx(-np.log10(row["p_value"]), abs=1e-9)
            assert bool(row["reasons"]) == row["suspicious"] == (row["kind"] == "planted")
            assert bool(row["nearest"]) == row["suspicious"]
            assert row["label_name"] == row["id"].split("/")[0]


def test_the_summary_agrees_with_the_table(verdict: Verdict) -> None:
    """Per class and over all, with everything that was asked for."""
    summary = verdict.summary
    assert (
        summary["answer"]["planted"]
        == len(flagged(verdict))
        == sum(entry["suspicious"] for entry in summary["classes"])
    )
    assert [entry["name"] for entry in summary["classes"]] == ["bar", "box", "dot"]
    assert sum(entry["size"] for entry in summary["classes"]) == TOTAL
    assert [entry["hidden"] for entry in summary["classes"]] == [True, False, False]
    assert summary["incomplete"] == []
    assert "recur in one class" in summary["answer"]["power"]
    assert "may go unseen" in summary["answer"]["power"]
    assert summary["parameters"]["budget"] == "fast"
    assert summary["view"].endswith(f"{SIDE}x{SIDE}")


def test_two_scans_agree_to_the_digest(verdict: Verdict, toys: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Written or not, wherever the folder lies, whatever the global generators hold."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(toys[0], copy, symlinks=True)
    torch.manual_seed(99)
    np.random.seed(99)
    again = scan(copy, tmp_path / "verdict", FAST)
    assert again.digest == verdict.digest
    assert Verdict.read(tmp_path / "verdict").digest == verdict.digest


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto and cpu are two devices here")
def test_how_the_device_was_named_is_no_part_of_the_conclusion(verdict: Verdict, toys: tuple[Path, set[str]]) -> None:
    """``auto`` and ``cpu`` are the same machine where there is no GPU."""
    assert scan(toys[0], settings=ScanSettings(budget="fast", device="auto")).digest == verdict.digest


def test_renaming_and_shuffling_the_files_changes_no_decision(
    verdict: Verdict, toys: tuple[Path, set[str]], tmp_path: Path
) -> None:
    """The same content under other names, listed in another order, with splits, gets the same scores."""
    files = sorted(path for path in toys[0].rglob("0*.png"))
    random.Random(0).shuffle(files)
    for number, file in enumerate(files):
        home = tmp_path / ("train" if number % 3 else "test") / file.parent.name
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, home / f"n{number}.png")
    renamed = scan(tmp_path, settings=FAST)
    assert flagged(renamed) == flagged(verdict)
    assert scores(renamed) == pytest.approx(scores(verdict), abs=1e-9)


@pytest.mark.parametrize("shards", [1, 2])
def test_shuffled_parquet_rows_get_the_same_decision(verdict: Verdict, tmp_path: Path, shards: int) -> None:
    """Another layout, another order, one file or two: the same samples are flagged."""
    rows = [{"image": {"bytes": content, "path": None}, "label": name} for name, content, _ in toy_images(seed=SEED)]
    random.Random(1).shuffle(rows)
    for number in range(shards):
        pq.write_table(pa.Table.from_pylist(rows[number::shards]), tmp_path / f"{number}.parquet")
    found = scan(tmp_path, settings=FAST)
    assert found.counts["scanned"] == TOTAL
    assert flagged(found) == flagged(verdict)
    assert scores(found) == pytest.approx(scores(verdict), abs=1e-9)


def test_another_seed_is_another_scan_of_the_same_set(verdict: Verdict, toys: tuple[Path, set[str]]) -> None:
    """The digest tells them apart; what was planted is found all the same."""
    other = scan(toys[0], settings=ScanSettings(budget="fast", device="cpu", seed=3))
    assert other.digest != verdict.digest
    assert other.summary["model"]["digest"] != verdict.summary["model"]["digest"]


def test_the_source_is_not_touched(toys: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Not a byte, not a file more."""
    before = contents(toys[0])
    scan(toys[0], tmp_path / "verdict", FAST)
    assert contents(toys[0]) == before


def test_a_verdict_folder_holds_its_parts_and_gives_way_to_the_next(
    toys: tuple[Path, set[str]], tmp_path: Path
) -> None:
    """A second scan replaces the first, and a signature of it; nothing else appears beside it."""
    out = tmp_path / "deep" / "verdict"
    for seed in (0, 1):
        written = scan(toys[0], out, ScanSettings(budget="fast", device="cpu", seed=seed))
        assert {path.name for path in out.iterdir()} == WRITTEN
        assert Verdict.read(out).digest == written.digest
        (out / SIGNATURE).touch()
    assert [path.name for path in out.parent.iterdir()] == ["verdict"]


class NotANumber(Misshapen):
    """Its class evidence is undefined."""

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.full(len(evidence.classes), np.nan)


class Wanting(Misshapen):
    """Needs a space that no scan extracts."""

    needs = ("tea_leaves",)


@pytest.fixture
def with_plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ``plugin`` the name of a detector."""
    return partial(name_plugin, monkeypatch)


@pytest.mark.parametrize("made", [Failing(), Misshapen(), NotANumber()], ids=lambda made: type(made).__name__)
def test_a_broken_detector_makes_the_verdict_incomplete(
    toys: tuple[Path, set[str]], with_plugin: Any, made: Detector, tmp_path: Path
) -> None:
    """The others are asked all the same, the verdict is written, says what broke in one line, and exits with 2."""
    with_plugin(made)
    settings = ScanSettings(budget="fast", device="cpu", detectors=("plugin", "hidden_population"))
    found = scan(toys[0], tmp_path / "verdict", settings)
    assert found.exit_code == 2
    (line,) = found.incomplete
    assert line.startswith("detector plugin failed")
    assert "\n" not in line
    assert toys[1] <= flagged(found)
    assert [entry["name"] for entry in found.summary["detectors"]["run"]] == ["hidden_population"]
    assert found.summary["answer"]["sentence"].startswith("Incomplete: ")
    assert Verdict.read(tmp_path / "verdict").exit_code == 2


def test_a_detector_that_cannot_be_asked_is_listed_with_the_reason(
    toys: tuple[Path, set[str]], with_plugin: Any
) -> None:
    """What is not extracted is no failure of the scan."""
    with_plugin(Wanting())
    settings = ScanSettings(budget="fast", device="cpu", detectors=("plugin", "hidden_population"))
    found = scan(toys[0], settings=settings)
    (entry,) = found.summary["detectors"]["not_run"]
    assert entry["name"] == "plugin"
    assert "tea_leaves" in entry["reason"]
    assert found.exit_code == 1
    assert "score_plugin" not in found.table.column_names


def test_what_the_budget_left_out_is_listed_with_the_budget_that_would_not(toys: tuple[Path, set[str]]) -> None:
    """The reason says what to do."""
    settings = ScanSettings(budget="fast", device="cpu", detectors=("superposition", "hidden_population"))
    (entry,) = scan(toys[0], settings=settings).summary["detectors"]["not_run"]
    assert entry["reason"] == "Superposition() needs space 'superposition', which only --budget thorough computes"


def test_a_scan_that_asked_nobody_is_incomplete(toys: tuple[Path, set[str]], with_plugin: Any) -> None:
    """No opinion is no clean bill."""
    with_plugin(Wanting())
    found = scan(toys[0], settings=ScanSettings(budget="fast", device="cpu", detectors=("plugin",)))
    assert found.incomplete == ("no detector could be run",)
    assert found.exit_code == 2


def small(root: Path, sizes: dict[str, int]) -> Path:
    """A folder with so many images a class; the empty name is the root itself."""
    rng = np.random.default_rng(0)
    for name, size in sizes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(size):
            (root / name / f"{number}.png").write_bytes(encode(picture(number % 3, rng), "PNG"))
    return root


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"a": 30}, r"expected at least two classes .* only 'a'"),
        ({"a": 10, "b": 9}, r"expected at least 20 readable images .* got 19 scanned"),
        ({"": 30}, "expected labels, which a probe learns; this set has none"),
    ],
    ids=["one class", "too few", "no labels"],
)
def test_a_set_that_cannot_be_scanned_is_one_line_and_leaves_nothing(
    tmp_path: Path, sizes: dict[str, int], message: str
) -> None:
    """What was expected, what came, what to do; and no trace of the attempt."""
    root = small(tmp_path / "data", sizes)
    with pytest.raises(SourceError, match=message) as caught:
        scan(root, tmp_path / "verdict", FAST)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_failure_halfway_leaves_the_old_verdict(
    toys: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, the folder is what it was, and nothing lies beside it."""
    out = tmp_path / "verdict"
    scan(toys[0], out, FAST)
    before = contents(out)

    def broken(*anything: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sanitizer.conclusion.table_of", broken)
    with pytest.raises(KeyboardInterrupt):
        scan(toys[0], out, FAST)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["verdict"]


def test_a_folder_that_is_not_ours_is_refused_before_any_work(
    toys: tuple[Path, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user keeps there stays."""
    monkeypatch.setattr(local, "take_census", lambda *anything, **more: pytest.fail("it read the source"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "summary.json").write_text("{}")
    (tmp_path / "mine" / "thesis.tex").write_text("words")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="has content"):
        scan(toys[0], tmp_path / "mine", FAST)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["", "verdict", "bar/verdict", "../data/verdict"])
def test_output_inside_the_source_is_refused(toys: tuple[Path, set[str]], place: str) -> None:
    """It would be data of the next scan."""
    before = contents(toys[0])
    with pytest.raises(UsageError, match="lies inside the source"):
        scan(toys[0], toys[0] / place, FAST)
    assert contents(toys[0]) == before


def test_odd_sets_get_a_verdict(tmp_path: Path) -> None:
    """A class of one sample, a class of one image repeated, one image with two labels: all finite, nothing flagged."""
    root = small(tmp_path / "data", {"a": 20, "b": 20, "lonely": 1})
    for number in range(15):
        shutil.copy(root / "a" / "0.png", root / "b" / f"copy{number}.png")
    found = scan(root, tmp_path / "verdict", FAST)
    assert found.incomplete == ()
    assert found.exit_code == 0
    assert np.isfinite([row["score"] for row in found.table.to_pylist()]).all()


def test_a_set_of_one_image_repeated_gets_a_verdict(tmp_path: Path) -> None:
    """No spread anywhere, and two labels that contradict each other."""
    image = encode(np.full((6, 9, 3), 40, np.uint8), "PNG")
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(15):
            (tmp_path / kind / f"{number}.png").write_bytes(image)
    found = scan(tmp_path, settings=FAST)
    assert found.incomplete == ()
    assert found.exit_code == 0


def test_auto_stands_for_all_of_our_own_once() -> None:
    """Names given twice are asked once, in the order given; the costly ones only where there is time."""
    everybody = registry.names(registry.DETECTORS, own=True)
    ours = [name for name in everybody if not registry.detector(name).costly]
    assert len(ours) < len(everybody)
    assert list(choose_detectors(("auto",), thorough=True)) == everybody
    assert list(choose_detectors(("auto",))) == ours
    assert list(choose_detectors(("lof", "auto", "lof"))) == ["lof", *(name for name in ours if name != "lof")]


def test_no_detector_is_no_scan() -> None:
    """An empty list is a mistake."""
    with pytest.raises(UsageError, match="expected at least one name"):
        choose_detectors(())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("budget", "lavish"),
        ("max_drop", 0.0),
        ("max_drop", 1.1),
        ("max_drop", float("nan")),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(setting: str, value: Any) -> None:
    """By its flag, with what was expected and what came."""
    with pytest.raises(UsageError, match=f"--{setting.replace('_', '-')}: expected") as caught:
        ScanSettings(**{setting: value})
    assert repr(value) in str(caught.value)
