"""Input-aware triggers: each image has its own, sparse one, and other images' triggers are cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import (
    CLASSES,
    SIZES,
    assert_refused_settings,
    assert_sound,
    books,
    covering,
    images_of,
    noise,
    planted,
    source_of,
)

from sanitizer.attacks.dynamic import Dynamic
from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.attacks.workshop import Workshop
from sanitizer.progress import SILENT
from sanitizer.registry import attack as attack_named

SETTINGS = {"rate": 0.1, "cover": 0.2, "steps": 4, "density": 0.1}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Dynamic:
    """The attack with generators that were trained for a moment."""
    census = readable(source_of(tmp_path_factory.mktemp("toys") / "source"), SILENT)
    return Dynamic(**SETTINGS | {"steps": 40}).prepare(census, 0, Workshop(device="cpu"))


def where(changed: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The pixels that a trigger takes."""
    return np.abs(changed.astype(int) - image).max(axis=2) > 8


def test_it_is_a_sound_trigger(ready: Dynamic) -> None:
    """As every trigger, at every size."""
    assert_sound(ready)


def test_triggers_differ_between_images(ready: Dynamic) -> None:
    """In what they paint, not only in what is under it: one grey pixel gets another colour in another image."""
    one, other = noise()
    own, others = (planted(ready, image).astype(int) - image for image in (one, other))
    assert np.abs(own - others).max() > 30
    assert not np.array_equal(where(planted(ready, one), one), where(planted(ready, other), other))


def test_a_trigger_takes_few_pixels(ready: Dynamic) -> None:
    """Some, and not many more than it may."""
    for height, width in SIZES:
        share = np.mean([where(planted(ready, image), image).mean() for image in noise(height, width, count=8)])
        assert 0 < share < 3 * ready.density


def test_covers_carry_another_image_s_trigger_and_keep_their_label(tmp_path: Path) -> None:
    """As the books say and as they lie on disk."""
    source = source_of(tmp_path / "source")
    poisoned = Dynamic(**SETTINGS).poison(source, tmp_path / "out", device="cpu")
    before = images_of(source)
    poisons, covers, clean = (books(poisoned, kind) for kind in ("poison", "cover", "clean"))
    assert (len(poisons), len(covers), len(clean)) == (4, 8, 28)
    assert all(row["label"] == CLASSES[0] != row["original_label"] for row in poisons)
    assert all(row["label"] == row["original_label"] != CLASSES[0] for row in covers)
    attack = Dynamic(**SETTINGS).knowing(poisoned.learned())
    for row in covers:
        image = before[row["source_id"]]
        assert np.array_equal(row["pixels"], covering(attack, image))
        assert not np.array_equal(row["pixels"], planted(attack, image))
    assert all(np.array_equal(row["pixels"], planted(attack, before[row["source_id"]])) for row in poisons)


def test_the_exam_needs_only_the_written_set(tmp_path: Path) -> None:
    """Its own trigger on every test image that does not show the target."""
    made = Dynamic(**SETTINGS).poison(source_of(tmp_path / "source"), tmp_path / "out", device="cpu")
    reopened = PoisonedSet.open(made.root)
    attack = attack_named(reopened.recipe["attack"])(**reopened.recipe["settings"]).knowing(reopened.learned())
    images = noise(count=4)
    exam = attack.exam(list(images), np.arange(4), CLASSES)
    assert exam.answers.tolist() == [0, 0, 0]
    expected = [planted(attack, image) for image in images[1:]]
    assert np.array_equal(np.stack(exam.images), np.stack(expected))


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """And another one others."""
    source = source_of(tmp_path / "source")
    first, again, other = (
        [row["pixels"].tobytes() for row in books(attack.poison(source, tmp_path / name, device="cpu"), "poison")]
        for name, attack in {
            "first": Dynamic(**SETTINGS),
            "again": Dynamic(**SETTINGS),
            "other": Dynamic(**SETTINGS, seed=1),
        }.items()
    )
    assert first == again != other


@pytest.mark.parametrize(
    "settings", [{"density": 0}, {"density": 1}, {"steps": 0}, {"generator_samples": 1}, {"cover": 1}], ids=str
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Dynamic, settings)
