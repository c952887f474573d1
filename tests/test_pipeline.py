"""The scan: every item accounted for, the same answer for the same content, and nothing touched but the output."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from toys import PLANTED, SIDE, picture, toy_images, write_toys

from detectors.base import Detector, Evidence, Floats
from sanitizer import pipeline, registry
from sanitizer.embed import probe
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.errors import SourceError, UsageError
from sanitizer.extraction import Extraction
from sanitizer.pipeline import OWN_FILES, ScanSettings, choose_detectors, decisive, scan
from sanitizer.record import Verdict
from sanitizer.sources.encode import encode

SEED = 1  # of the toy set
TOTAL = 3 * 60 + PLANTED
FAST = ScanSettings(budget="fast", device="cpu")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A probe of a hundred steps is enough for toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(probe.BUDGETS, "fast", (32, 5, 100))
        yield


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A poisoned folder with some items that are no samples, and the digests of the planted ones."""
    root = tmp_path_factory.mktemp("toys") / "data"
    truth = write_toys(root, seed=SEED)
    (root / "bar" / "cut.png").write_bytes(next((root / "bar").glob("0*.png")).read_bytes()[:60])
    (root / "box" / "notes.txt").write_text("hello")
    (root / "dot" / "out.png").symlink_to("/etc/hostname")
    (root / "stray.png").write_bytes(encode(np.zeros((4, 4, 3), np.uint8), "PNG"))
    return root, truth


@pytest.fixture(scope="module")
def verdict(toys: tuple[Path, set[str]]) -> Verdict:
    """What a scan of them says."""
    return scan(toys[0], settings=FAST)


def flagged(verdict: Verdict) -> set[str]:
    """The digests of what was flagged."""
    return set(verdict.suspicious()["digest"].to_pylist())


def scores(verdict: Verdict) -> dict[tuple[str, str], float]:
    """The score of every scanned sample, by content and label."""
    return {
        (row["digest"], row["label_name"]): row["score"]
        for row in verdict.table.to_pylist()
        if row["status"] == "scanned"
    }


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder and its hash; where a link leads."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
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
    assert [entry["name"] for entry in verdict.summary["detectors"]["not_run"]] == ["deep_knn"]  # no frozen network
    assert run == [name for name in registry.names(registry.DETECTORS, own=True) if name != "deep_knn"]
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
    """A second scan replaces the first; nothing else appears beside it."""
    out = tmp_path / "deep" / "verdict"
    for seed in (0, 1):
        written = scan(toys[0], out, ScanSettings(budget="fast", device="cpu", seed=seed))
        assert {path.name for path in out.iterdir()} == OWN_FILES
        assert Verdict.read(out).digest == written.digest
    assert [path.name for path in out.parent.iterdir()] == ["verdict"]


class Failing(Detector):
    """Breaks when it is asked."""

    sees = ("shifted",)
    says = "?"

    def _score(self, evidence: Evidence) -> Floats:
        raise RuntimeError("out of luck\nand more lines")


class Misshapen(Failing):
    """Scores samples, and has too few answers about classes."""

    innocent = 1.0

    def _score(self, evidence: Evidence) -> Floats:
        return np.zeros(len(evidence))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.zeros(1)


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
    known = registry.detector

    def install(made: Detector) -> None:
        monkeypatch.setattr(registry, "detector", lambda name: made if name == "plugin" else known(name))

    return install


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


def test_a_scan_that_asked_nobody_is_incomplete(toys: tuple[Path, set[str]], with_plugin: Any) -> None:
    """No opinion is no clean bill."""
    with_plugin(Wanting())
    found = scan(toys[0], settings=ScanSettings(budget="fast", device="cpu", detectors=("plugin",)))
    assert found.incomplete == ("no detector could be run",)
    assert found.exit_code == 2


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean folder like the poisoned one, with a file in it that cannot be read."""
    root = tmp_path_factory.mktemp("reference") / "data"
    write_toys(root, planted=0, seed=SEED + 1)
    (root / "dot" / "cut.png").write_bytes(next((root / "dot").glob("0*.png")).read_bytes()[:60])
    return root


class Knowing(Misshapen):
    """Recognises what was planted, so that nothing here depends on what a hundred steps of training bring about."""

    def __init__(self, *, planted: frozenset[str] = frozenset()) -> None:
        self.planted = planted

    def _score(self, evidence: Evidence) -> Floats:
        known = [int(digest[:16], 16) for digest in self.planted]
        return 50.0 * np.isin(evidence.keys, np.array(known, np.uint64)) + evidence.keys % 1000 / 1000

    def _class_scores(self, evidence: Evidence) -> Floats:
        scores = self._score(evidence)
        return np.array([scores[evidence.labels == label].max() for label in evidence.classes])


def compared_with(reference: Path, **settings: Any) -> ScanSettings:
    """Trusted samples, and a level at which the toys' planted group is large enough to be seen."""
    return ScanSettings(
        budget="fast", device="cpu", trusted=str(reference), **{"fdr": 0.2, "detectors": ("plugin", "lof")} | settings
    )


@pytest.fixture(scope="module")
def comparison(toys: tuple[Path, set[str]], reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """What a scan says that compares the poisoned toys with clean ones, as it was written."""
    out, known = tmp_path_factory.mktemp("comparison") / "verdict", registry.detector
    made = Knowing(planted=frozenset(toys[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "detector", lambda name: made if name == "plugin" else known(name))
        written = scan(toys[0], out, compared_with(reference))
    assert Verdict.read(out).digest == written.digest
    return written


def test_what_was_planted_stands_out_from_trusted_samples(comparison: Verdict, toys: tuple[Path, set[str]]) -> None:
    """Found, at a false discovery rate that was asked for, and said in the answer."""
    assert flagged(comparison) == toys[1]
    assert comparison.incomplete == ()
    assert comparison.exit_code == 1
    answer = comparison.summary["answer"]
    assert (answer["poison_found"], answer["planted"]) == (True, PLANTED)
    assert answer["sentence"] == f"{PLANTED} of {TOTAL} samples look planted, in class 'bar'."


def test_the_report_is_about_suspects_alone(comparison: Verdict, verdict: Verdict) -> None:
    """Rows, counts and classes are those of a scan without a reference; what is unreadable there is not our concern."""
    assert comparison.table["id"].to_pylist() == verdict.table["id"].to_pylist()
    assert comparison.counts == verdict.counts
    assert [entry["size"] for entry in comparison.summary["classes"]] == [
        entry["size"] for entry in verdict.summary["classes"]
    ]


def test_neighbours_may_be_trusted_ones(comparison: Verdict) -> None:
    """They are named with the mark that tells where they lie."""
    near = {name for row in comparison.suspicious()["nearest"].to_pylist() for name in row}
    ids = set(comparison.table["id"].to_pylist())
    assert near
    assert all(name in ids or name.startswith("trusted:bar/") for name in near)


def test_the_calibration_names_its_reference(comparison: Verdict, reference: Path, toys: tuple[Path, set[str]]) -> None:
    """Its size and what that can reveal; its contents by a digest, and not where it lies."""
    calibration = comparison.summary["calibration"]
    assert (calibration["kind"], calibration["size"], calibration["fdr"]) == ("trusted", 180, 0.2)
    assert calibration["smallest_visible"] == 6  # 190 suspects / (181 * 0.2) = 5.2
    assert "180 trusted samples" in calibration["says"]
    assert len(calibration["digest"]) == 64
    assert str(reference) not in str(comparison.summary)


def test_the_same_reference_elsewhere_is_the_same_comparison(
    comparison: Verdict, reference: Path, toys: tuple[Path, set[str]], tmp_path: Path, with_plugin: Any
) -> None:
    """Its contents and labels decide; other contents are another reference."""
    with_plugin(Knowing(planted=frozenset(toys[1])))
    moved = shutil.copytree(reference, tmp_path / "moved")
    assert scan(toys[0], settings=compared_with(moved)).digest == comparison.digest
    next((moved / "box").glob("0*.png")).unlink()
    fewer = scan(toys[0], settings=compared_with(moved))
    assert fewer.summary["calibration"]["size"] == 179
    assert fewer.summary["calibration"]["digest"] != comparison.summary["calibration"]["digest"]


def test_clean_against_clean_flags_nothing(reference: Path, tmp_path: Path) -> None:
    """By all of our own detectors, at the level that is the default, which the summary names."""
    write_toys(tmp_path / "clean", planted=0, seed=SEED + 2)
    found = scan(tmp_path / "clean", settings=compared_with(reference, fdr=None, detectors=("auto",)))
    assert flagged(found) == set()
    assert found.exit_code == 0
    assert found.summary["calibration"]["fdr"] == pipeline.FDR


def test_a_contaminated_reference_is_no_clean_bill(
    toys: tuple[Path, set[str]], tmp_path: Path, with_plugin: Any
) -> None:
    """The same group on both sides: nothing is flagged, and the verdict is incomplete and says why."""
    both = toys[1] | write_toys(tmp_path / "dirty", seed=SEED + 3)
    with_plugin(Knowing(planted=frozenset(both)))
    found = scan(toys[0], settings=compared_with(tmp_path / "dirty"))
    assert flagged(found) == set()
    assert found.exit_code == 2
    assert found.incomplete == ("the trusted reference looks contaminated: 10 of its 'bar' samples look planted",)
    assert found.summary["answer"]["sentence"].startswith("Incomplete: the trusted reference")


def test_a_level_without_a_reference_is_refused() -> None:
    """There is nothing that it could be kept by."""
    with pytest.raises(UsageError, match=r"--fdr: expected a trusted source.*--trusted"):
        ScanSettings(fdr=0.1)


@pytest.mark.parametrize("fdr", [0.0, 1.0, -0.1, float("nan")])
def test_a_level_that_cannot_be_meant_is_refused(fdr: float) -> None:
    """Between none and all."""
    with pytest.raises(UsageError, match="--fdr: expected a level between 0 and 1"):
        ScanSettings(trusted="somewhere", fdr=fdr)


def test_a_reference_with_other_classes_is_refused(toys: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Samples are compared with their class: there has to be one."""
    write_toys(tmp_path / "data", planted=0, each=10)
    (tmp_path / "data" / "dot").rename(tmp_path / "data" / "star")
    with pytest.raises(SourceError, match="'star' is only in the trusted source"):
        scan(toys[0], tmp_path / "verdict", compared_with(tmp_path / "data", detectors=("lof",)))
    assert not (tmp_path / "verdict").exists()


def test_output_inside_the_reference_is_refused(toys: tuple[Path, set[str]], reference: Path) -> None:
    """It would be trusted the next time."""
    before = contents(reference)
    with pytest.raises(UsageError, match="lies inside the source"):
        scan(toys[0], reference / "verdict", compared_with(reference, detectors=("lof",)))
    assert contents(reference) == before


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
    monkeypatch.setattr(pipeline, "take_census", lambda *anything, **more: pytest.fail("it read the source"))
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
    """Names given twice are asked once, in the order given."""
    ours = registry.names(registry.DETECTORS, own=True)
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


# Scanning again, with a store


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A small set that may be changed."""
    write_toys(tmp_path / "data", each=20, planted=4, seed=SEED)
    return tmp_path / "data"


def settings_with(store: Path, **more: Any) -> ScanSettings:
    """A quick scan that remembers."""
    return ScanSettings(**{"budget": "fast", "device": "cpu", "store": str(store), "detectors": ("lof",), **more})


class ScannedAnew(Exception):
    """Somebody looked at the images."""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From ``idle()`` on, nothing may be embedded, scored or judged."""

    def refuse(*anything: Any, **more: Any) -> Any:
        raise ScannedAnew

    def stop() -> None:
        monkeypatch.setattr(Extraction, "__call__", refuse)
        monkeypatch.setattr(Detector, "score", refuse)

    return stop


def test_the_same_again_is_recalled(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Nothing is computed, every file is the same, and it says so; wherever store and output lie."""
    first = scan(mine, tmp_path / "one", settings_with(tmp_path / "store"))
    idle()
    again = scan(mine, tmp_path / "two", settings_with(tmp_path / "store"))
    assert (first.recalled, again.recalled) == (False, True)
    assert again.digest == first.digest
    assert again.exit_code == first.exit_code
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    (tmp_path / "store").rename(tmp_path / "moved")
    assert scan(mine, tmp_path / "one", settings_with(tmp_path / "moved")).recalled
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "two", settings_with(tmp_path / "another"))
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "two", settings_with(Path("none")))


def renamed(root: Path) -> None:
    """A file has another name."""
    file = sorted((root / "bar").iterdir())[0]
    file.rename(file.with_name("other.png"))


def relabelled(root: Path) -> None:
    """A file lies in another class."""
    file = sorted((root / "bar").iterdir())[0]
    file.rename(root / "box" / "other.png")


def one_byte_more(root: Path) -> None:
    """Behind the image: the pixels are the same."""
    with sorted((root / "bar").iterdir())[0].open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [renamed, relabelled, one_byte_more], ids=lambda change: change.__name__)
def test_changed_data_is_scanned_anew(mine: Path, tmp_path: Path, idle: Any, change: Any) -> None:
    """However little changed; and is recalled when it is what it was."""
    scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    shutil.copytree(mine, tmp_path / "kept")
    change(mine)
    idle()
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    shutil.rmtree(mine)
    (tmp_path / "kept").rename(mine)
    assert scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store")).recalled


def test_other_settings_are_another_scan(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Each of them; where it would be computed too."""
    scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    idle()
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"max_drop": 0.3},
        {"detectors": ("lof", "spectral")},
        {"detectors": ("spectral",)},
        {"budget": "standard"},
        {"device": "auto"},
        {"model": "torchvision:resnet18"},
        {"reference": "torchvision:resnet18"},
        {"trusted": str(mine)},
    ]
    for other in others:
        with pytest.raises(ScannedAnew):
            scan(mine, tmp_path / "other", settings_with(tmp_path / "store", **other))
    assert scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store")).recalled


def network(path: Path, seed: int) -> str:
    """A frozen network with random weights."""
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    save_file(CifarResNet(1, 4, 5).state_dict(), path)
    return str(path)


def test_another_checkpoint_under_the_same_name_is_another_scan(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Or another description beside it; the same one elsewhere is the same."""
    store, name = tmp_path / "store", network(tmp_path / "a" / "net.safetensors", 0)
    (tmp_path / "a" / "config.json").write_text("{}")
    scan(mine, tmp_path / "verdict", settings_with(store, model=name))
    idle()
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    moved = settings_with(store, model=str(tmp_path / "c" / "net.safetensors"))
    assert scan(mine, tmp_path / "verdict", moved).recalled
    (tmp_path / "c" / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", moved)
    network(tmp_path / "a" / "net.safetensors", 1)
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", settings_with(store, model=name))


def test_model_and_reference_do_not_change_places(mine: Path, tmp_path: Path) -> None:
    """Two files of one name: which is which decides."""
    a, b = (network(tmp_path / where / "net.safetensors", seed) for seed, where in enumerate("ab"))
    asked = [ScanSettings(model=one, reference=other) for one, other in ((a, b), (b, a))]
    chosen = choose_detectors(("lof",))
    assert decisive(asked[0], chosen, "data") != decisive(asked[1], chosen, "data")


def test_an_incomplete_scan_is_not_remembered(mine: Path, tmp_path: Path, with_plugin: Any) -> None:
    """Nor is one that asked a stranger, whose code may change without notice."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(registry.detector("lof")), "_score", Failing._score)
        assert scan(mine, tmp_path / "verdict", settings_with(store)).incomplete
    assert not scan(mine, tmp_path / "verdict", settings_with(store)).recalled
    with_plugin(Misshapen())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "origin", lambda group, name: "stranger")
        patch.setattr(Misshapen, "_class_scores", lambda self, evidence: np.zeros(len(evidence.classes)))
        for _ in range(2):
            found = scan(mine, tmp_path / "verdict", settings_with(store, detectors=("plugin",)))
            assert (found.incomplete, found.recalled) == ((), False)


def test_a_store_inside_the_source_is_refused(mine: Path, tmp_path: Path) -> None:
    """It would be data of the next scan; nothing is made there, nor in the trusted source."""
    before = contents(mine), sorted(mine.rglob("*"))
    write_toys(tmp_path / "trusted", each=2, planted=0)
    for store in (mine / "store", mine, tmp_path / "trusted" / "store"):
        with pytest.raises(UsageError, match="lies inside the source"):
            scan(mine, tmp_path / "verdict", settings_with(store, trusted=str(tmp_path / "trusted")))
    assert (contents(mine), sorted(mine.rglob("*"))) == before
    assert not (tmp_path / "trusted" / "store").exists()
    assert not (tmp_path / "verdict").exists()


@pytest.mark.parametrize("kind", ["verdicts", "views", "probes"])
def test_a_damaged_store_costs_time_and_nothing_else(mine: Path, tmp_path: Path, kind: str) -> None:
    """Whatever is broken is computed again, to the same files but for the time it took."""
    store = tmp_path / "store"
    first = scan(mine, tmp_path / "one", settings_with(store))
    (shard,) = (store / kind).rglob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    if kind != "verdicts":
        shutil.rmtree(store / "verdicts")
    again = scan(mine, tmp_path / "two", settings_with(store))
    assert not again.recalled
    assert again.digest == first.digest
    assert contents(tmp_path / "one")["verdicts.parquet"] == contents(tmp_path / "two")["verdicts.parquet"]
    assert scan(mine, tmp_path / "two", settings_with(store)).recalled


def test_without_output_a_probe_is_recalled_all_the_same(mine: Path, tmp_path: Path) -> None:
    """Nothing is written but the store; the spaces come from it."""
    asked = settings_with(tmp_path / "store")
    first = scan(mine, settings=asked)
    second = scan(mine, settings=asked)
    assert (first.digest, second.recalled) == (second.digest, False)
    assert "training the probe" in first.summary["timings"]
    assert "training the probe" not in second.summary["timings"]


#: The command line with a probe of a few seconds.
COMMAND = (
    "from sanitizer.cli import main; from sanitizer.embed import probe; probe.BUDGETS['fast'] = (32, 5, 400); main()"
)


@pytest.mark.slow
def test_a_scan_that_is_killed_at_any_moment_goes_on(toys: tuple[Path, set[str]], tmp_path: Path) -> None:
    """SIGKILL, again and again, then to the end: the same verdict, and nothing half-written is taken for one."""

    def start(out: Path, store: Path) -> subprocess.Popen[bytes]:
        words = ["scan", toys[0], "--out", out, "--store", store, "--budget", "fast", "--device", "cpu"]
        return subprocess.Popen([sys.executable, "-c", COMMAND, *map(str, words)], stderr=subprocess.DEVNULL)

    before = time.monotonic()
    assert start(tmp_path / "calm" / "verdict", tmp_path / "calm-store").wait() == 1
    took = time.monotonic() - before
    calm = Verdict.read(tmp_path / "calm" / "verdict")
    out, store = tmp_path / "rough" / "verdict", tmp_path / "store"
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        running = start(out, store)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(took * share)
        running.kill()
        running.wait()
        for found in out.parent.glob("*"):
            assert found.name == "verdict" or found.name.startswith(".partial-")
        if out.exists():
            assert Verdict.read(out).digest == calm.digest
    assert start(out, store).wait() == 1
    assert Verdict.read(out).digest == calm.digest
    assert {path.name for path in out.iterdir()} == OWN_FILES
