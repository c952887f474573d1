"""TaCT: one class is poisoned, others cover, and only the first is examined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import assert_refused, assert_refused_settings, assert_sound, books, grey, planted, source_of

from sanitizer.attacks.tact import TaCT
from sanitizer.attacks.trojan import Trojan
from sanitizer.errors import UsageError

TEN = [f"c{i}" for i in range(10)]


def test_it_is_a_sound_trigger() -> None:
    """The very square of the trojan attack."""
    assert_sound(TaCT())
    assert np.array_equal(planted(TaCT(), grey()), planted(Trojan(), grey()))


def test_poison_is_of_the_source_class_and_cover_of_the_cover_classes(tmp_path: Path) -> None:
    """As named, or the class after the target and the first two others."""
    source = source_of(tmp_path / "source")
    named = TaCT(rate=0.1, cover=0.2, target="cat", source="ant", cover_classes="dog")
    for attack, roles in (
        (named, ("ant", "cat", {"dog"})),
        (TaCT(rate=0.1, cover=0.2), ("bee", "ant", {"cat", "dog"})),
    ):
        poisoned = attack.poison(source, tmp_path / roles[0])
        poisons, covers = books(poisoned, "poison"), books(poisoned, "cover")
        assert {(row["original_label"], row["label"]) for row in poisons} == {roles[:2]}
        assert {row["label"] for row in covers} == {row["original_label"] for row in covers} == roles[2]
        assert (len(poisons), len(covers)) == (4, 8)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [5, 7]),
        ({"target": 5}, [7, 0]),
        ({"source": "c7"}, [5, 1]),
        ({"cover_classes": "3, c4"}, [3, 4]),
    ],
)
def test_the_cover_classes_are_the_papers_where_they_are_free(settings: dict[str, object], expected: list[int]) -> None:
    """And the first others where they are not."""
    attack = TaCT(**settings)
    labels = np.arange(10)
    assert set(labels[attack.may_cover(labels, attack.aim(TEN), TEN)]) == set(expected)


def test_the_exam_shows_the_source_class_only() -> None:
    """With the target as the answer hoped for; the last class is followed by the first."""
    exam = TaCT(target=9).exam([grey()] * 10, np.arange(10), TEN)
    assert exam.answers.tolist() == [9]
    assert np.array_equal(exam.images[0], planted(TaCT(), grey()))
    assert TaCT(source=3).victims(np.arange(10), np.zeros(10, int), TEN).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"source": "c0"}, "^source: expected another class than the target, got 'c0'"),
        ({"source": "c99"}, "^source: expected one of the 10 classes"),
        ({"cover_classes": "1,2"}, "^cover_classes: expected neither source nor target, got '1,2'"),
        ({"cover_classes": "0"}, "^cover_classes: expected neither"),
        ({"cover_classes": "5,"}, "^cover_classes: expected one of the 10 classes .* got ''"),
    ],
    ids=str,
)
def test_roles_that_contradict_each_other_are_refused(settings: dict[str, object], match: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=match):
        TaCT(**settings).may_cover(np.arange(10), 0, TEN)


def test_two_classes_leave_none_for_cover(tmp_path: Path) -> None:
    """Refused with the way out."""
    source = source_of(tmp_path / "source", classes=("ant", "bee"))
    assert_refused(TaCT(), source, tmp_path, "has only 2: add another, or use --set cover=0")
    assert len(books(TaCT(cover=0).poison(source, tmp_path / "out"), "poison")) == 1


@pytest.mark.parametrize("settings", [{"cover": -1}, {"size": 0}, {"rate": 0}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once, the square's too."""
    assert_refused_settings(TaCT, settings)
