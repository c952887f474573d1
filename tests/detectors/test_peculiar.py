"""A group of which other classes have nothing is evidence; a group that every class has is what images are like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.checks import auroc
from detectors.looks import look_at
from detectors.peculiar import PeculiarGroup, _along, _away_from, peculiarity
from sanitizer.verdict import CLASS_MARGIN

CLASSES, EACH, GROUP, DETAILS = 8, 150, 15, 20
LABELS = np.repeat(np.arange(CLASSES), EACH)
PLACE = np.arange(len(LABELS)) % EACH  # within the class
IS_GROUP = (PLACE < GROUP) & np.isin(LABELS, 0)


def made_of(
    *, apart: float = 8, everywhere: bool = False, within: float = 1, classes: int = CLASSES, seed: int = 0
) -> Evidence:
    """Alike classes; a group in the first (or in all) is made of something else, by so many standard deviations.

    ``within``: how much the group varies in what it shows.
    """
    rng = np.random.default_rng(seed)
    frequency = rng.normal(size=(len(LABELS), DETAILS)) + 2 * rng.normal(size=(CLASSES, DETAILS))[LABELS]
    frequency[(PLACE < GROUP) if everywhere else IS_GROUP, :4] += apart / 2
    layout = rng.normal(size=(len(LABELS), DETAILS))
    layout[IS_GROUP] = layout[0] * (1 - within) + layout[IS_GROUP] * within
    keys = rng.integers(0, 2**63, len(LABELS), dtype=np.uint64)
    kept = np.isin(LABELS, range(classes))
    spaces = {"frequency": frequency[kept], "layout": layout[kept]}
    return Evidence(LABELS[kept], tuple(map(str, range(classes))), keys[kept], spaces)


def weights(evidence: Evidence) -> np.ndarray:
    """The class scores."""
    found = PeculiarGroup().class_scores(evidence)
    assert found is not None
    return found


def suspects(evidence: Evidence) -> list[int]:
    """The classes whose evidence leaves what clean data shows."""
    assert PeculiarGroup.innocent is not None
    return np.flatnonzero(weights(evidence) >= CLASS_MARGIN * PeculiarGroup.innocent).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_group_of_one_class_alone_is_found(seed: int) -> None:
    """Its class alone is suspect, and its members rank first."""
    evidence = made_of(seed=seed)
    assert suspects(evidence) == [0]
    assert auroc(PeculiarGroup().score(evidence), IS_GROUP) > 0.99


@pytest.mark.parametrize("nearer", [False, True])
def test_the_group_is_the_one_that_is_farther_from_the_others(nearer: bool) -> None:
    """What was planted may be most of a class: then the smaller group is what is left of it."""
    rng = np.random.default_rng(0)
    group = np.arange(100) < 30
    rows = rng.normal(size=(100, 5))
    rows[group, 0] += 10
    look = look_at(rows, group, np.eye(5)[0])
    assert look is not None
    centres = rng.normal(size=(7, 5)) + (10 if nearer else 0) * np.eye(5)[0]
    found = _along(_away_from(centres, look), rows)
    assert np.median(found[group]) == pytest.approx(0 if nearer else 1, abs=0.1)
    assert np.median(found[~group]) == pytest.approx(1 if nearer else 0, abs=0.1)


INNOCENT: dict[str, dict[str, Any]] = {
    "nothing": {"apart": 0},
    "a group that every class has": {"everywhere": True},
    "copies": {"within": 0.02},
    "too few classes to know what is usual": {"classes": 4},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", INNOCENT)
def test_what_may_be_natural_is_innocent(what: str, seed: int) -> None:
    """Dark images are found under every label, and copies are made of the same stuff whatever it is."""
    assert suspects(made_of(**INNOCENT[what], seed=seed)) == []


def test_evidence_grows_with_distance() -> None:
    """Farther apart, fewer of the others pass for the group."""
    found = [weights(made_of(apart=apart))[0] for apart in (0, 4, 8)]
    assert found == sorted(found)
    assert found[-1] > 5 * found[0]


def test_order_and_names_of_classes_do_not_matter() -> None:
    """Listed otherwise and numbered otherwise, samples and classes keep their scores."""
    evidence = made_of()
    order = np.random.default_rng(1).permutation(len(LABELS))
    spaces = {name: rows[order] for name, rows in evidence.spaces.items()}
    moved = Evidence((LABELS[order] + 1) % CLASSES, evidence.class_names, evidence.keys[order], spaces)
    np.testing.assert_allclose(PeculiarGroup().score(moved), PeculiarGroup().score(evidence)[order], rtol=1e-6)
    np.testing.assert_allclose(weights(moved), np.roll(weights(evidence), 1), rtol=1e-6)


def test_units_and_origin_do_not_matter() -> None:
    """What images are made of is seen in units of how much classes vary."""
    evidence = made_of()
    moved = {**evidence.spaces, "frequency": 1000 * evidence.space("frequency") + 7}
    scores = PeculiarGroup().score(evidence)
    again = PeculiarGroup().score(Evidence(LABELS, evidence.class_names, evidence.keys, moved))
    np.testing.assert_allclose(again, scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max())


def test_one_class_has_nothing_to_be_peculiar_among() -> None:
    """And says so with no evidence at all, not with an error."""
    assert weights(made_of(classes=1)).tolist() == [0.0]


def test_peculiarity_is_what_others_lack() -> None:
    """A larger share here says more, a larger share there says less; a share that is not larger here says nothing."""
    shares = {
        share: np.repeat([1.0, 0.0], [round(1000 * share), 1000 - round(1000 * share)]) for share in (0.01, 0.05, 0.2)
    }
    assert peculiarity(shares[0.2], shares[0.01]) > peculiarity(shares[0.05], shares[0.01]) > 0
    assert peculiarity(shares[0.2], shares[0.01]) > peculiarity(shares[0.2], shares[0.05]) > 0
    assert peculiarity(shares[0.05], shares[0.2]) == 0
    assert peculiarity(np.repeat([1.0, 0.0], [3, 97]), np.zeros(100)) == 0  # three are no group
