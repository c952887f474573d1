"""A hidden population stands apart and came as a surprise: either alone is innocent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc, planted
from detectors.hidden import HiddenPopulation
from sanitizer.verdict import CLASS_MARGIN

CLASSES, EACH, GROUP, WIDTH, EPOCHS = 4, 400, 20, 12, 6
IS_GROUP = np.arange(CLASSES * EACH) < GROUP  # in class 0
TRIAL_SEEDS = range(3)


def population(*, apart: float, surprise: float, tight: bool = False, copies: bool = False, seed: int = 0) -> Evidence:
    """Four alike classes; a group in the first lies ``apart`` and had so much more loss in the second epoch.

    A group of ``copies`` shows one image again and again.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), EACH)
    feature = rng.normal(size=(len(labels), WIDTH)) + 5 * rng.normal(size=(CLASSES, WIDTH))[labels]
    if tight:
        feature[IS_GROUP] = feature[0] + 0.02 * rng.normal(size=(GROUP, WIDTH))
    feature[IS_GROUP] += apart * np.ones(WIDTH) / np.sqrt(WIDTH)
    loss = np.linspace(1.5, 0, EPOCHS) + 0.3 * rng.random((len(labels), EPOCHS))
    loss[IS_GROUP, 1] += surprise
    layout = rng.normal(size=(len(labels), WIDTH))
    if copies:
        layout[IS_GROUP] = layout[0] + 0.02 * rng.normal(size=(GROUP, WIDTH))
    keys = rng.integers(0, 2**63, len(labels), dtype=np.uint64)
    return Evidence(labels, tuple("abcd"), keys, {"feature": feature, "loss": loss, "layout": layout})


def suspects(evidence: Evidence) -> list[int]:
    """The classes whose evidence leaves what clean data shows."""
    detector = HiddenPopulation()
    scores = detector.class_scores(evidence)
    assert scores is not None
    assert detector.innocent is not None
    return np.flatnonzero(scores >= CLASS_MARGIN * detector.innocent).tolist()


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("tight", [False, True], ids=["loose", "tight"])
def test_a_group_that_is_both_is_found(seed: int, tight: bool) -> None:
    """Its class alone is suspect, and its members rank first in it."""
    evidence = population(apart=8, surprise=3, tight=tight, seed=seed)
    assert suspects(evidence) == [0]
    scores = HiddenPopulation().score(evidence)
    assert scores[IS_GROUP].min() > scores[~IS_GROUP].max()


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_frames_of_one_film_are_innocent(seed: int) -> None:
    """They stand apart and surprised, and that is because they are one image: nobody plants that."""
    assert suspects(population(apart=8, surprise=3, tight=True, copies=True, seed=seed)) == []


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("tight", [False, True], ids=["a rare style", "near duplicates"])
def test_a_group_that_was_easy_is_innocent(seed: int, tight: bool) -> None:
    """It stands apart, and training never took it for something else."""
    assert suspects(population(apart=8, surprise=0, tight=tight, seed=seed)) == []


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_a_group_that_was_hard_is_innocent(seed: int) -> None:
    """It surprised, and lies where its class lies."""
    assert suspects(population(apart=0, surprise=3, seed=seed)) == []


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
def test_a_clean_set_has_no_suspects(seed: int) -> None:
    """Four clouds, evenly learned."""
    assert suspects(population(apart=0, surprise=0, seed=seed)) == []


def test_evidence_grows_with_either_sign() -> None:
    """Farther apart, or more surprising: more evidence, never less."""
    for name, values in (("apart", (4, 6, 8, 12)), ("surprise", (0.5, 1, 2, 4))):
        scores = []
        for value in values:
            given = {"apart": 8, "surprise": 3} | {name: value}
            scores.append(HiddenPopulation().class_scores(population(**given))[0])  # type: ignore[index,arg-type]
        assert scores == sorted(scores), name


def test_other_classes_do_not_matter_for_who_is_in_the_group() -> None:
    """Ranking is within the class: the members of a found group are the same after other classes are renamed."""
    evidence = population(apart=8, surprise=3)
    renamed = replace(evidence, labels=(evidence.labels + 1) % CLASSES)
    np.testing.assert_allclose(HiddenPopulation().score(renamed), HiddenPopulation().score(evidence), rtol=1e-6)


@pytest.mark.parametrize("family", ["shifted", "tight"])
def test_units_of_the_features_do_not_matter(family) -> None:  # type: ignore[no-untyped-def]
    """A feature space a thousand times larger gives the same scores."""
    evidence, is_poison = planted(family, seed=0)
    larger = replace(evidence, spaces={**evidence.spaces, "feature": 1000 * evidence.space("feature")})
    scores = HiddenPopulation().score(evidence)
    np.testing.assert_allclose(HiddenPopulation().score(larger), scores, rtol=1e-5, atol=1e-8)
    assert auroc(scores, is_poison) > 0.99
