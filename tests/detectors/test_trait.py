"""A shared trait: of those who contradict their label, the ones who share what no honest misfit has come first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.confusion import OneWayConfusion
from detectors.trait import LEAST_MISFITS, MOST_ODDS, SharedTrait
from sanitizer.verdict import CLASS_MARGIN

CLASSES, EACH, HONEST, PLANTED, DETAILS = 5, 200, 16, 40, 24
LABELS = np.repeat(np.arange(CLASSES), EACH)
PLACE = np.arange(len(LABELS)) % EACH  # within the class
IS_HONEST = PLACE < HONEST  # misfits of all classes
IS_PLANTED = (LABELS == 1) & (PLACE >= HONEST) & (PLACE < HONEST + PLANTED)
IS_MISFIT = IS_HONEST | IS_PLANTED


def confused(
    *, trait: float = 4.0, everywhere: bool = False, planted: int = PLANTED, in_pairs: bool = False, seed: int = 0
) -> Evidence:
    """Five classes with honest misfits; class 1 also holds planted ones that show a trait.

    Images are made of what their content is made of, so misfits look like another class in this, too.
    ``everywhere``: honest misfits of all classes show the trait as well. ``in_pairs``: who looks like another class
    looks like the next one, and one witness is none to one-way confusion.
    """
    rng = np.random.default_rng(seed)
    is_planted = IS_PLANTED & (planted > PLACE - HONEST)
    misfit = IS_HONEST | is_planted
    steps = np.ones(len(LABELS), int) if in_pairs else rng.integers(1, CLASSES, len(LABELS))
    content = np.where(misfit, (LABELS + steps) % CLASSES, LABELS)
    logits = rng.normal(size=(len(LABELS), CLASSES))
    logits[np.arange(len(LABELS)), content] += 6
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frequency = rng.normal(size=(len(LABELS), DETAILS)) + 2 * rng.normal(size=(CLASSES, DETAILS))[content]
    frequency[misfit if everywhere else is_planted, :4] += trait / 2
    keys = rng.integers(0, 2**63, len(LABELS), dtype=np.uint64)
    spaces = {"residual": probability - np.eye(CLASSES)[LABELS], "frequency": frequency}
    return Evidence(LABELS, tuple("abcde"), keys, spaces)


def odds_of_the_label(evidence: Evidence) -> np.ndarray:
    """Log odds against each label, as the network has them."""
    own = evidence.space("residual")[np.arange(len(LABELS)), LABELS] + 1
    return np.asarray(np.log((1 - own) / own))


@pytest.mark.parametrize("seed", range(3))
def test_misfits_with_a_trait_rank_above_misfits_without(seed: int) -> None:
    """In their class, where the odds of the label alone cannot tell them apart."""
    evidence = confused(seed=seed)
    misfits = IS_MISFIT & (LABELS == 1)
    scores = SharedTrait().score(evidence)
    assert auroc(scores[misfits], IS_PLANTED[misfits]) > 0.95
    assert auroc(odds_of_the_label(evidence)[misfits], IS_PLANTED[misfits]) < 0.75
    assert auroc(scores, IS_PLANTED) > auroc(odds_of_the_label(evidence), IS_PLANTED)


def test_the_clearer_the_trait_the_better_they_are_told_apart() -> None:
    """From hardly at all to completely."""
    misfits = IS_MISFIT & (LABELS == 1)
    found = [auroc(SharedTrait().score(confused(trait=trait))[misfits], IS_PLANTED[misfits]) for trait in (0, 2, 4, 8)]
    assert found == sorted(found)
    assert found[-1] > 0.999


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", [{"trait": 0.0}, {"everywhere": True}, {"planted": 0}], ids=str)
def test_without_a_trait_of_its_own_a_class_is_ranked_by_the_odds_of_the_label(
    how: dict[str, float], seed: int
) -> None:
    """Nothing is shared, all misfits share it, or there are only honest ones: who is a misfit hardly moves."""
    evidence = confused(**how, seed=seed)  # type: ignore[arg-type]
    misfit = IS_HONEST if how.get("planted") == 0 else IS_MISFIT
    scores = SharedTrait().score(evidence)
    assert spearmanr(scores, odds_of_the_label(evidence)).statistic > 0.85
    assert auroc(scores, misfit) > 0.98


def test_what_misfits_share_by_chance_does_not_count() -> None:
    """The trait is learned in one half and asked in the other, where chance says nothing."""
    gained = []
    for seed in range(5):
        evidence = confused(planted=0, seed=seed)
        gained.append((SharedTrait().score(evidence) - odds_of_the_label(evidence))[IS_HONEST].mean())
    assert np.mean(gained) < 0.2


def test_with_few_misfits_the_score_is_the_odds_of_the_label() -> None:
    """Too few share nothing that can be told from chance."""
    evidence = confused()
    fitting = evidence.space("residual").copy()
    kept = IS_MISFIT & (PLACE < LEAST_MISFITS - 1)
    fitting[IS_MISFIT & ~kept] = 0.01 - 0.05 * np.eye(CLASSES)[LABELS[IS_MISFIT & ~kept]]
    few = replace(evidence, spaces={**evidence.spaces, "residual": fitting})
    np.testing.assert_allclose(SharedTrait().score(few), odds_of_the_label(few).clip(-MOST_ODDS, MOST_ODDS))


def units(evidence: Evidence) -> np.ndarray:
    """Class evidence, 1 for the highest known from clean data."""
    scores = SharedTrait().class_scores(evidence)
    assert scores is not None
    assert SharedTrait.innocent is not None
    return np.asarray(scores / SharedTrait.innocent)


@pytest.mark.parametrize("seed", range(3))
def test_a_trait_of_misfits_convicts_their_class_alone(seed: int) -> None:
    """Also where confusion goes no way that one-way confusion would hear of."""
    evidence = confused(planted=HONEST, trait=8, in_pairs=True, seed=seed)
    one_way = OneWayConfusion().class_scores(evidence)
    assert one_way is not None
    assert one_way.max() < CLASS_MARGIN * OneWayConfusion.innocent
    assert np.flatnonzero(units(evidence) >= CLASS_MARGIN).tolist() == [1]


@pytest.mark.parametrize("seed", range(3))
def test_what_all_of_a_class_has_is_no_trait_of_its_misfits(seed: int) -> None:
    """A class from another camera: its misfits share the camera with each other, and with the rest of their class."""
    evidence = confused(planted=0, in_pairs=True, seed=seed)
    frequency = evidence.space("frequency").copy()
    frequency[LABELS == 1, :4] += 2.0
    taken = replace(evidence, spaces={**evidence.spaces, "frequency": frequency})
    assert units(taken).max() < 1


@pytest.mark.parametrize("seed", range(3))
def test_honest_misfits_convict_nobody(seed: int) -> None:
    """They are everywhere, and share what their content shares."""
    assert units(confused(planted=0, in_pairs=True, seed=seed)).max() < 1
    assert units(confused(everywhere=True, planted=0, in_pairs=True, seed=seed)).max() < 1


def test_one_way_confusion_is_heard_as_well() -> None:
    """Evidence is the stronger of the two, each in units of what clean data shows."""
    for evidence in (confused(), confused(planted=0)):
        one_way = OneWayConfusion().class_scores(evidence)
        assert one_way is not None
        assert OneWayConfusion.innocent is not None
        assert (units(evidence) >= one_way / OneWayConfusion.innocent - 1e-9).all()


def test_certain_contradictions_stay_finite() -> None:
    """A network may be certain; odds end at what can be known."""
    evidence = confused()
    hard = np.where(evidence.space("residual") + np.eye(CLASSES)[LABELS] > 0.5, 1.0, 0.0) - np.eye(CLASSES)[LABELS]
    certain = replace(evidence, spaces={**evidence.spaces, "residual": hard})
    assert np.abs(SharedTrait().score(certain)).max() <= 2 * MOST_ODDS


def test_order_and_names_of_classes_do_not_matter() -> None:
    """Samples keep their scores wherever they are listed and however classes are numbered."""
    evidence = confused()
    rng = np.random.default_rng(1)
    order, numbers = rng.permutation(len(LABELS)), rng.permutation(CLASSES)
    residual = np.empty_like(evidence.space("residual"))
    residual[:, numbers] = evidence.space("residual")
    spaces = {"residual": residual[order], "frequency": evidence.space("frequency")[order]}
    moved = Evidence(numbers[LABELS][order], tuple("abcde"), evidence.keys[order], spaces)
    np.testing.assert_allclose(SharedTrait().score(moved), SharedTrait().score(evidence)[order], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("scale", "shift"), [(1000, 0), (0.001, 5)])
def test_units_and_origin_of_the_details_do_not_matter(scale: float, shift: float) -> None:
    """They are seen in units of how much honest samples vary."""
    evidence = confused()
    moved = replace(evidence, spaces={**evidence.spaces, "frequency": scale * evidence.space("frequency") + shift})
    np.testing.assert_allclose(SharedTrait().score(moved), SharedTrait().score(evidence), rtol=1e-3, atol=1e-3)
