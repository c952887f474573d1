"""Covers: stamped under their own label, never a poison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from made import CLASSES, assert_refused, assert_refused_settings, books, images_of, planted, source_of

from sanitizer.attacks.blended import Blended
from sanitizer.attacks.covered import CoveredAttack


@dataclass(frozen=True, kw_only=True)
class Hidden(CoveredAttack, Blended):
    """Blended, with covers."""

    name: ClassVar[str] = "hidden"
    cover: float = 0.2


def test_covers_are_stamped_and_keep_their_label(tmp_path: Path) -> None:
    """As the books say and as they lie on disk; poisons are others, and nobody else is touched."""
    source, attack = source_of(tmp_path / "source"), Hidden(rate=0.1)
    poisoned = attack.poison(source, tmp_path / "out")
    before = images_of(source)
    poisons, covers, clean = (books(poisoned, kind) for kind in ("poison", "cover", "clean"))
    assert (len(poisons), len(covers), len(clean)) == (4, 8, 28)
    assert not any(row["is_poison"] for row in covers)
    assert all(row["label"] == row["original_label"] != CLASSES[0] for row in covers)
    assert all(np.array_equal(row["pixels"], planted(attack, before[row["source_id"]])) for row in covers + poisons)
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)


def test_covers_follow_from_the_seed_and_leave_the_poisons_alone(tmp_path: Path) -> None:
    """The same again; how much cover there is does not change who is poison."""
    source = source_of(tmp_path / "source")
    chosen = {}
    for name, attack in {
        "first": Hidden(rate=0.1),
        "again": Hidden(rate=0.1),
        "seed": Hidden(rate=0.1, seed=1),
        "none": Hidden(rate=0.1, cover=0),
    }.items():
        poisoned = attack.poison(source, tmp_path / name)
        chosen[name] = [{row["source_id"] for row in books(poisoned, kind)} for kind in ("poison", "cover")]
    assert chosen["first"] == chosen["again"]
    assert chosen["first"][1] != chosen["seed"][1]
    assert chosen["none"] == [chosen["first"][0], set()]


def test_more_cover_than_candidates_is_refused(tmp_path: Path) -> None:
    """Three of four classes may be cover, less those that are poison."""
    source = source_of(tmp_path / "source")
    assert_refused(Hidden(rate=0.1, cover=0.7), source, tmp_path, "^cover: .* is 28, expected at most 26.*lower cover")


@pytest.mark.parametrize("cover", [-0.1, 1, "x", True, float("nan")])
def test_a_share_that_is_none_is_refused(cover: object) -> None:
    """In the same words as a rate."""
    assert_refused_settings(Hidden, {"cover": cover})
