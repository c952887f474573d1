"""Toy sets to craft in, and what every crafted attack must hold, for the tests of single attacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import books, images_of
from toys import CLASSES, write_toys

from sanitizer.attacks.base import Attack
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.progress import Advance
from sanitizer.sources.base import Source, open_source
from sanitizer.store import Store

#: Settings that make an attack a matter of a second.
QUICK: dict[str, Any] = {"rate": 0.1, "surrogate": "convnet:4", "surrogate_epochs": 2, "steps": 5, "restarts": 1}


def toy_source(root: Path, *, each: int = 20, seed: int = 0) -> Source:
    """PNG images of 12 pixels in three classes."""
    write_toys(root, each=each, planted=0, seed=seed)
    return open_source(str(root))


def assert_crafted_soundly(made: PoisonedSet, source: Source, *, eps: float, target: str = CLASSES[0]) -> None:
    """As it lies on disk: only the target class, within the ball, labels as they were, all else untouched."""
    before, poisons, clean = images_of(source), books(made, "poison"), books(made, "clean")
    assert len(poisons) == max(1, round(made.recipe["settings"]["rate"] * len(before)))
    assert len(poisons) + len(clean) == len(before)
    assert all(row["label"] == row["original_label"] == target for row in poisons)
    assert all(np.array_equal(row["pixels"], before[row["source_id"]]) for row in clean)
    changes = [np.abs(row["pixels"].astype(int) - before[row["source_id"]]) for row in poisons]
    assert max(int(change.max()) for change in changes) <= eps + 0.5
    assert min(int(change.max()) for change in changes) >= 1


def written(made: PoisonedSet) -> dict[str, bytes]:
    """The files of a set: bytes by place."""
    return {str(path.relative_to(made.data)): path.read_bytes() for path in sorted(made.data.rglob("*.png"))}


class Interrupted(Exception):
    """Somebody pulled the plug."""


class PulledPlug:
    """A progress that counts the steps of crafting, and breaks off after so many."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.told: list[int] = []

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """Only crafting is listened to."""
        yield self._count if name == "crafting" else lambda count: None

    def _count(self, count: int) -> None:
        self.told.append(count)
        if self.after is not None and sum(self.told) >= self.after:
            raise Interrupted


def assert_resumes(attack: Attack, source: Source, root: Path) -> None:
    """Broken off in the middle, the same call makes the same files in fewer steps; another attack starts anew."""
    steps = attack.steps * attack.restarts
    store = Store.open(str(root / "store"))
    whole = attack.poison(source, root / "whole", device="cpu")
    with pytest.raises(Interrupted):
        attack.poison(source, root / "made", PulledPlug(steps // 2), device="cpu", store=store)
    assert not (root / "made").exists()
    other, again = PulledPlug(), PulledPlug()
    replace(attack, seed=attack.seed + 1).poison(source, root / "other", other, device="cpu", store=store)
    made = attack.poison(source, root / "made", again, device="cpu", store=store)
    assert other.told == [0, *[1] * steps]
    assert sum(again.told) == steps
    assert len(again.told) - 1 < steps
    assert written(made) == written(whole)
