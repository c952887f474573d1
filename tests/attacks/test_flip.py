"""Label noise: labels change as the mode says, and no pixel does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import CLASSES, assert_refused, assert_refused_settings, books, grey, images_of, png, source_of

from sanitizer.attacks.flip import Flip
from sanitizer.sources.base import Source, open_source

MODES = ("uniform", "pairwise", "targeted", "nearest")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Ten images of each of four classes."""
    return source_of(tmp_path / "source")


@pytest.mark.parametrize("mode", MODES)
def test_labels_change_and_pixels_do_not(source: Source, tmp_path: Path, mode: str) -> None:
    """As many labels as asked, all wrong, and the same again from the same seed."""
    attack = Flip(rate=0.2, mode=mode)
    poisoned = attack.poison(source, tmp_path / "out")
    before, poisons = images_of(source), books(poisoned, "poison")
    assert len(poisons) == 8
    assert all(row["original_label"] != row["label"] for row in poisons)
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in poisons + books(poisoned, "clean"))
    assert poisoned.truth() == attack.poison(source, tmp_path / "again").truth()


def test_where_labels_lead(source: Source, tmp_path: Path) -> None:
    """Anywhere, to the next class, or to the target; from anywhere, or from the source."""
    steps = {}
    for name, attack in {
        "uniform": Flip(rate=0.5),
        "pairwise": Flip(rate=0.5, mode="pairwise"),
        "all": Flip(rate=0.5, mode="targeted", target="dog"),
        "one": Flip(rate=0.2, mode="targeted", target="dog", source="bee"),
    }.items():
        rows = books(attack.poison(source, tmp_path / name), "poison")
        steps[name] = {(CLASSES.index(row["original_label"]), CLASSES.index(row["label"])) for row in rows}
    assert len({(after - before) % 4 for before, after in steps["uniform"]}) == 3
    assert steps["pairwise"] == {(0, 1), (1, 2), (2, 3), (3, 0)}
    assert steps["all"] == {(0, 3), (1, 3), (2, 3)}
    assert steps["one"] == {(1, 3)}


def test_the_nearest_to_a_boundary_get_the_class_beyond_it(tmp_path: Path) -> None:
    """Flat images, classes by brightness: the odd one out lies between two classes."""
    brightness = {"ant": (10, 12, 20, 58), "bee": (98, 100, 102, 104), "cat": (236, 238, 240, 242)}
    for name, levels in brightness.items():
        (tmp_path / "source" / name).mkdir(parents=True)
        for level in levels:
            (tmp_path / "source" / name / f"{level}.png").write_bytes(png(np.full((20, 24, 3), level, np.uint8)))
    poisoned = Flip(rate=0.1, mode="nearest").poison(open_source(str(tmp_path / "source")), tmp_path / "out")
    (row,) = books(poisoned, "poison")
    assert (row["source_id"], row["label"]) == ("ant/58.png", "bee")


@pytest.mark.parametrize("mode", ["uniform", "pairwise", "nearest"])
def test_without_a_target_a_victim_should_be_wrong(mode: str) -> None:
    """About any image whose label is known."""
    attack = Flip(mode=mode)
    exam = attack.exam([grey()] * 4, np.array([0, 1, -1, 3]), CLASSES)
    assert (len(exam.images), exam.goal) == (3, "avoids")
    assert exam.successes(np.array([0, 0, 0])).tolist() == [False, True, True]
    assert not attack.targeted


def test_with_a_target_a_victim_should_say_it() -> None:
    """For images of the source class, or of any but the target."""
    for settings, count in (({}, 3), ({"source": "cat"}, 1)):
        attack = Flip(mode="targeted", target="bee", **settings)
        exam = attack.exam([grey()] * 4, np.arange(4), CLASSES)
        assert (exam.answers.tolist(), exam.goal) == ([1] * count, "says")
        assert attack.targeted


def test_what_cannot_be_done_is_refused(source: Source, tmp_path: Path) -> None:
    """In one line each, and nothing is written."""
    for attack, match in (
        (Flip(mode="targeted", source="bee", rate=0.5), "^rate: .* is 20, expected at most 10"),
        (Flip(mode="targeted", source="ant"), "^source: expected another class than the target, got 'ant'"),
        (Flip(mode="targeted", source="cow"), "^source: expected one of the 4 classes"),
    ):
        assert_refused(attack, source, tmp_path, match)


@pytest.mark.parametrize(
    "settings", [{"mode": "all"}, {"target": 1}, {"source": 1}, {"mode": "nearest", "source": "ant"}], ids=str
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once."""
    assert_refused_settings(Flip, settings)
