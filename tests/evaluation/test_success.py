"""The success meter: trains on what was written, beside what was there before, and says how sure it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.errors import SanitizerError, UsageError
from sanitizer.evaluation import success
from sanitizer.evaluation.success import Grade, Success, Victim, attack_of, lesson_of, lines, measure, unpoisoned, write
from sanitizer.progress import SILENT
from sanitizer.sources.base import Source, open_source
from tests.toys import CLASSES, write_toys

VICTIM = Victim(kind="convnet:8", epochs=6, device="cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training images, test images, and a poisoned copy of the first."""
    root = tmp_path_factory.mktemp("success")
    write_toys(root / "train", each=80, planted=0, seed=1)
    write_toys(root / "test", each=30, planted=0, seed=2)
    BadNets(rate=0.2, target="dot", size=4).poison(open_source(str(root / "train")), root / "poisoned")
    return root


@pytest.fixture(scope="module")
def poisoned(home: Path) -> PoisonedSet:
    """The poisoned copy."""
    return PoisonedSet.open(home / "poisoned")


@pytest.fixture(scope="module")
def tests(home: Path) -> Source:
    """What nobody trains on."""
    return open_source(str(home / "test"))


def test_a_strong_trigger_works_and_the_control_does_not_know_it(poisoned: PoisonedSet, tests: Source) -> None:
    """A victim says the target for most triggered images; one of the unpoisoned set has no reason to."""
    found = measure(poisoned, tests, VICTIM, seeds=(0, 1))
    assert [grade.seed for grade in found.poisoned] == [0, 1]
    assert all(grade.shown == 60 for grade in (*found.poisoned, *found.control))  # all but the target's own 30
    assert min(grade.success for grade in found.poisoned) > 0.8
    assert max(grade.success for grade in found.control) < 0.5
    assert min(grade.clean_accuracy for grade in found.control) > 0.7


def test_the_control_is_the_set_as_it_was(home: Path, poisoned: PoisonedSet) -> None:
    """Every pixel and label of the unpoisoned lesson is that of the source: only what was planted was undone."""
    census = readable(open_source(str(poisoned.data)), SILENT)
    lesson = lesson_of(census, 12)
    control = unpoisoned(lesson, census, poisoned)
    source = readable(open_source(str(home / "train")), SILENT)
    rows = {row["id"]: row["source_id"] for row in poisoned.truth().to_pylist()}
    places = {sample.id: place for place, sample in enumerate(source.samples)}
    order = [places[rows[sample.id]] for sample in census.samples]
    assert np.array_equal(control.pixels, source.views(12)[order])
    assert np.array_equal(control.labels, source.labels()[order])
    changed = (control.pixels != lesson.pixels).any(axis=(1, 2, 3))
    assert changed.sum() == poisoned.recipe["counts"]["poison"]


def test_the_attack_comes_back_from_its_recipe(poisoned: PoisonedSet) -> None:
    """With every setting, and with what it learned."""
    assert attack_of(poisoned) == BadNets(rate=0.2, target="dot", size=4)
    with pytest.raises(UsageError, match="recipe of this version"):
        attack_of(replace(poisoned, recipe={"attack": "badnets", "settings": {"unheard": 1}}))


def test_test_images_of_other_classes_are_refused(home: Path, poisoned: PoisonedSet) -> None:
    """No test image that the victim could name: one line says so."""
    write_toys(home / "foreign" / "deep", each=2, planted=0)
    with pytest.raises(SanitizerError, match=r"expected test images of the set's classes.*name a source") as caught:
        success.read_tests(open_source(str(home / "foreign")), ("cat", "dog"))
    assert "\n" not in str(caught.value)


def test_test_labels_are_matched_by_name(home: Path) -> None:
    """The test set may list its classes in another order."""
    tests = success.read_tests(open_source(str(home / "test")), tuple(reversed(CLASSES)))
    same = success.read_tests(open_source(str(home / "test")), CLASSES)
    assert np.array_equal(tests.labels, 2 - same.labels)


def test_a_test_set_that_memory_cannot_bear_is_thinned_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random part of it is shown."""
    monkeypatch.setattr(success, "TEST_BYTES", 40 * 12 * 12 * 3)
    assert len(success.read_tests(open_source(str(home / "test")), CLASSES).images) == 40


def test_success_may_be_an_answer_or_the_lack_of_one() -> None:
    """A backdoor wants one answer, noise wants any wrong one."""
    said, answers = np.array([1, 2, 2]), np.array([1, 1, 2])
    assert Exam([], answers).successes(said).tolist() == [True, False, True]
    assert Exam([], answers, "avoids").successes(said).tolist() == [False, True, False]


def test_few_trials_are_not_oversold(tmp_path: Path) -> None:
    """One target image is no rate: the lines say that single failures are normal; many images need no such remark."""
    failed = Success("a", "x", "t", "answers", (Grade(0, 0.9, 0.0, 1),), (Grade(0, 0.9, 0.0, 1),))
    worked = replace(failed, root="b", poisoned=(Grade(0, 0.8, 1.0, 1),))
    told = lines([failed, worked])
    assert "all 2 sets: success 50.0 % (0.0 to 100.0, 2 victims)" in told[2]
    assert "failed ones are normal" in told[3]
    many = replace(failed, poisoned=(Grade(0, 0.9, 0.5, 100),), control=())
    assert lines([many]) == ["a (x): success 50.0 % (answers); clean accuracy 90.0 %; no control"]
    write([failed], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())[0]["poisoned"][0]["shown"] == 1


def test_no_victims_are_no_measurement(poisoned: PoisonedSet, tests: Source) -> None:
    """Zero runs are refused, not reported as a share of nothing."""
    with pytest.raises(UsageError, match="at least 1, got 0"):
        success.measure_all([poisoned], tests, VICTIM, runs=0)


def test_a_source_that_is_gone_costs_the_control_only(poisoned: PoisonedSet, tests: Source) -> None:
    """With the way out in the message."""
    lost = replace(poisoned, recipe={**poisoned.recipe, "source": str(poisoned.root / "nowhere")})
    with pytest.raises(SanitizerError):
        measure(lost, tests, VICTIM)
    assert measure(lost, tests, replace(VICTIM, epochs=1), control=False).control == ()
