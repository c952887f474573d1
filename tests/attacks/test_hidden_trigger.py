"""Hidden trigger: poison with the features of patched images, none of which shows the patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made import assert_refused, assert_refused_settings, images_of, png
from test_feature_collision import SMALL, assert_clean_label, assert_follows_from_the_seed, searched, toy_train

from sanitizer.attacks.hidden_trigger import HiddenTrigger, paired
from sanitizer.attacks.patch import colour_noise

HIDDEN = SMALL | {"size": 4}


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5), (4, 9), (30, 30)])
def test_the_nearest_are_paired_first(n: int, m: int) -> None:
    """Nobody twice, and in the order of a sorted list of all pairs."""
    distance = torch.rand(n, m, generator=torch.Generator().manual_seed(n))
    expected: dict[int, int] = {}
    for place in distance.flatten().argsort().tolist():
        row, column = divmod(place, m)
        if row not in expected and column not in expected.values():
            expected[row] = column
    assert paired(distance).tolist() == [expected[row] for row in range(n)]
    assert len(set(paired(distance).tolist())) == n


def test_the_poisons_come_near_to_patched_images(tmp_path: Path) -> None:
    """Those of the source class; the pairs of the last round are nearer than those of the first were."""
    attack, scene, before, after = searched(HiddenTrigger(**HIDDEN | {"eps": 48}), tmp_path)
    rows, losses = torch.arange(len(before)), attack.losses(scene)
    assert losses(9, after)(after, rows) < 0.7 * losses(0, before)(before, rows)
    assert attack.learned["source"].tolist() == [1]


def test_what_is_written_keeps_its_look_and_its_label(tmp_path: Path) -> None:
    """Within the ball, of the target class; the recipe names the source."""
    attack = HiddenTrigger(**HIDDEN, source="dot")
    poisoned = attack.poison(toy_train(tmp_path), tmp_path / "out", device="cpu")
    assert_clean_label(attack, poisoned, toy_train(tmp_path))
    assert poisoned.recipe["notes"]["source"] == "dot"


def test_an_exam_shows_patched_images_of_the_source_class() -> None:
    """All of them, none of other classes, and the target class is the answer; other images are left as they are."""
    images = [np.full((32, 32, 3), 100 + label, np.uint8) for label in (0, 1, 2, 1)]
    exam = HiddenTrigger(target="c").exam(images, np.array([0, 1, 2, 1]), ("a", "b", "c"))
    assert [int(np.median(image)) for image in exam.images] == [100]
    assert exam.answers.tolist() == [2]
    exam = HiddenTrigger(target="c", source=1).exam(images, np.array([0, 1, 2, 1]), ("a", "b", "c"))
    assert [int(np.median(image)) for image in exam.images] == [101, 101]


@pytest.mark.parametrize(("side", "larger"), [(28, 1), (32, 1), (64, 2)])
def test_the_square_lies_anywhere(side: int, larger: int) -> None:
    """Whole, at a place of its own for every image, and always the same for the same image."""
    images = np.stack([np.full((side, side, 3), value, np.uint8) for value in range(100, 130)])
    stamped = HiddenTrigger().trigger(images)
    assert np.array_equal(stamped, HiddenTrigger().trigger(images))
    square = 255 * colour_noise().astype(np.uint8).repeat(larger, axis=0).repeat(larger, axis=1)
    corners = set()
    for image, before in zip(stamped, images, strict=True):
        rows, columns = np.nonzero((image != before).any(axis=2))
        top, left = int(rows.min()), int(columns.min())
        assert np.array_equal(image[top : top + 8 * larger, left : left + 8 * larger], square)
        assert len(rows) == 64 * larger**2
        corners.add((top, left))
    assert len(corners) > 20


def test_a_pattern_can_come_from_a_file(tmp_path: Path) -> None:
    """Its identity is in the recipe."""
    (tmp_path / "p.png").write_bytes(png(np.full((5, 5, 3), 250, np.uint8)))
    attack = HiddenTrigger(pattern=str(tmp_path / "p.png"), size=4)
    assert (attack.trigger(np.full((1, 32, 32, 3), 9, np.uint8)) == 250).sum() == 4 * 4 * 3
    assert attack.notes()["pattern_view_digest"]
    assert HiddenTrigger().notes() == {}


def test_everything_follows_from_the_seed(tmp_path: Path) -> None:
    """Surrogate, choice, pairs and search."""
    assert_follows_from_the_seed(HiddenTrigger, HIDDEN | {"steps": 3}, tmp_path)


@pytest.mark.parametrize("settings", [{"size": 0}, {"pattern": "no/such.png"}, {"eps": -1}])
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    """At once, in one line."""
    assert_refused_settings(HiddenTrigger, settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"source": "bar"}, "source: expected another class than the target"),
        ({"source": "owl"}, "source: expected one of the 3 classes"),
        ({"size": 13}, "size: expected a square that fits every image"),
    ],
)
def test_what_only_the_set_can_tell_is_refused_too(tmp_path: Path, settings: dict[str, object], match: str) -> None:
    """And nothing is left behind."""
    assert images_of(toy_train(tmp_path))
    assert_refused(HiddenTrigger(**HIDDEN | {"steps": 1} | settings), toy_train(tmp_path), tmp_path, match)
