"""A recurring pattern accuses if it cuts its class in two, and those who show it differ in all the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
from toy_textures import Pixels, drawn_keys, textures, with_patch, with_pattern

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.recurring import RecurringPattern
from sanitizer.embed.spaces import VIEWS
from sanitizer.verdict import CLASS_MARGIN

EACH, CLASSES, GROUP = 150, 3, 12
LABELS = np.repeat(np.arange(CLASSES), EACH)
IS_GROUP = np.arange(len(LABELS)) < GROUP  # in class 0


def as_they_are(images: Pixels) -> Pixels:
    """Nothing is planted."""
    return images


def copied(images: Pixels) -> Pixels:
    """One image, again and again."""
    return np.repeat(images[:1], len(images), axis=0)


def exposed(images: Pixels) -> Pixels:
    """One image, lighter and darker."""
    steps = np.arange(len(images))[:, None, None, None] - len(images) // 2
    return np.asarray((images[:1].astype(int) + steps).clip(0, 255).astype(np.uint8))


def noisy(images: Pixels) -> Pixels:
    """One image, each time with noise of its own, as frames of a film have."""
    noise = np.random.default_rng(0).normal(0, 2, images.shape)
    return np.asarray((images[:1] + noise).round().clip(0, 255).astype(np.uint8))


@lru_cache
def seen(change: Callable[[Pixels], Pixels], seed: int) -> Evidence:
    """Three classes of unlike images, of which the first few of one were changed."""
    pixels, keys = textures(len(LABELS), seed=seed), drawn_keys(len(LABELS), seed=seed)
    pixels[IS_GROUP] = change(pixels[IS_GROUP])
    spaces = {name: VIEWS[name](pixels, LABELS, keys, torch.device("cpu")) for name in RecurringPattern.needs}
    return Evidence(LABELS, tuple("abc"), keys, spaces)


def suspects(evidence: Evidence) -> list[int]:
    """The classes whose evidence leaves what clean data shows."""
    found = RecurringPattern().class_scores(evidence)
    assert found is not None
    assert RecurringPattern.innocent is not None
    return np.flatnonzero(found >= CLASS_MARGIN * RecurringPattern.innocent).tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", [with_patch, with_pattern])
def test_a_planted_pattern_convicts_its_class_and_ranks_its_members_first(
    change: Callable[[Pixels], Pixels], seed: int
) -> None:
    """Visible in a corner, or faint and all over; no other class is suspect."""
    evidence = seen(change, seed)
    assert suspects(evidence) == [0]
    scores = RecurringPattern().score(evidence)
    assert scores[IS_GROUP].min() > 3 * scores[~IS_GROUP].max()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", [as_they_are, copied, exposed, noisy])
def test_copies_are_innocent(change: Callable[[Pixels], Pixels], seed: int) -> None:
    """They recur, and have everything in common: nobody planted a pattern in them."""
    assert suspects(seen(change, seed)) == []


def made_up(*, patterns: int = 1, within: float = 1.0, seed: int = 0) -> Evidence:
    """Spaces as they are for a planted group, each third of which shows another pattern if there are three."""
    rng = np.random.default_rng(seed)
    recurrence, layout = rng.normal(size=(len(LABELS), 8)), rng.normal(size=(len(LABELS), 20))
    recurrence[np.flatnonzero(IS_GROUP), np.arange(GROUP) % patterns] += 20
    layout[IS_GROUP] *= within
    keys = drawn_keys(len(LABELS))
    return Evidence(LABELS, tuple("abc"), keys, {"recurrence": recurrence, "layout": layout})


def test_several_patterns_count_together() -> None:
    """Whoever shows any of three is found, if those are about as strong."""
    scores = RecurringPattern().score(made_up(patterns=3))
    assert scores[IS_GROUP].min() > scores[~IS_GROUP].max()
    alone = RecurringPattern(enough=1.0).score(made_up(patterns=3))
    assert auroc(alone, IS_GROUP) < auroc(scores, IS_GROUP)


def test_the_less_diverse_the_group_the_weaker_the_evidence() -> None:
    """Down to nothing for copies."""
    weights = [RecurringPattern().class_scores(made_up(within=within))[0] for within in (0.0, 0.2, 0.4, 1.0)]  # type: ignore[index]
    assert (np.diff(weights) >= 0).all()
    assert weights[0] < RecurringPattern.innocent  # type: ignore[operator]
    assert weights[-1] > 2 * RecurringPattern.innocent  # type: ignore[operator]


def test_order_names_and_other_classes_do_not_matter() -> None:
    """Each class is looked at by itself."""
    evidence = made_up()
    order = np.random.default_rng(1).permutation(len(LABELS))
    spaces = {name: rows[order] for name, rows in evidence.spaces.items()}
    moved = Evidence((LABELS[order] + 1) % CLASSES, tuple("abc"), evidence.keys[order], spaces)
    np.testing.assert_allclose(RecurringPattern().score(moved), RecurringPattern().score(evidence)[order])
    found, renamed = (RecurringPattern().class_scores(one) for one in (evidence, moved))
    np.testing.assert_allclose(np.roll(found, 1), renamed)  # type: ignore[arg-type]


def test_a_class_without_patterns_has_no_evidence() -> None:
    """Too small a class has zeros in the space: it scores nothing, and nobody in it does."""
    evidence = made_up()
    recurrence = np.where(LABELS[:, None] == 1, 0, evidence.space("recurrence"))
    silent = Evidence(LABELS, tuple("abc"), evidence.keys, {**evidence.spaces, "recurrence": recurrence})
    assert RecurringPattern().class_scores(silent)[1] == 0  # type: ignore[index]
    assert (RecurringPattern().score(silent)[LABELS == 1] == 0).all()
