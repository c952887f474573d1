"""Feature collision: poisons that a network takes for the target image, and that keep their look and their label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import assert_refused, assert_refused_settings, books, images_of
from torch import Tensor
from toys import write_toys

from sanitizer.attacks.crafted import CraftedAttack, Scene
from sanitizer.attacks.crafting import craft
from sanitizer.attacks.feature_collision import FeatureCollision, shared_out, still_features
from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.attacks.targeted import TargetedAttack
from sanitizer.attacks.workshop import Workshop
from sanitizer.progress import SILENT
from sanitizer.sources.base import Source, open_source

SMALL: dict[str, Any] = {
    "surrogate": "convnet:4", "surrogate_epochs": 2, "steps": 20, "rate": 0.1, "target": "bar", "eps": 16,
}  # fmt: skip
FREE = SMALL | {"eps": 48}  # as far as a search for something has to get


def toy_train(root: Path) -> Source:
    """Thirty-six images of three classes."""
    if not (root / "train").exists():
        write_toys(root / "train", each=12, planted=0)
    return open_source(str(root / "train"))


def toy_test(root: Path) -> str:
    """Twelve others."""
    if not (root / "test").exists():
        write_toys(root / "test", each=4, planted=0, seed=1)
    return str(root / "test")


def searched(attack: CraftedAttack, root: Path) -> tuple[CraftedAttack, Scene, Tensor, Tensor]:
    """The attack as it is once prepared, what it crafts in, and the images before and after."""
    census = readable(toy_train(root), SILENT)
    target = attack.aim(census.class_names)
    ready = attack.prepare(census, target, Workshop(device="cpu"))
    scene = ready.scene(census, ready.pick(census, target), target, Workshop(device="cpu"))
    before = scene.images(scene.rows)
    after, _ = craft(before, ready.losses(scene), ready.search())
    return ready, scene, before, after


def distances(attack: CraftedAttack, scene: Scene, images: Tensor) -> Tensor:
    """From every image (n) to every target image (k) in the features of the first surrogate, (n, k)."""
    assert isinstance(attack, TargetedAttack)
    net = scene.surrogates[0]
    return torch.cdist(still_features(net, images), still_features(net, attack.targets_in(scene)))


def assert_clean_label(attack: CraftedAttack, poisoned: PoisonedSet, source: Source) -> None:
    """As written: only images of the target class were changed, within the ball, and keep their label."""
    before, clean, poison = images_of(source), books(poisoned, "clean"), books(poisoned, "poison")
    assert len(poison) == attack.how_many(len(before))
    assert {(row["original_label"], row["label"]) for row in poison} == {("bar", "bar")}
    changes = [np.abs(row["pixels"].astype(int) - before[row["source_id"]]) for row in poison]
    assert max(change.max() for change in changes) <= attack.eps
    assert sum(change.any() for change in changes) >= len(changes) / 2
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)
    assert all(row["original_label"] == row["label"] for row in clean)


def assert_follows_from_the_seed(kind: type[CraftedAttack], settings: dict[str, Any], root: Path) -> None:
    """The same seed, the same files; another seed, other poison."""
    source = toy_train(root)
    made = [kind(**settings, seed=seed).poison(source, root / str(i), device="cpu") for i, seed in enumerate((0, 0, 1))]
    first, same, other = ({row["source_id"]: row["pixels"].tobytes() for row in books(one, "poison")} for one in made)
    assert first == same
    assert first != other


def test_the_poisons_come_near_to_the_target(tmp_path: Path) -> None:
    """Every single one does, in feature space."""
    attack, scene, before, after = searched(FeatureCollision(**FREE, test=toy_test(tmp_path)), tmp_path)
    assert (distances(attack, scene, after) < 0.8 * distances(attack, scene, before)).all()


def test_targets_share_the_poisons(tmp_path: Path) -> None:
    """Every poison comes near to its own."""
    attack, scene, before, after = searched(FeatureCollision(**FREE, targets=2, test=toy_test(tmp_path)), tmp_path)
    own = torch.arange(len(before)) % 2
    nearer = (distances(attack, scene, after) / distances(attack, scene, before))[torch.arange(len(before)), own]
    assert (nearer < 0.8).all()


def test_what_is_written_keeps_its_look_and_its_label(tmp_path: Path) -> None:
    """And an exam shows the target images, for the target class."""
    attack = FeatureCollision(**SMALL, test=toy_test(tmp_path), source="dot")
    poisoned = attack.poison(toy_train(tmp_path), tmp_path / "out", device="cpu")
    assert_clean_label(attack, poisoned, toy_train(tmp_path))
    exam = attack.knowing(poisoned.learned()).exam([], np.empty(0, np.int64), ("bar", "box", "dot"))
    shown = {image.tobytes() for image in exam.images}
    assert shown <= {
        image.tobytes() for name, image in images_of(open_source(toy_test(tmp_path))).items() if "dot" in name
    }
    assert exam.answers.tolist() == [0]


def test_everything_follows_from_the_seed(tmp_path: Path) -> None:
    """Surrogate, choice and search."""
    assert_follows_from_the_seed(FeatureCollision, SMALL | {"steps": 3, "test": toy_test(tmp_path)}, tmp_path)


@pytest.mark.parametrize("rows", [torch.arange(7), torch.tensor([3, 9]), torch.tensor([4])])
def test_each_poison_belongs_to_one_target(rows: Tensor) -> None:
    """Whatever the batch; targets without poison in it are left out."""
    parts = shared_out(rows, 3)
    assert sorted(place for _, own in parts for place in own.tolist()) == list(range(len(rows)))
    assert all((rows[own] % 3 == number).all() and len(own) for number, own in parts)


@pytest.mark.parametrize("settings", [{"eps": 0}, {"steps": 0}, {"targets": 0}, {"restarts": 1.5}])
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    """At once, in one line."""
    assert_refused_settings(FeatureCollision, settings)


def test_it_needs_test_images(tmp_path: Path) -> None:
    """Without them there is nothing to collide with."""
    assert_refused(FeatureCollision(**SMALL), toy_train(tmp_path), tmp_path, "needs test images")
