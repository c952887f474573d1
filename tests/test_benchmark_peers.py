"""The peers of the benchmark: asked as they are, never shown the truth, and missed loudly where they are absent."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection import peers
from benchmarks.detection.peers import PEERS, Opinion, Peer, hear, hear_all, read_opinions, write_opinions

ROOT = Path(__file__).parent.parent
#: An interpreter that may have the extra ``bench``: where a peer is absent, its answer has to say so.
PYTHON = os.environ.get("SANITIZER_PEERS", sys.executable)
OUTLIER, TWINS = 17, slice(0, 12)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Three classes in 16 dimensions, one sample far from all, and a clump of twelve beside the first class."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 80)
    features = (rng.normal(size=(240, 16)) + 4 * np.eye(16)[labels]).astype(np.float32)
    features[TWINS] += 6 * np.eye(16)[9].astype(np.float32)
    features[OUTLIER] += 30 * np.eye(16)[10].astype(np.float32)
    return features, labels


@pytest.fixture(scope="module")
def answers(rows: tuple[np.ndarray, np.ndarray]) -> dict[str, Opinion]:
    """What everybody says."""
    return hear_all(PYTHON, *rows)


def answered(answers: dict[str, Opinion], name: str) -> Opinion:
    """The answer of a peer, where it is installed."""
    if answers[name].version is None:
        pytest.skip(f"{answers[name].failed}: pip install 'dataset-sanitizer[bench]'")
    assert answers[name].failed is None
    return answers[name]


def test_everybody_answers_or_says_why_not(answers: dict[str, Opinion]) -> None:
    """No peer drops out silently."""
    assert answers.keys() == PEERS.keys()
    for name, said in answers.items():
        assert (said.scores is None) == (said.failed is not None)
        if said.version is None:
            assert said.failed == f"{PEERS[name].package} is not installed"


@pytest.mark.parametrize("name", ["cleanlab outlier score", "PyOD LOF"])
def test_an_outlier_scores_highest(answers: dict[str, Opinion], name: str) -> None:
    """Higher is more suspicious, whichever way the peer itself counts."""
    scores = answered(answers, name).scores
    assert scores is not None
    assert scores.argmax() == OUTLIER


def test_the_clump_is_a_cluster_of_its_own(answers: dict[str, Opinion]) -> None:
    """The flags come back in the order of the samples."""
    flags = answered(answers, "ART activation clustering").flags
    assert flags is not None
    assert flags[TWINS].all() or not flags[TWINS].any()  # k-means may prefer the outlier, never a part of the clump


def test_the_default_of_spectral_signatures_flags_half_of_everybody(answers: dict[str, Opinion]) -> None:
    """It expects a third of the set to be poison, and takes half as much again, class by class."""
    said = answered(answers, "ART spectral signatures")
    assert said.flags is not None
    assert said.flags.mean() == pytest.approx(0.495, abs=0.02)


@pytest.mark.parametrize(
    ("name", "share"), [("cleanlab outlier score", None), ("PyOD LOF", 0.1), ("ART activation clustering", None)]
)
def test_scores_and_flags_agree(answers: dict[str, Opinion], name: str, share: float | None) -> None:
    """What is flagged scores at least as high as what is not."""
    said = answered(answers, name)
    assert said.scores is not None
    if said.flags is None:
        assert PEERS[name].threshold == "none"
        return
    assert said.scores[said.flags].min() >= said.scores[~said.flags].max()
    assert share is None or said.flags.mean() == pytest.approx(share, abs=0.01)


def with_answer(scores: np.ndarray | Exception, package: str = "numpy") -> Peer:
    """A peer of a package that is installed, who says this."""

    def ask(features: np.ndarray, labels: np.ndarray) -> peers.Answer:
        if isinstance(scores, Exception):
            raise scores
        return scores, None

    return Peer(package, "features", "none", ask)


def test_a_peer_that_breaks_stops_nobody(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """The reason is recorded, one line of it."""
    said = hear(with_answer(ValueError("truth value\nof an array")), *rows)
    assert said.failed == "ValueError: truth value"
    assert said.scores is None


def test_a_peer_that_is_absent_is_named(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """By the package that is missing."""
    assert hear(with_answer(np.zeros(1), "no-such-package-here"), *rows) == Opinion(
        failed="no-such-package-here is not installed"
    )


def test_peers_that_take_their_process_down_are_all_missed(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """For want of memory, say: the figures of the scan beside them are kept."""
    said = hear_all("false", *rows)
    assert {one.failed for one in said.values()} == {"the process of the peers ended with 1"}
    assert said.keys() == PEERS.keys()


@pytest.mark.parametrize("scores", [np.full(240, np.nan), np.zeros(239), np.zeros((240, 1))])
def test_scores_that_are_none_are_refused(rows: tuple[np.ndarray, np.ndarray], scores: np.ndarray) -> None:
    """One finite number for each sample."""
    said = hear(with_answer(scores), *rows)
    assert said.failed == "its scores are not one finite number for each sample"
    assert said.scores is None


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    """Through a file without pickle, with and without arrays."""
    told = {
        "a": Opinion("1.0", None, 2.5, np.array([1.0, 2.0]), np.array([True, False])),
        "b": Opinion("2.0", None, 0.5, np.array([3.0]), None),
        "c": Opinion(failed="c is not installed"),
    }
    write_opinions(tmp_path / "answers.npz", told)
    found = read_opinions(tmp_path / "answers.npz")
    assert {name: said.facts() for name, said in found.items()} == {name: said.facts() for name, said in told.items()}
    for name, said in told.items():
        for field in ("scores", "flags"):
            np.testing.assert_array_equal(getattr(found[name], field), getattr(said, field))


def test_peers_have_no_field_for_the_truth() -> None:
    """What they get is features and labels, in a file of their own."""
    assert {field.name for field in dataclasses.fields(Opinion)} == {"version", "failed", "seconds", "scores", "flags"}
    code = (
        "import sys, benchmarks.detection.peers; "
        "sys.exit(any(name.partition('.')[0] in ('sanitizer', 'detectors', 'torch') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
