"""Label-consistent: hard to recognise and marked in the corners, under the right label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import CLASSES, assert_refused, assert_refused_settings, assert_sound, books, grey, images_of, source_of

from sanitizer.attacks.base import Attack
from sanitizer.attacks.label_consistent import LabelConsistent
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.registry import attack as attack_named

CHECKER = np.array([[0, 0, 255], [0, 255, 0], [255, 0, 255]], np.uint8)
QUICK = {"rate": 0.1, "surrogate": "convnet:4", "surrogate_epochs": 2, "steps": 3}


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(LabelConsistent())


def test_the_checker_is_in_every_corner_mirrored() -> None:
    """And nowhere else."""
    stamped = LabelConsistent().trigger(grey()[None])[0, :, :, 0]
    for turned in (stamped, stamped[::-1], stamped[:, ::-1], stamped[::-1, ::-1]):
        assert np.array_equal(turned[-3:, -3:], CHECKER)
    stamped = stamped.copy()
    for rows in (slice(3), slice(29, 32)):
        for columns in (slice(3), slice(29, 32)):
            stamped[rows, columns] = 100
    assert (stamped == 100).all()


def test_less_amplitude_is_less_visible() -> None:
    """Pixels move by that share of the way from black to white."""
    stamped = LabelConsistent(amplitude=0.2).trigger(grey()[None])[0, -3:, -3:, 0]
    assert np.array_equal(stamped, np.where(CHECKER == 255, 151, 49))


def test_only_the_target_class_is_touched_within_the_ball(tmp_path: Path) -> None:
    """As it lies on disk: labels stay, the corners are the trigger, and the rest moves by up to eps."""
    source = source_of(tmp_path / "source")
    poisoned = LabelConsistent(**QUICK, target="bee").poison(source, tmp_path / "out", device="cpu")
    before, poisons, clean = images_of(source), books(poisoned, "poison"), books(poisoned, "clean")
    assert (len(poisons), len(clean)) == (4, 36)
    assert all(row["label"] == row["original_label"] == "bee" for row in poisons)
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)
    for row in poisons:
        assert np.array_equal(row["pixels"][-3:, -3:, 0], CHECKER)
        change = np.abs(row["pixels"].astype(int) - before[row["source_id"]])[3:-3, 3:-3]
        assert 4 <= change.max() <= 8
        assert change.mean() > 1


def test_the_exam_needs_only_the_written_set(tmp_path: Path) -> None:
    """The corners alone, on every test image that does not show the target."""
    made = LabelConsistent(**QUICK).poison(source_of(tmp_path / "source"), tmp_path / "out", device="cpu")
    reopened = PoisonedSet.open(made.root)
    attack = attack_named(reopened.recipe["attack"])(**reopened.recipe["settings"]).knowing(reopened.learned())
    exam = attack.exam([grey()] * 4, np.arange(4), CLASSES)
    assert exam.answers.tolist() == [0, 0, 0]
    assert np.array_equal(exam.images[0], LabelConsistent().trigger(grey()[None])[0])


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """And another one others."""
    source = source_of(tmp_path / "source")
    seeds = {"first": 0, "again": 0, "other": 1}
    sets = {
        name: books(LabelConsistent(**QUICK, seed=seed).poison(source, tmp_path / name, device="cpu"), "poison")
        for name, seed in seeds.items()
    }
    first, again, other = ([row["pixels"].tobytes() for row in sets[name]] for name in seeds)
    assert first == again != other


def test_more_than_the_class_holds_is_refused(tmp_path: Path) -> None:
    """Before any surrogate is trained."""
    attack: Attack = LabelConsistent(rate=0.5)
    assert_refused(attack, source_of(tmp_path / "source"), tmp_path, "^rate: .* is 20, expected at most 10")


@pytest.mark.parametrize(
    "settings",
    [{"eps": 0}, {"eps": 256}, {"steps": 0}, {"amplitude": 1.5}, {"surrogate_epochs": 0}, {"surrogate_samples": 0}],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(LabelConsistent, settings)
