"""Witches' Brew: poison for one test image, as it is written and as it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from crafts import QUICK, assert_crafted_soundly, assert_resumes, toy_source, written
from toys import CLASSES

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.witches_brew import WitchesBrew
from sanitizer.registry import attack as attack_named
from sanitizer.sources.base import Source


def both(root: Path) -> tuple[Source, dict[str, Any]]:
    """A source, and settings that name another to take the target image from."""
    test = toy_source(root / "test", each=3, seed=1)
    return toy_source(root / "source"), {**QUICK, "test": test.uri, "target": "box"}


def test_it_has_a_name() -> None:
    """Under which others find it, with the settings of the paper."""
    found = attack_named("witches_brew")
    assert found is WitchesBrew
    attack = WitchesBrew()
    assert (attack.rate, attack.eps, attack.steps, attack.restarts, attack.tau) == (0.01, 16, 250, 8, 0.1)
    assert (attack.augment, attack.retrain, attack.batch, attack.ensemble) == (True, False, 512, 1)


def test_only_the_target_class_is_touched_within_the_ball(tmp_path: Path) -> None:
    """As it lies on disk; what comes back from disk still knows its exam."""
    source, settings = both(tmp_path)
    WitchesBrew(**settings, eps=8, targets=2).poison(source, tmp_path / "made", device="cpu")
    made = PoisonedSet.open(tmp_path / "made")
    assert_crafted_soundly(made, source, eps=8, target="box")
    exam = WitchesBrew(**settings, targets=2).knowing(made.learned()).exam([], np.empty(0, np.int64), CLASSES)
    assert (len(exam.images), exam.answers.tolist()) == (2, [1, 1])


def test_more_steps_match_better(tmp_path: Path) -> None:
    """And the same call writes the same bytes."""
    source, settings = both(tmp_path)
    short, long, again = (
        WitchesBrew(**settings | {"steps": steps}).poison(source, tmp_path / name, device="cpu")
        for name, steps in (("short", 2), ("long", 15), ("again", 15))
    )
    assert long.recipe["notes"]["final_loss"] < 0.95 * short.recipe["notes"]["final_loss"]
    assert written(long) == written(again)


def test_it_goes_on_after_an_interruption(tmp_path: Path) -> None:
    """With surrogates that are trained again in between, too."""
    source, settings = both(tmp_path)
    assert_resumes(WitchesBrew(**settings | {"restarts": 2}, retrain=True), source, tmp_path)


def test_several_targets_share_one_gradient(tmp_path: Path) -> None:
    """All of them are wanted at once."""
    source, settings = both(tmp_path)
    seen: list[torch.Tensor] = []

    class Watched(WitchesBrew):
        """Shows what it wants."""

        def wanted(self, scene: Scene) -> torch.Tensor:
            """The same as ever."""
            seen.append(super().wanted(scene))
            return seen[-1]

    Watched(**settings, targets=3).poison(source, tmp_path / "made", device="cpu")
    assert seen[0].shape == (3, 3, 12, 12)
