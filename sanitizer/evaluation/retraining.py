"""Does removing what was flagged help? Victims trained with and without it, on the same set from the same seeds.

Beside what the scan flagged stand two yardsticks: as many samples removed at random, and exactly the poison
removed, which is the best that any filter could do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.classifiers import Lesson, learner
from sanitizer.errors import UsageError
from sanitizer.evaluation.ranking import over_seeds
from sanitizer.evaluation.success import Grade, Victim, attack_of, grade, lesson_of, read_tests, teach
from sanitizer.pipeline import ScanSettings
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Source, open_source

BEFORE, AFTER, RANDOM, PERFECT = "before", "after", "random", "perfect"
#: What the victims of each arm are trained on.
ARMS = {
    BEFORE: "everything, as written",
    AFTER: "without what the scan flagged",
    RANDOM: "without as many, drawn at random for each victim",
    PERFECT: "without exactly the poison (cover samples stay): a perfect filter, which nobody has",
}
#: Which arms are subtracted from each other, victim by victim.
DIFFERENCES = ((AFTER, BEFORE), (RANDOM, BEFORE), (PERFECT, BEFORE), (AFTER, RANDOM))
MEASURES = ("success", "clean_accuracy")


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """How victims are trained and examined.

    Args:
        tests: Labelled images of the same classes that nobody trains on.
        victim: What is trained.
        runs: Victims for each arm, one a seed.
    """

    tests: Source
    victim: Victim
    runs: int = 3

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise UsageError(f"--runs: expected at least 1, got {self.runs}: train at least one victim")


def retraining(tests: str | None, *, victim: str, epochs: int | None, runs: int, scan: ScanSettings) -> Retraining:
    """As the command line says it; device, budget and columns are those of the scan."""
    if tests is None:
        raise UsageError("--retrain: expected test images that nobody trains on, got none: name them with --tests")
    opened = open_source(tests, image_column=scan.image_column, label_column=scan.label_column)
    trained = Victim(kind=victim, budget=scan.budget, epochs=epochs, device=scan.device)
    learner(victim, samples=1000, native_side=32, budget=scan.budget, epochs=epochs)  # refuses what it does not know
    return Retraining(tests=opened, victim=trained, runs=runs)


def retrain(
    poisoned: PoisonedSet,
    flagged: Collection[str],
    how: Retraining,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What the victims of every arm do, and how that differs.

    Args:
        poisoned: What to train on.
        flagged: The ids that a scan would have removed.
        how: Victims and test images.
        image_column: As of a scan.
        label_column: As of a scan.
        progress: Who is told how far it is.
    """
    source = open_source(str(poisoned.data), image_column=image_column, label_column=label_column)
    census = readable(source, progress)
    ids, kind = [sample.id for sample in census.samples], how.victim.learner(census)
    lesson = lesson_of(census, kind.side)
    paper = read_tests(how.tests, census.class_names, progress)
    exam = attack_of(poisoned).exam(paper.images, paper.labels, census.class_names)
    truth = {row["id"] for row in poisoned.truth().to_pylist() if row["is_poison"]}
    removed = {AFTER: _among(ids, flagged), PERFECT: _among(ids, truth)}

    def examined(taught: Lesson, seed: int) -> Grade:
        return grade(teach(kind, taught, seed, how.victim, progress), kind.side, exam, paper, seed, how.victim)

    grades: dict[str, list[Grade]] = {arm: [] for arm in ARMS}
    for seed in range(how.runs):
        drawn = at_random(len(ids), int(removed[AFTER].sum()), seed)
        before = examined(lesson, seed)
        grades[BEFORE].append(before)
        for arm, rows in (removed | {RANDOM: drawn}).items():
            grades[arm].append(examined(without(lesson, rows), seed) if rows.any() else before)
    return {
        "says": "test images misread" if exam.goal == "avoids" else "answers as the attacker hopes",
        "victim": asdict(how.victim),
        "removed": {arm: int(rows.sum()) for arm, rows in (removed | {RANDOM: removed[AFTER]}).items()},
        "arms": {arm: [asdict(one) for one in grades[arm]] for arm in ARMS},
        "differences": {f"{arm} - {other}": paired(grades[arm], grades[other]) for arm, other in DIFFERENCES},
    }


def without(lesson: Lesson, removed: NDArray[np.bool_]) -> Lesson:
    """What is left of a lesson; the classes stay, even an emptied one."""
    kept = ~removed
    if not kept.any():
        raise UsageError("expected samples to train on, got none: everything would be removed")
    return replace(lesson, pixels=lesson.pixels[kept], labels=lesson.labels[kept], keys=lesson.keys[kept])


def at_random(size: int, count: int, seed: int) -> NDArray[np.bool_]:
    """So many rows of a set of this size.

    >>> int(at_random(10, 3, seed=0).sum())
    3
    """
    rows = np.zeros(size, bool)
    rows[np.random.default_rng([seed, size]).choice(size, count, replace=False)] = True
    return rows


def paired(ours: list[Grade], theirs: list[Grade]) -> dict[str, dict[str, Any]]:
    """The differences of two arms, victim by victim, with their interval."""
    return {
        measure: asdict(
            over_seeds([getattr(a, measure) - getattr(b, measure) for a, b in zip(ours, theirs, strict=True)])
        )
        for measure in MEASURES
    }


def _among(ids: list[str], chosen: Collection[str]) -> NDArray[np.bool_]:
    members = set(chosen)
    return np.array([name in members for name in ids], bool)
