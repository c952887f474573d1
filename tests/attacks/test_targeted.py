"""The family of triggerless attacks: which test images are to be misread, as what, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from crafts import QUICK, assert_crafted_soundly, toy_source
from made import CLASSES, assert_refused, assert_refused_settings, books, images_of, source_of
from toys import CLASSES as TOYS

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.crafting import Loss
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.targeted import TargetedAttack
from sanitizer.errors import UsageError
from sanitizer.sources.base import Source

SMALL = QUICK | {"steps": 1, "surrogate_epochs": 1}


@dataclass(frozen=True, kw_only=True)
class Towards(TargetedAttack):
    """The simplest of them: images that look more like the target image."""

    name: ClassVar[str] = "towards"
    paper: ClassVar[str] = "none"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Images that look more like the target image."

    def loss(self, scene: Scene) -> Loss:
        """The squared distance of pixels."""
        wanted = self.targets_in(scene).mean(dim=0)
        return lambda images, rows: ((images - wanted) ** 2).mean()


def tables(root: Path, *, train: int = 24, test: int = 12) -> tuple[Source, Source]:
    """Two tables with the same four classes and other images."""
    return source_of(root / "train", count=train), source_of(root / "test", count=test, seed=1)


def setup_file(root: Path, **changes: Any) -> str:
    """A file with one setup: a bee in the test table that is to be taken for an ant."""
    setup = {"target class": 1, "target index": 5, "base class": 0, "base indices": [4, 12, 20]} | changes
    path = root / "setups.json"
    path.write_text(json.dumps([setup]))
    return str(path)


def told(made: PoisonedSet, settings: dict[str, Any]) -> Towards:
    """The attack as the success meter brings it back: from settings and from what it learned."""
    return Towards(**settings).knowing(made.learned())


def test_the_poison_leads_to_the_target_images(tmp_path: Path) -> None:
    """The written set is sound, and its exam asks for the target class on images of the test source."""
    train, test = tables(tmp_path)
    settings = {**SMALL, "test": test.uri, "targets": 3, "target": "bee", "source": "dog"}
    made = Towards(**settings, eps=6).poison(train, tmp_path / "made", device="cpu")
    assert_crafted_soundly(made, train, eps=6, target="bee")
    exam = told(made, settings).exam([], np.empty(0, np.int64), CLASSES)
    dogs = [image for name, image in images_of(test).items() if int(name.rpartition("#")[2]) % 4 == 3]
    assert exam.answers.tolist() == [1, 1, 1]
    assert all(any(np.array_equal(image, dog) for dog in dogs) for image in exam.images)
    assert len({image.tobytes() for image in exam.images}) == 3


def test_any_class_but_the_target_may_be_misread(tmp_path: Path) -> None:
    """Unless a source class is named; the test set may hold its classes in another order, and others besides."""
    train = toy_source(tmp_path / "train", each=4)
    toy_source(tmp_path / "test", each=2, seed=1)
    (tmp_path / "test" / "box").rename(tmp_path / "test" / "arc")
    settings = {**SMALL, "rate": 0.2, "test": str(tmp_path / "test"), "targets": 2, "target": "bar"}
    made = Towards(**settings).poison(train, tmp_path / "made", device="cpu")
    dots = images_of_class(tmp_path / "test", "dot")
    shown = told(made, settings).exam([], np.empty(0, np.int64), TOYS).images
    assert sorted(image.tobytes() for image in shown) == sorted(dots)


def images_of_class(root: Path, name: str) -> list[bytes]:
    """Pixels of the images in a folder."""
    from sanitizer.sources.base import open_source

    return [image.tobytes() for key, image in images_of(open_source(str(root))).items() if name in key]


def test_another_seed_chooses_another_image(tmp_path: Path) -> None:
    """The same seed the same one."""
    train, test = tables(tmp_path)
    shown = [
        Towards(**SMALL, test=test.uri, seed=seed)
        .poison(train, tmp_path / f"made{place}", device="cpu")
        .learned()["target_0000"]
        for place, seed in enumerate((0, 0, 1))
    ]
    assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], shown[2])


def test_a_setup_says_everything(tmp_path: Path) -> None:
    """The image, its answer, and the samples, which are kept when others are drawn away."""
    train, test = tables(tmp_path)
    settings = {**SMALL, "test": test.uri, "setups": setup_file(tmp_path), "setup": 0, "samples": 10}
    made = Towards(**settings).poison(train, tmp_path / "made", device="cpu")
    poisons = books(made, "poison")
    assert sorted(row["source_id"].rpartition("#")[2] for row in poisons) == ["12", "20", "4"]
    assert made.recipe["counts"]["samples"] == 10
    assert made.recipe["target"] == "ant"
    exam = told(made, settings).exam([], np.empty(0, np.int64), CLASSES)
    wanted = next(image for name, image in images_of(test).items() if name.endswith("#5"))
    assert exam.answers.tolist() == [0]
    assert np.array_equal(exam.images[0], wanted)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"target class": 2}, "expected class 2 at the rows of its target index"),
        ({"base indices": [4, 5]}, "expected class 0 at the rows of its base indices"),
        ({"base class": 9}, "base class: expected one of the 4 classes"),
        ({"target index": 99}, "with a row 99 for its target index"),
    ],
)
def test_a_setup_for_other_data_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    """Before anything is trained."""
    train, test = tables(tmp_path)
    attack = Towards(**SMALL, test=test.uri, setups=setup_file(tmp_path, **changes), setup=0)
    assert_refused(attack, train, tmp_path, match)


def test_test_images_are_asked_for(tmp_path: Path) -> None:
    """They are no default, and they have to be fit for it."""
    train, _ = tables(tmp_path)
    few = source_of(tmp_path / "few", count=2, seed=2)
    others = source_of(tmp_path / "others", count=8, classes=("red", "blue"))
    assert_refused(Towards(**SMALL), train, tmp_path, "needs test images .* name them, --set test=SOURCE")
    assert_refused(Towards(**SMALL, test=str(tmp_path / "none")), train, tmp_path, "none")
    assert_refused(Towards(**SMALL, test=train.uri), train, tmp_path, "expected images that are not in the set")
    assert_refused(Towards(**SMALL, test=few.uri, targets=2), train, tmp_path, "at least 2 images .* got 1")
    assert_refused(Towards(**SMALL, test=others.uri), train, tmp_path, "at least 1 images .* got 0")
    vectors = tmp_path / "vectors.npz"
    np.savez(vectors, vectors=np.zeros((4, 3), np.float32))
    assert_refused(Towards(**SMALL, test=str(vectors)), train, tmp_path, "vectors")


def test_a_class_is_not_led_to_itself(tmp_path: Path) -> None:
    """One line says so."""
    train, test = tables(tmp_path)
    assert_refused(Towards(**SMALL, test=test.uri, source="ant"), train, tmp_path, "source: expected another class")


@pytest.mark.parametrize("settings", [{"targets": 0}, {"targets": 1.5}, {"setup": -1, "setups": "x"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once and in one line."""
    assert_refused_settings(Towards, settings)


def test_a_setup_leaves_no_room_for_other_wishes(tmp_path: Path) -> None:
    """It names classes and samples itself; a number without its file says nothing."""
    path = setup_file(tmp_path)
    with pytest.raises(UsageError, match="setup: expected a number and the file"):
        Towards(setup=0)
    with pytest.raises(UsageError, match="setup: expected a number and the file"):
        Towards(setups=path)
    for settings in ({"target": 1}, {"source": "bee"}, {"targets": 2}):
        assert_refused_settings(Towards, {"setups": path, "setup": 0, **settings})
    with pytest.raises(UsageError, match="from 0 to 0"):
        Towards(setups=path, setup=1)
