"""Sleeper Agent: a patch that no training image shows, and who is changed to teach it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from crafts import QUICK, assert_crafted_soundly, assert_resumes, toy_source, written
from made import assert_refused, assert_sound, grey, noise, source_of
from numpy.typing import NDArray
from toys import CLASSES

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.matching import gradient, length
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.sleeper_agent import SleeperAgent
from sanitizer.registry import attack as attack_named


class Watched(SleeperAgent):
    """Keeps what it saw."""

    def wanted(self, scene: Scene) -> torch.Tensor:
        """The same as ever."""
        seen.append((scene, super().wanted(scene)))
        return seen[-1][1]

    def pick_in(self, scene: Scene) -> NDArray[np.intp]:
        """The same as ever."""
        drawn.append(scene)
        return super().pick_in(scene)


seen: list[tuple[Scene, torch.Tensor]] = []
drawn: list[Scene] = []


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source and a set made from it, by an attack that was watched."""
    root = tmp_path_factory.mktemp("watched")
    Watched(**QUICK, eps=8, target="box", source="dot").poison(toy_source(root / "source"), root / "made", device="cpu")
    return root


def test_it_has_a_name() -> None:
    """Under which others find it, with the settings of the paper."""
    assert attack_named("sleeper_agent") is SleeperAgent
    attack = SleeperAgent()
    assert (attack.rate, attack.eps, attack.steps, attack.restarts, attack.size) == (0.01, 16, 250, 1, 8)
    assert attack.retrain
    assert attack.search().rounds == 5


def test_it_is_a_sound_trigger() -> None:
    """As every trigger."""
    assert_sound(SleeperAgent())


def test_the_patch_is_in_a_place_of_its_own_in_every_image() -> None:
    """The same place for the same image each time; nothing else changes."""
    images = noise(count=20)
    shown = SleeperAgent().trigger(images)
    assert np.array_equal(shown, SleeperAgent().trigger(images))
    places = set()
    for before, after in zip(images, shown, strict=True):
        rows, columns = np.nonzero((before != after).any(axis=2))
        assert (np.ptp(rows), np.ptp(columns)) == (7, 7)
        places.add((rows.min(), columns.min()))
    assert len(places) > 10
    assert len(np.unique(SleeperAgent().trigger(grey()[None])[0].reshape(-1, 3), axis=0)) > 4


def test_only_the_target_class_is_touched_within_the_ball(watched: Path) -> None:
    """As it lies on disk: nobody shows the patch."""
    made = PoisonedSet.open(watched / "made")
    from sanitizer.sources.base import open_source

    assert_crafted_soundly(made, open_source(str(watched / "source")), eps=8, target="box")
    assert made.recipe["notes"]["source"] == "dot"


def test_what_is_wanted_are_patched_images_of_the_source_class(watched: Path) -> None:
    """All of them, for the surrogates of every round."""
    assert len(seen) == 5
    scene, wanted = seen[0]
    dots = scene.lesson.pixels[scene.lesson.labels == 2]
    changed = (np.rint(wanted.permute(0, 2, 3, 1).numpy() * 255) != dots).any(axis=3).sum(axis=(1, 2))
    assert wanted.shape == (20, 3, 12, 12)
    assert changed.min() > 50
    assert changed.max() <= 64
    assert len({id(scene.surrogates[0]) for scene, _ in seen}) == 5


def test_those_are_changed_that_move_a_network_most(watched: Path) -> None:
    """The largest gradients of the target class, as long as they are its own."""
    scene, rows = drawn[0], seen[0][0].rows
    net = scene.surrogates[0]
    sizes = np.array(
        [
            float(length(gradient(net, list(net.parameters()), scene.images(np.array([row])), 1)))
            for row in range(len(scene.lesson.labels))
        ]
    )
    boxes = np.flatnonzero(scene.lesson.labels == 1)
    assert len(rows) == 6
    assert set(rows) <= set(boxes)
    assert sizes[rows].min() >= sizes[np.setdiff1d(boxes, rows)].max()


def test_the_exam_shows_the_patch_on_the_source_class_alone(watched: Path) -> None:
    """Of a set that was read back from disk."""
    made = PoisonedSet.open(watched / "made")
    attack = SleeperAgent(**made.recipe["settings"]).knowing(made.learned())
    images, labels = noise(12, 12, count=9), np.arange(9) % 3
    exam = attack.exam(list(images), labels, CLASSES)
    assert exam.answers.tolist() == [1, 1, 1]
    assert np.array_equal(np.stack(exam.images), attack.trigger(images[labels == 2]))


def test_the_source_is_the_class_after_the_target_if_none_is_named(tmp_path: Path) -> None:
    """And never the target itself; an empty one is refused."""
    images, labels = noise(12, 12, count=6), np.arange(6) % 3
    exam = SleeperAgent(target="dot").exam(list(images), labels, CLASSES)
    assert np.array_equal(np.stack(exam.images), SleeperAgent().trigger(images[labels == 0]))
    source = toy_source(tmp_path / "source", each=4)
    assert_refused(SleeperAgent(**QUICK, source="bar"), source, tmp_path, "source: expected another class")
    lone = source_of(tmp_path / "lone", count=1)
    assert_refused(SleeperAgent(**QUICK, source="dog"), lone, tmp_path, "images of the source class")


def test_it_goes_on_after_an_interruption(tmp_path: Path) -> None:
    """Surrogates are trained again on the poison as it was then, and come out the same."""
    source = toy_source(tmp_path / "source")
    assert_resumes(SleeperAgent(**QUICK | {"surrogate_epochs": 1}), source, tmp_path)


def test_the_same_seed_writes_the_same_bytes(watched: Path) -> None:
    """Another makes others."""
    made = PoisonedSet.open(watched / "made")
    from sanitizer.sources.base import open_source

    source = open_source(str(watched / "source"))
    settings = made.recipe["settings"]
    assert written(SleeperAgent(**settings).poison(source, watched / "same", device="cpu")) == written(made)
