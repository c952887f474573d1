"""Retraining: every arm is trained on what its name says, from the same seeds, and compared victim by victim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanitizer.attacks.adaptive_blend import AdaptiveBlend
from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.classifiers import Lesson
from sanitizer.errors import UsageError
from sanitizer.evaluation import retraining
from sanitizer.evaluation.retraining import AFTER, ARMS, BEFORE, PERFECT, RANDOM, Retraining, retrain, without
from sanitizer.evaluation.success import Grade, Victim
from sanitizer.pipeline import ScanSettings
from sanitizer.sources.base import open_source
from tests.toys import write_toys


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test images, and a poisoned set."""
    root = tmp_path_factory.mktemp("retraining")
    write_toys(root / "train", each=30, planted=0, seed=1)
    write_toys(root / "test", each=10, planted=0, seed=2)
    BadNets(rate=0.2, target="dot", size=4).poison(open_source(str(root / "train")), root / "poisoned")
    return root


@pytest.fixture
def poisoned(home: Path) -> PoisonedSet:
    """The poisoned set."""
    return PoisonedSet.open(home / "poisoned")


@pytest.fixture
def how(home: Path) -> Retraining:
    """Tiny victims."""
    victim = Victim(kind="convnet:8", epochs=8, device="cpu")
    return Retraining(tests=open_source(str(home / "test")), victim=victim, runs=2)


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[Lesson]:
    """What victims would have been taught; nobody is trained."""
    taught: list[Lesson] = []

    def teach(kind: Any, lesson: Lesson, seed: int, *rest: Any) -> Any:
        taught.append(lesson)
        return len(lesson.pixels)

    monkeypatch.setattr(retraining, "teach", teach)
    monkeypatch.setattr(
        retraining, "grade", lambda net, side, exam, paper, seed, victim: Grade(seed, net / 1000, net / 100 + seed, 9)
    )
    return taught


def ids(poisoned: PoisonedSet, kind: str) -> list[str]:
    """The samples that are truly of a kind."""
    return [row["id"] for row in poisoned.truth().to_pylist() if row["kind"] == kind]


def test_removing_the_poison_helps_and_removing_at_random_does_not(poisoned: PoisonedSet, how: Retraining) -> None:
    """Real victims: flags that are the truth do what a perfect filter does, to the digit."""
    found = retrain(poisoned, ids(poisoned, "poison"), replace(how, runs=1))
    arms = found["arms"]
    assert arms[AFTER] == arms[PERFECT]
    assert arms[BEFORE][0]["success"] > 0.7
    assert arms[RANDOM][0]["success"] > 0.5
    assert arms[AFTER][0]["success"] < 0.4
    assert found["removed"] == {AFTER: 18, PERFECT: 18, RANDOM: 18}
    assert found["differences"]["after - before"]["success"]["low"] is None  # one victim has no interval


def test_every_arm_learns_what_it_says(poisoned: PoisonedSet, how: Retraining, lessons: list[Lesson]) -> None:
    """Everything; without the flagged; without the poison; without as many that another draw chose for each victim."""
    flagged = ids(poisoned, "clean")[:5]
    found = retrain(poisoned, flagged, how)
    assert [len(lesson.pixels) for lesson in lessons] == [90, 85, 72, 85] * 2
    drawn = [lesson.keys.tolist() for lesson in lessons if len(lesson.pixels) == 85]
    assert drawn[0] == drawn[2]  # the flagged are the same for every victim
    assert drawn[1] != drawn[3]
    assert [grade["seed"] for grade in found["arms"][RANDOM]] == [0, 1]
    assert set(found["arms"]) == set(ARMS)


def test_differences_are_paired(poisoned: PoisonedSet, how: Retraining, lessons: list[Lesson]) -> None:
    """Victims of other seeds differ by a whole, those of the same seed by the same amount: the interval is a point."""
    found = retrain(poisoned, ids(poisoned, "poison")[:10], how)["differences"]["after - before"]["success"]
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((-0.1, -0.1, -0.1))
    assert found["runs"] == 2


def test_nothing_flagged_changes_nothing(poisoned: PoisonedSet, how: Retraining, lessons: list[Lesson]) -> None:
    """And costs no training: two arms for each victim, before and perfect."""
    found = retrain(poisoned, [], how)
    assert found["arms"][AFTER] == found["arms"][BEFORE] == found["arms"][RANDOM]
    assert len(lessons) == 2 * how.runs


def test_a_perfect_filter_keeps_cover_samples(home: Path, how: Retraining, lessons: list[Lesson]) -> None:
    """Their labels are right: they are no poison."""
    attack = AdaptiveBlend(rate=0.1, cover=0.1, target="dot")
    made = attack.poison(open_source(str(home / "train")), home / "covered")
    assert len(ids(made, "cover")) == 9
    found = retrain(made, [], how)
    assert found["removed"][PERFECT] == len(ids(made, "poison")) == 9


def test_nothing_left_is_refused() -> None:
    """A victim needs something to learn from."""
    lesson = Lesson(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64), np.zeros(2, np.uint64), 2)
    with pytest.raises(UsageError, match="everything would be removed"):
        without(lesson, np.ones(2, bool))


def test_what_cannot_be_meant_is_refused_beforehand(home: Path, how: Retraining) -> None:
    """Before anything is scanned."""
    scan, tests = ScanSettings(device="cpu"), str(home / "test")
    with pytest.raises(UsageError, match="--tests"):
        retraining.retraining(None, victim="convnet", epochs=None, runs=1, scan=scan)
    with pytest.raises(UsageError, match="name of a classifier"):
        retraining.retraining(tests, victim="nonesuch", epochs=None, runs=1, scan=scan)
    with pytest.raises(UsageError, match="epochs"):
        retraining.retraining(tests, victim="convnet", epochs=0, runs=1, scan=scan)
    with pytest.raises(UsageError, match="--runs: expected at least 1"):
        replace(how, runs=0)
