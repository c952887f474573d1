"""Scans with ``--trusted``: suspects stand out from samples that somebody vouches for, or the verdict says why not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_scans import FAST, SEED, TOTAL, Misshapen, contents, flagged, hurried, name_plugin, poisoned
from toys import PLANTED, write_toys

from detectors.base import Evidence, Floats
from sanitizer import pipeline
from sanitizer.actions.apply import apply
from sanitizer.errors import SourceError, UsageError
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.record import Verdict
from sanitizer.sources.base import open_source


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


@pytest.fixture
def with_plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ``plugin`` the name of a detector."""
    return partial(name_plugin, monkeypatch)


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
    out = tmp_path_factory.mktemp("comparison") / "verdict"
    with pytest.MonkeyPatch.context() as patch:
        name_plugin(patch, Knowing(planted=frozenset(toys[1])))
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


def test_what_stands_out_from_trusted_samples_is_dropped_though_it_is_most_of_a_class(
    toys: tuple[Path, set[str]], reference: Path, tmp_path: Path, with_plugin: Any
) -> None:
    """Caps on classes are for scans that guess from the set itself; here a comparison has told."""
    source, truth = Path(shutil.copytree(toys[0], tmp_path / "data", symlinks=True)), toys[1]
    honest = [
        path for path in sorted((source / "bar").glob("0*.png")) if sha256(path.read_bytes()).hexdigest() not in truth
    ]
    for path in honest[5:]:
        path.unlink()
    with_plugin(Knowing(planted=frozenset(truth)))
    found = scan(source, tmp_path / "verdict", compared_with(reference))
    assert truth <= flagged(found)
    entry = found.summary["classes"][0]
    assert entry["suspicious"] > entry["size"] / 2
    applied = apply(tmp_path / "verdict", open_source(str(source)), tmp_path / "copy")
    assert set(applied.dropped) == set(found.suspicious()["id"].to_pylist())


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
