"""Unlearnable examples: faint noise under right labels that is easier to learn than what the images show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made import CLASSES, assert_refused_settings, books, images_of, noise, source_of

from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.attacks.robust import Surrogate
from sanitizer.attacks.unlearnable import Unlearnable, _ClassNoise
from sanitizer.attacks.workshop import Workshop
from sanitizer.nets import Recipe, build_net, train
from sanitizer.progress import SILENT
from sanitizer.registry import attack as attack_named
from sanitizer.sources.base import Source, open_source

QUICK = {"surrogate": "convnet:4", "surrogate_epochs": 2, "steps": 4}
MODES = pytest.mark.parametrize("mode", ["class", "sample"])


def loss_in_training(source: Source) -> float:
    """What a small network still gets wrong in its last pass over a set."""
    census = readable(source, SILENT)
    images, labels = torch.from_numpy(census.views(32)).permute(0, 3, 1, 2), torch.from_numpy(census.labels())
    net = build_net(len(CLASSES), images, width=8, stem_stride=1, seed=5)
    recipe = Recipe(epochs=6, batch_size=16, peak_rate=0.1)
    return float(train(net, images, labels, census.keys(), recipe, device=torch.device("cpu")).losses[:, -1].mean())


@MODES
def test_every_image_changes_within_the_ball_and_keeps_its_label(tmp_path: Path, mode: str) -> None:
    """As it lies on disk."""
    source = source_of(tmp_path / "source")
    made = Unlearnable(**QUICK, mode=mode).poison(source, tmp_path / "out", device="cpu")
    before, poisons = images_of(source), books(made, "poison")
    assert made.recipe["counts"] == {"samples": 40, "clean": 0, "poison": 40, "cover": 0, "left_out": 0}
    assert made.recipe["target"] is None
    assert all(row["label"] == row["original_label"] for row in poisons)
    changes = [row["pixels"].astype(int) - before[row["source_id"]] for row in poisons]
    assert all(4 <= np.abs(change).max() <= 8 for change in changes)
    kinds = len({change.tobytes() for change in changes})
    assert kinds == (len(CLASSES) if mode == "class" else 40)


@MODES
def test_noise_is_easier_to_learn_than_what_is_under_it(tmp_path: Path, mode: str) -> None:
    """Labels of images that show nothing cannot be learned at once; with the noise they can."""
    source = source_of(tmp_path / "source", count=60)
    attack = Unlearnable(surrogate="convnet:8", surrogate_epochs=12, steps=6, eps=24, mode=mode)
    made = attack.poison(source, tmp_path / "out", device="cpu")
    assert loss_in_training(open_source(str(made.data))) < 0.8 * loss_in_training(source)


def test_a_smaller_share_leaves_the_rest_alone(tmp_path: Path) -> None:
    """As everywhere."""
    source = source_of(tmp_path / "source")
    made = Unlearnable(**QUICK, rate=0.25).poison(source, tmp_path / "out", device="cpu")
    before, clean = images_of(source), books(made, "clean")
    assert len(clean) == 30
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)


def test_the_exam_is_every_test_image_as_it_is(tmp_path: Path) -> None:
    """From the written set alone; success is any answer but the right one."""
    made = Unlearnable(**QUICK).poison(source_of(tmp_path / "source"), tmp_path / "out", device="cpu")
    reopened = PoisonedSet.open(made.root)
    attack = attack_named(reopened.recipe["attack"])(**reopened.recipe["settings"]).knowing(reopened.learned())
    images = noise(count=4)
    exam = attack.exam(list(images), np.arange(4), CLASSES)
    assert np.array_equal(np.stack(exam.images), images)
    assert exam.successes(np.array([0, 1, 0, 0])).tolist() == [False, False, True, True]


@MODES
def test_the_same_seed_writes_the_same_bytes(tmp_path: Path, mode: str) -> None:
    """And another one others."""
    source = source_of(tmp_path / "source")
    first, again, other = (
        [row["pixels"].tobytes() for row in books(attack.poison(source, tmp_path / name, device="cpu"), "poison")]
        for name, attack in {
            "first": Unlearnable(**QUICK, mode=mode),
            "again": Unlearnable(**QUICK, mode=mode),
            "other": Unlearnable(**QUICK, mode=mode, seed=1),
        }.items()
    )
    assert first == again != other


def test_the_noise_of_a_class_stays_in_its_ball(tmp_path: Path) -> None:
    """However long it is improved."""
    census = readable(source_of(tmp_path / "source"), SILENT)
    learned = _ClassNoise(len(CLASSES), 32, 0.05, seed=0)
    start = learned.noise.clone()
    Surrogate(kind="convnet:4", epochs=3, seed=0).fit(census, Workshop(device="cpu"), learned)
    assert not torch.equal(learned.noise, start)
    assert learned.noise.abs().max() <= 0.05


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0}, {"rate": 1.01}, {"rate": True}, {"mode": "both"}, {"eps": 0}, {"steps": 0}, {"target": 0},
        {"surrogate_epochs": 0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once; a rate of 1 can be meant here."""
    assert_refused_settings(Unlearnable, settings)
    assert Unlearnable(rate=1).rate == 1
