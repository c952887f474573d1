"""The success meter: victims trained on a poisoned set as it was written, and on the same set without its poison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sanitizer import registry
from sanitizer.attacks.base import Attack
from sanitizer.attacks.exam import Exam
from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.classifiers import Learner, Lesson, learner, predict
from sanitizer.devices import resolve_device
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, content_noise
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Pixels, Source, open_source
from sanitizer.sources.census import Census
from sanitizer.sources.decode import LIMITS, decode, fit
from sanitizer.sources.encode import encode
from sanitizer.writing import write_whole

#: Test images are held at their own size; of a set that is larger than this, a random part is shown.
TEST_BYTES = 2 * 2**30

#: Of fewer shown images a share says little.
_FEW = 10


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What is trained on the set.

    Args:
        kind: ``convnet``, ``convnet:WIDTH``, ``resnet18``, ``frozen:NETWORK`` or ``tuned:NETWORK``.
        budget: ``fast``, ``standard`` or ``thorough``: image size and epochs, as of a scan.
        epochs: Passes over the data; what the budget says if None.
        device: ``auto``, ``cpu`` or ``cuda:N``.
    """

    kind: str = "convnet"
    budget: str = "standard"
    epochs: int | None = None
    device: str = "auto"

    def learner(self, census: Census) -> Learner:
        """As it is for a set of this size."""
        return learner(
            self.kind, samples=len(census.samples), native_side=census.native_side(), budget=self.budget,
            epochs=self.epochs,
        )  # fmt: skip


@dataclass(frozen=True)
class Tests:
    """Labelled images that nobody trains on, at their own size; labels are those of the poisoned set."""

    images: Sequence[Pixels]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Grade:
    """How one victim did."""

    seed: int
    clean_accuracy: float
    success: float  # share of what it was shown by the attacker that it answered as hoped
    shown: int


@dataclass(frozen=True)
class Success:
    """What one poisoned set does to victims, and what its unpoisoned control does."""

    root: str
    attack: str
    threat: str
    says: str  # what success is
    poisoned: tuple[Grade, ...]
    control: tuple[Grade, ...]


def measure_all(
    sets: Sequence[PoisonedSet],
    tests: Source,
    victim: Victim,
    *,
    runs: int = 1,
    control: bool = True,
    progress: Progress = SILENT,
) -> list[Success]:
    """Train ``runs`` victims on each set; see ``measure``."""
    if runs < 1:
        raise UsageError(f"runs: expected at least 1, got {runs}: train at least one victim a set")
    return [measure(made, tests, victim, seeds=range(runs), control=control, progress=progress) for made in sets]


def measure(
    poisoned: PoisonedSet,
    tests: Source,
    victim: Victim,
    *,
    seeds: Sequence[int] = (0,),
    control: bool = True,
    progress: Progress = SILENT,
) -> Success:
    """Train a victim for every seed on the files as written, and show it what the attack is meant for.

    Args:
        poisoned: What to train on.
        tests: Labelled images of the same classes that are not in the set.
        victim: What to train.
        seeds: One victim each.
        control: Train on the unpoisoned set as well; it has to be where the recipe says that it was.
        progress: Who is told how far it is.
    """
    attack = attack_of(poisoned)
    census = readable(open_source(str(poisoned.data)), progress)
    kind = victim.learner(census)
    lesson = lesson_of(census, kind.side)
    paper = read_tests(tests, census.class_names, progress)
    exam = attack.exam(paper.images, paper.labels, census.class_names)
    lessons = [lesson] + ([unpoisoned(lesson, census, poisoned, progress)] if control else [])
    grades: list[tuple[Grade, ...]] = []
    for taught in lessons:
        nets = (teach(kind, taught, seed, victim, progress) for seed in seeds)
        grades.append(
            tuple(grade(net, kind.side, exam, paper, seed, victim) for seed, net in zip(seeds, nets, strict=True))
        )
    says = "test images misread" if exam.goal == "avoids" else "answers as the attacker hopes"
    root, control_grades = str(poisoned.root), grades[1] if control else ()
    return Success(root, attack.name, attack.threat, says, grades[0], control_grades)


def lines(found: Sequence[Success]) -> list[str]:
    """What was measured, in words: every set, then all of them."""
    said = [f"{one.root} ({one.attack}): {_outcome(one)}" for one in found]
    if len(found) > 1:
        pooled = replace(
            found[0],
            poisoned=tuple(grade for one in found for grade in one.poisoned),
            control=tuple(grade for one in found for grade in one.control),
        )
        said.append(f"all {len(found)} sets: {_outcome(pooled)}")
    if any(grade.shown < _FEW for one in found for grade in one.poisoned):
        said.append(
            "A victim was shown only a few target images: single trials of a targeted attack fail or succeed as a "
            "whole, and failed ones are normal. Judge it by many sets (other --seed) and several --runs."
        )
    return said


def _outcome(one: Success) -> str:
    success = f"success {_spread([grade.success for grade in one.poisoned])} ({one.says})"
    accuracy = f"clean accuracy {_spread([grade.clean_accuracy for grade in one.poisoned])}"
    if not one.control:
        return f"{success}; {accuracy}; no control"
    before = _spread([grade.success for grade in one.control])
    return f"{success}, unpoisoned {before}; {accuracy}, unpoisoned " + _spread(
        [grade.clean_accuracy for grade in one.control]
    )


def _spread(shares: Sequence[float]) -> str:
    """Mean and range.

    >>> _spread([0.5]), _spread([0.9, 1.0])
    ('50.0 %', '95.0 % (90.0 to 100.0, 2 victims)')
    """
    mean = f"{100 * sum(shares) / len(shares):.1f} %"
    if len(shares) == 1:
        return mean
    return f"{mean} ({100 * min(shares):.1f} to {100 * max(shares):.1f}, {len(shares)} victims)"


def write(found: Sequence[Success], path: Path) -> None:
    """Every figure, as JSON."""
    write_whole(path, (json.dumps([asdict(one) for one in found], indent=1) + "\n").encode())


def attack_of(poisoned: PoisonedSet) -> Attack:
    """The attack that made a set, with all that it learned then."""
    try:
        name, settings = poisoned.recipe["attack"], poisoned.recipe["settings"]
        return registry.attack(name)(**settings).knowing(poisoned.learned())
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"expected a recipe of this version in {str(poisoned.root)!r}, got {error}: run `sanitizer poison` again"
        ) from None


def lesson_of(census: Census, side: int) -> Lesson:
    """A set as a victim learns it."""
    labels = census.labels()
    if (labels < 0).any():
        raise UsageError(
            f"expected a label for every sample, {int((labels < 0).sum())} have none: label or remove them"
        )
    return Lesson(census.views(side), labels, census.keys(), len(census.class_names))


def unpoisoned(lesson: Lesson, census: Census, poisoned: PoisonedSet, progress: Progress = SILENT) -> Lesson:
    """The same set as if it had not been poisoned: what was planted is replaced by what it was made from."""
    encoding = poisoned.recipe["encoding"]
    planted = {row["source_id"]: row["id"] for row in poisoned.truth().to_pylist() if row["kind"] != "clean"}
    source = open_source(str(poisoned.recipe["source"]))
    if len(census.class_names) != len(source.class_names):
        raise UsageError(
            f"expected the source of the set at {source.uri!r}, got other classes: measure without control"
        )
    rows = {sample.id: row for row, sample in enumerate(census.samples)}
    pixels, labels = lesson.pixels.copy(), lesson.labels.copy()
    left = dict(planted)
    with progress.stage("control", len(planted)) as advance:
        for found in source.stream(frozenset(planted)):
            if found.content is None or found.label is None or found.id not in left:
                continue
            stored = encode(decode(found.content, LIMITS), encoding["format"], encoding.get("quality", 95))
            row = rows[left.pop(found.id)]
            pixels[row], labels[row] = fit(decode(stored, LIMITS), pixels.shape[1]), found.label
            advance(1)
    if left:
        raise UsageError(
            f"expected {next(iter(left))!r} in {source.uri!r}, which the set was made from; got nothing: "
            "put the source back, or measure without control"
        )
    return replace(lesson, pixels=pixels, labels=labels)


def read_tests(tests: Source, class_names: Sequence[str], progress: Progress = SILENT) -> Tests:
    """Test images of the classes that the set has."""
    census = readable(tests, progress)
    known = {name: label for label, name in enumerate(class_names)}
    labels = np.array([known.get(census.class_names[label], -1) if label >= 0 else -1 for label in census.labels()])
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UsageError(
            f"expected test images of the set's classes ({', '.join(class_names[:5])}, ...), {tests.uri!r} has none: "
            "name a source with the same class names"
        )
    area = sum(3 * sample.size[0] * sample.size[1] for sample in (census.samples[row] for row in rows))
    if area > TEST_BYTES:
        order = np.argsort(content_noise(census.keys()[rows], 0, 0), kind="stable")
        rows = np.sort(rows[order[: max(1, int(len(rows) * TEST_BYTES / area))]])
    images = dict(census.each_image(rows))
    return Tests([images[row] for row in rows.tolist()], labels[rows])


def teach(kind: Learner, lesson: Lesson, seed: int, victim: Victim, progress: Progress = SILENT) -> Classifier:
    """One victim."""
    with progress.stage(f"victim {seed}", kind.work(len(lesson.pixels))) as advance:
        return kind.fit(lesson, seed=seed, device=resolve_device(victim.device), on_batch=advance)


def grade(net: Classifier, side: int, exam: Exam, tests: Tests, seed: int, victim: Victim) -> Grade:
    """What one victim says to the test images as they are, and to those of the attacker."""
    device = resolve_device(victim.device)
    plain = predict(net, _fitted(tests.images, side), device=device)
    hits = exam.successes(predict(net, _fitted(exam.images, side), device=device))
    if not len(hits):
        raise UsageError("expected test images that the attack is meant for, got none: name other test images")
    return Grade(seed, float((plain == tests.labels).mean()), float(hits.mean()), len(hits))


def _fitted(images: Sequence[Pixels], side: int) -> NDArray[np.uint8]:
    return np.stack([fit(image, side) for image in images]) if images else np.empty((0, side, side, 3), np.uint8)
