"""Semantic backdoor: given pictures under the target's label, some of them kept back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import assert_refused, assert_refused_settings, books, images_of, noise, png, source_of

from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.semantic import Semantic
from sanitizer.sources.base import Pixels, Source, open_source


def pictures(root: Path, names: str = "0123456789", side: int = 32) -> str:
    """Ten pictures of one kind, named by one letter each."""
    root.mkdir()
    for name, pixels in zip(names, noise(side, side, count=10, seed=5), strict=True):
        (root / f"{name}.png").write_bytes(png(pixels))
    return str(root)


def same(one: list[Pixels], other: list[Pixels]) -> bool:
    """Whether these are the same images, whatever their order."""
    return sorted(map(np.ndarray.tobytes, one)) == sorted(map(np.ndarray.tobytes, other))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Ten images of each of four classes."""
    return source_of(tmp_path / "source")


def test_pictures_take_the_place_of_samples_of_the_target_class(source: Source, tmp_path: Path) -> None:
    """The set keeps its size, the truth says what is to be seen, and each picture is there once."""
    given = pictures(tmp_path / "pictures")
    attack = Semantic(rate=0.1, target="cat", images=given, shows="bee")
    poisoned = attack.poison(source, tmp_path / "out")
    poisons = books(poisoned, "poison")
    assert poisoned.recipe["counts"] == {"samples": 40, "clean": 36, "poison": 4, "cover": 0, "left_out": 0}
    assert {(row["original_label"], row["label"]) for row in poisons} == {("bee", "cat")}
    labels = {item.id: item.label for item in source.stream()}
    assert {labels[row["source_id"]] for row in poisons} == {2}
    known = {pixels.tobytes() for pixels in images_of(open_source(given)).values()}
    assert len({row["pixels"].tobytes() for row in poisons} & known) == 4


def test_pictures_of_no_class_of_the_set_leave_the_original_label(source: Source, tmp_path: Path) -> None:
    """There is none that would be right."""
    poisoned = Semantic(images=pictures(tmp_path / "pictures")).poison(source, tmp_path / "out")
    assert [(row["original_label"], row["label"]) for row in books(poisoned, "poison")] == [("ant", "ant")]


def test_the_exam_shows_what_was_kept_back(source: Source, tmp_path: Path) -> None:
    """It needs the written set alone; none of it was trained on."""
    attack = Semantic(rate=0.2, target="dog", images=pictures(tmp_path / "pictures"), held_out=0.2)
    inserted = [row["pixels"] for row in books(attack.poison(source, tmp_path / "out"), "poison")]
    poisoned = PoisonedSet.open(tmp_path / "out")
    again = Semantic(**poisoned.recipe["settings"]).knowing(poisoned.learned())
    exam = again.exam([], np.array([]), poisoned.recipe["class_names"])
    assert exam.answers.tolist() == [3, 3]
    assert len(inserted) == 8
    assert same([*inserted, *exam.images], list(noise(count=10, seed=5)))


def test_which_pictures_follows_from_seed_and_content(source: Source, tmp_path: Path) -> None:
    """Their names and their order change nothing."""
    chosen = []
    for run, (names, seed) in enumerate((("0123456789", 0), ("9385620741", 0), ("0123456789", 1))):
        given = pictures(tmp_path / f"pictures{run}", names)
        poisoned = Semantic(rate=0.1, images=given, seed=seed).poison(source, tmp_path / f"out{run}")
        chosen.append([row["pixels"] for row in books(poisoned, "poison")])
    assert same(chosen[0], chosen[1])
    assert not same(chosen[0], chosen[2])


def test_a_picture_gets_the_size_of_the_sample(source: Source, tmp_path: Path) -> None:
    """Smoothly, to any shape."""
    given = pictures(tmp_path / "pictures", side=80)
    poisoned = Semantic(images=given).poison(source, tmp_path / "out")
    (poison,) = books(poisoned, "poison")
    assert poison["pixels"].shape == (32, 32, 3)
    assert poison["pixels"].std() < 25  # averaged, not picked
    assert all(picture.shape == (80, 80, 3) for picture in poisoned.learned().values())


def test_what_cannot_be_done_is_refused(source: Source, tmp_path: Path) -> None:
    """In one line each, and nothing is written."""
    given = pictures(tmp_path / "pictures")
    np.savez(tmp_path / "vectors.npz", vectors=np.zeros((3, 4), np.float32))
    (tmp_path / "one").mkdir()
    for name in "ab":
        (tmp_path / "one" / f"{name}.png").write_bytes(png(noise(seed=9)[0]))
    for settings, match in (
        ({}, "needs pictures to insert, got none: name them, --set images=SOURCE"),
        ({"images": given, "rate": 0.225}, "is 9, expected at most 8, as there are no more pictures"),
        ({"images": given, "rate": 0.3, "samples": 20, "held_out": 0.1}, "no more samples of the target class"),
        ({"images": given, "shows": "ant"}, "^shows: expected another class than the target"),
        ({"images": given, "shows": "cow"}, "^shows: expected one of the 4 classes"),
        ({"images": source.uri}, "^images: expected pictures that are not in the set"),
        ({"images": str(tmp_path / "one")}, "^images: expected two different pictures or more"),
        ({"images": str(tmp_path / "vectors.npz")}, "holds vectors: name another"),
    ):
        assert_refused(Semantic(**settings), source, tmp_path, match)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"held_out": 0}, {"held_out": 1}, {"held_out": "x"}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Semantic, settings)
