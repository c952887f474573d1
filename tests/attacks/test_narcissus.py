"""Narcissus: one faint noise on a few images of the target class, loud at test time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made import CLASSES, assert_refused, assert_refused_settings, books, grey, images_of, noise, source_of

from sanitizer.attacks.narcissus import Narcissus
from sanitizer.attacks.poisoned import PoisonedSet, readable
from sanitizer.attacks.robust import Surrogate
from sanitizer.attacks.workshop import Workshop
from sanitizer.progress import SILENT
from sanitizer.registry import attack as attack_named

QUICK = {"rate": 0.1, "surrogate": "convnet:4", "surrogate_epochs": 2, "steps": 8}


def noise_file(path: Path, shape: tuple[int, ...] = (1, 3, 32, 32), scale: float = 0.1) -> str:
    """A trigger as others publish theirs."""
    made = np.random.default_rng(0).uniform(-scale, scale, shape).astype(np.float32)
    made.flat[0] = scale
    with path.open("wb") as file:
        np.save(file, made)
    return str(path)


def test_only_the_target_class_is_touched_within_the_ball(tmp_path: Path) -> None:
    """As it lies on disk: the same noise on each, up to eps, under the right label."""
    source = source_of(tmp_path / "source")
    made = Narcissus(**QUICK, target="cat").poison(source, tmp_path / "out", device="cpu")
    before, poisons, clean = images_of(source), books(made, "poison"), books(made, "clean")
    assert (len(poisons), len(clean)) == (4, 36)
    assert all(row["label"] == row["original_label"] == "cat" for row in poisons)
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)
    changes = [row["pixels"].astype(int) - before[row["source_id"]] for row in poisons]
    assert all(np.abs(change - changes[0]).max() <= 1 for change in changes)  # halves are rounded either way
    assert 8 <= np.abs(changes[0]).max() <= 16


def test_the_exam_needs_only_the_written_set(tmp_path: Path) -> None:
    """The noise three times as loud, on every test image that does not show the target."""
    made = Narcissus(**QUICK).poison(source_of(tmp_path / "source"), tmp_path / "out", device="cpu")
    reopened = PoisonedSet.open(made.root)
    attack = attack_named(reopened.recipe["attack"])(**reopened.recipe["settings"]).knowing(reopened.learned())
    exam = attack.exam([grey()] * 4, np.arange(4), CLASSES)
    assert exam.answers.tolist() == [0, 0, 0]
    expected = 3 * 255 * reopened.learned()["noise"].transpose(1, 2, 0)
    assert np.abs(exam.images[0].astype(int) - 100 - expected).max() <= 0.51


def test_the_noise_makes_a_surrogate_surer_of_the_target(tmp_path: Path) -> None:
    """Of images of any class."""
    census = readable(source_of(tmp_path / "source"), SILENT)
    workshop = Workshop(device="cpu")
    settings = QUICK | {"surrogate_epochs": 6}
    found = torch.from_numpy(Narcissus(**settings).prepare(census, 0, workshop).learned["noise"])
    net = Surrogate(kind="convnet:4", epochs=6, seed=0).fit(census, workshop)
    images = torch.from_numpy(census.views(32)).permute(0, 3, 1, 2).float() / 255
    answers = torch.zeros(len(images), dtype=torch.int64)
    with torch.inference_mode():
        before, after = (
            float(F.cross_entropy(net(net.standardise(seen)), answers))
            for seen in (images, (images + found).clamp(0, 1))
        )
    assert after < before


def test_noise_from_a_file_is_used_at_the_strength_of_eps(tmp_path: Path) -> None:
    """Whatever its scale; the set does not need the file any more."""
    path = noise_file(tmp_path / "n.npy")
    source = source_of(tmp_path / "source")
    made = Narcissus(rate=0.1, eps=10, trigger_file=path).poison(source, tmp_path / "out", device="cpu")
    before, row = images_of(source), books(made, "poison")[0]
    expected = np.load(path, allow_pickle=False)[0].transpose(1, 2, 0) * 100
    assert np.abs(row["pixels"].astype(int) - before[row["source_id"]] - expected).max() <= 0.51
    Path(path).unlink()
    attack = Narcissus(**made.recipe["settings"]).knowing(made.learned())
    assert len(attack.exam(list(noise(count=2)), np.array([0, 1]), CLASSES).images) == 1


def test_noise_is_stretched_to_larger_images(tmp_path: Path) -> None:
    """Smoothly, and never beyond eps."""
    learned = {"noise": np.full((3, 16, 16), 8 / 255, np.float32)}
    stamped = Narcissus().knowing(learned).painter(Narcissus().knowing(learned).stamp)(grey(48, 64))
    assert (stamped == 108).all()


def test_a_file_that_is_no_noise_is_refused(tmp_path: Path) -> None:
    """A missing one, one of another shape, one that would have to be unpickled, and one that is empty."""
    source = source_of(tmp_path / "source")
    objects = tmp_path / "objects.npy"
    with objects.open("wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    names = [
        str(tmp_path / "missing.npy"), noise_file(tmp_path / "grey.npy", (32, 32)), str(objects),
        str(tmp_path / "empty.npy"), noise_file(tmp_path / "none.npy", scale=0),
    ]  # fmt: skip
    for name in names:
        assert_refused(Narcissus(rate=0.1, trigger_file=name), source, tmp_path, "^trigger_file: expected a .npy file")


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """And another one others."""
    source = source_of(tmp_path / "source")
    seeds = {"first": 0, "again": 0, "other": 1}
    first, again, other = (
        [
            row["pixels"].tobytes()
            for row in books(Narcissus(**QUICK, seed=seed).poison(source, tmp_path / name, device="cpu"), "poison")
        ]
        for name, seed in seeds.items()
    )
    assert first == again != other


@pytest.mark.parametrize(
    "settings", [{"eps": 0}, {"eps": 300}, {"test_scale": 0}, {"steps": 0}, {"surrogate_epochs": 0}], ids=str
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Narcissus, settings)
