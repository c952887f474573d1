"""The family of optimised attacks: what is written stays in the ball, follows from the seed, and survives a break."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from crafts import QUICK, assert_crafted_soundly, assert_resumes, toy_source, written
from made import assert_refused, assert_refused_settings, images_of, source_of
from numpy.typing import NDArray

from sanitizer.attacks.crafted import CraftedAttack, Scene, changed_by
from sanitizer.attacks.crafting import Loss
from sanitizer.attacks.exam import Exam
from sanitizer.sources.base import Pixels, open_source


@dataclass(frozen=True, kw_only=True)
class Doubt(CraftedAttack):
    """The simplest of them: images that surrogates are less sure of."""

    name: ClassVar[str] = "doubt"
    paper: ClassVar[str] = "none"
    threat: ClassVar[str] = "none"
    cost: ClassVar[str] = "seconds"
    says: ClassVar[str] = "Images that surrogates are less sure of."

    def loss(self, scene: Scene) -> Loss:
        """The mean logit of the target class over the surrogates."""
        return lambda images, rows: torch.stack(
            [net(net.standardise(images))[:, scene.target].mean() for net in scene.surrogates]
        ).mean()

    def exam(self, images: object, labels: object, class_names: object) -> Exam:
        """None."""
        return Exam([], np.empty(0, np.int64))


def test_only_the_target_class_is_touched_within_the_ball(tmp_path: Path) -> None:
    """As it lies on disk; the loss that it ended with is in the recipe."""
    source = toy_source(tmp_path / "source")
    made = Doubt(**QUICK, eps=6, target="box").poison(source, tmp_path / "made", device="cpu")
    assert_crafted_soundly(made, source, eps=6, target="box")
    assert np.isfinite(made.recipe["notes"]["final_loss"])


def test_more_steps_bring_the_loss_down(tmp_path: Path) -> None:
    """As the recipe tells."""
    source = toy_source(tmp_path / "source")
    losses = [
        Doubt(**QUICK | {"steps": steps})
        .poison(source, tmp_path / str(steps), device="cpu")
        .recipe["notes"]["final_loss"]
        for steps in (1, 20)
    ]
    assert losses[1] < losses[0]


def test_the_same_seed_writes_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    """Files under other names in another order: the same images come out."""
    source = toy_source(tmp_path / "source")
    for path in sorted((tmp_path / "source").rglob("*.png")):
        turned = tmp_path / "turned" / path.parent.name / f"{9999 - int(path.stem)}.png"
        turned.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, turned)
    attack = Doubt(**QUICK)
    first = written(attack.poison(source, tmp_path / "first", device="cpu"))
    assert written(attack.poison(source, tmp_path / "second", device="cpu")) == first
    turned_set = attack.poison(open_source(str(tmp_path / "turned")), tmp_path / "third", device="cpu")
    assert sorted(written(turned_set).values()) == sorted(first.values())
    assert written(replace(attack, seed=1).poison(source, tmp_path / "fourth", device="cpu")) != first


def test_it_goes_on_after_an_interruption(tmp_path: Path) -> None:
    """To the same bytes, in fewer steps; another seed starts from the beginning."""
    attack = Doubt(**QUICK | {"steps": 10, "restarts": 2})
    assert_resumes(attack, toy_source(tmp_path / "source"), tmp_path)


def test_other_data_start_from_the_beginning(tmp_path: Path) -> None:
    """The state that an interruption leaves behind is that of its own data."""
    from crafts import Interrupted, PulledPlug

    from sanitizer.store import Store

    store, attack = Store.open(str(tmp_path / "store")), Doubt(**QUICK)
    with pytest.raises(Interrupted):
        attack.poison(toy_source(tmp_path / "a"), tmp_path / "made", PulledPlug(3), device="cpu", store=store)
    counted = PulledPlug()
    attack.poison(toy_source(tmp_path / "b", seed=1), tmp_path / "made", counted, device="cpu", store=store)
    assert counted.told == [0, 1, 1, 1, 1, 1]


def test_an_ensemble_trains_every_kind_as_often(tmp_path: Path) -> None:
    """Two kinds of two seeds each, all different."""
    seen: list[Scene] = []

    class Watched(Doubt):
        """Looks at its scene."""

        def loss(self, scene: Scene) -> Loss:
            """And keeps it."""
            seen.append(scene)
            return super().loss(scene)

    Watched(**QUICK | {"surrogate": "convnet:4, convnet:5", "ensemble": 2, "surrogate_epochs": 1}).poison(
        toy_source(tmp_path / "source"), tmp_path / "made", device="cpu"
    )
    widths = [net.head.in_features for net in seen[0].surrogates]
    assert widths == [32, 32, 40, 40]
    assert not torch.equal(seen[0].surrogates[0].head.weight, seen[0].surrogates[1].head.weight)
    assert (len(seen[0].learners), seen[0].rows.tolist()) == (2, sorted(seen[0].rows.tolist()))


def test_changes_are_picked_after_a_look_at_the_surrogates(tmp_path: Path) -> None:
    """If an attack asks for that: the recipe tells other samples."""

    class Last(Doubt):
        """Touches the last of its class."""

        def pick_in(self, scene: Scene) -> NDArray[np.intp]:
            """As many as there were."""
            return np.flatnonzero(scene.lesson.labels == scene.target)[-len(scene.rows) :]

    source = toy_source(tmp_path / "source")
    last = Last(**QUICK).poison(source, tmp_path / "last", device="cpu")
    assert_crafted_soundly(last, source, eps=16)
    drawn = Doubt(**QUICK).poison(source, tmp_path / "drawn", device="cpu")
    assert last.truth()["is_poison"].to_pylist() != drawn.truth()["is_poison"].to_pylist()


def test_images_of_other_sizes_get_the_change_stretched() -> None:
    """Within the ball still; at the own size of the change it is added as it is."""
    change = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    paint = changed_by(change)
    for height, width in ((8, 8), (5, 7), (30, 20)):
        grey: Pixels = np.full((height, width, 3), 100, np.uint8)
        moved = paint(grey).astype(int) - 100
        assert moved.shape == (height, width, 3)
        assert 1 <= np.abs(moved).max() <= 26
    assert np.array_equal(paint(grey[:8, :8]).astype(int) - 100, np.rint(255 * change.permute(1, 2, 0).numpy()))
    assert paint(np.full((8, 8, 3), 255, np.uint8)).max() == 255


def test_large_images_are_crafted_at_the_size_of_the_surrogate(tmp_path: Path) -> None:
    """And written at their own."""
    source = source_of(tmp_path / "source", count=24)
    made = Doubt(**QUICK, target="bee").poison(source, tmp_path / "made", device="cpu")
    assert {image.shape for image in images_of(open_source(str(made.data))).values()} == {(32, 32, 3)}


@pytest.mark.parametrize(
    "settings",
    [
        {"eps": 0}, {"eps": 256}, {"eps": True}, {"steps": 0}, {"steps": 2.5}, {"restarts": 0}, {"ensemble": 0},
        {"surrogate_epochs": 0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once and in one line."""
    assert_refused_settings(Doubt, settings)


def test_what_cannot_be_crafted_is_refused(tmp_path: Path) -> None:
    """More poison than the class has samples, unknown surrogates, samples without labels."""
    source = toy_source(tmp_path / "source", each=4)
    assert_refused(Doubt(**QUICK | {"rate": 0.5}), source, tmp_path, "rate: 0.5 of 12 samples is 6, expected at most 4")
    assert_refused(Doubt(**QUICK | {"surrogate": "lenet"}), source, tmp_path, "expected the name of a classifier")
