"""Two looks at one class: a group that both see is evidence, a group that only one of them sees is a style."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.agreement import AgreeingGroups, agreement
from detectors.base import Evidence
from detectors.checks import auroc
from sanitizer.verdict import CLASS_MARGIN

CLASSES, EACH, GROUP, FEATURES, DETAILS = 3, 300, 30, 12, 20
LABELS = np.repeat(np.arange(CLASSES), EACH)
IS_GROUP = np.arange(len(LABELS)) < GROUP  # in class 0
IS_OTHER_GROUP = (np.arange(len(LABELS)) >= GROUP) & (np.arange(len(LABELS)) < 2 * GROUP)


def looked_at(
    *, learned: float = 0, made_of: float = 0, elsewhere: bool = False, within: float = 1, seed: int = 0
) -> Evidence:
    """Three alike classes; a group in the first lies so far out in its features, and in what it is made of.

    ``elsewhere``: the groups of the two spaces are not the same samples. ``within``: how much the group varies.
    """
    rng = np.random.default_rng(seed)
    feature = rng.normal(size=(len(LABELS), FEATURES)) + 5 * rng.normal(size=(CLASSES, FEATURES))[LABELS]
    frequency = rng.normal(size=(len(LABELS), DETAILS)) + 2 * rng.normal(size=(CLASSES, DETAILS))[LABELS]
    layout = rng.normal(size=(len(LABELS), DETAILS))
    for rows in (feature, frequency, layout):
        rows[IS_GROUP] = rows[0] * (1 - within) + rows[IS_GROUP] * within
    feature[IS_GROUP, 3] += learned
    frequency[IS_OTHER_GROUP if elsewhere else IS_GROUP, :3] += made_of / np.sqrt(3)
    keys = rng.integers(0, 2**63, len(LABELS), dtype=np.uint64)
    return Evidence(LABELS, tuple("abc"), keys, {"feature": feature, "frequency": frequency, "layout": layout})


def suspects(evidence: Evidence) -> list[int]:
    """The classes whose evidence leaves what clean data shows."""
    assert AgreeingGroups.innocent is not None
    return np.flatnonzero(weights(evidence) >= CLASS_MARGIN * AgreeingGroups.innocent).tolist()


def weights(evidence: Evidence) -> np.ndarray:
    """The class scores."""
    found = AgreeingGroups().class_scores(evidence)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_group_in_both_spaces_is_found(seed: int) -> None:
    """Its class alone is suspect, and its members rank first."""
    evidence = looked_at(learned=8, made_of=6, seed=seed)
    assert suspects(evidence) == [0]
    assert auroc(AgreeingGroups().score(evidence), IS_GROUP) > 0.99


INNOCENT = {
    "nothing": {},
    "a style that only the network knows": {"learned": 12},
    "a look that the network ignores": {"made_of": 12},
    "two groups that are not the same": {"learned": 8, "made_of": 8, "elsewhere": True},
    "copies": {"learned": 8, "made_of": 8, "within": 0.02},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", INNOCENT)
def test_what_only_one_look_sees_is_innocent(what: str, seed: int) -> None:
    """And so are near-copies, in which both looks see everything."""
    assert suspects(looked_at(**INNOCENT[what], seed=seed)) == []  # type: ignore[arg-type]


def test_evidence_grows_with_either_look() -> None:
    """Farther apart in the features, or in what the images are made of: more evidence."""
    for name in ("learned", "made_of"):
        found = [weights(looked_at(**{"learned": 8, "made_of": 8, name: apart}))[0] for apart in (2, 4, 8, 16)]  # type: ignore[arg-type]
        assert found == sorted(found), name
        assert found[-1] > 3 * found[0], name


def test_order_and_names_of_classes_do_not_matter() -> None:
    """Listed otherwise and numbered otherwise, samples and classes keep their scores."""
    evidence = looked_at(learned=8, made_of=6)
    order = np.random.default_rng(1).permutation(len(LABELS))
    spaces = {name: rows[order] for name, rows in evidence.spaces.items()}
    moved = Evidence((LABELS[order] + 1) % CLASSES, tuple("abc"), evidence.keys[order], spaces)
    np.testing.assert_allclose(AgreeingGroups().score(moved), AgreeingGroups().score(evidence)[order], rtol=1e-6)
    np.testing.assert_allclose(weights(moved), np.roll(weights(evidence), 1), rtol=1e-6)


@pytest.mark.parametrize("space", ["feature", "frequency"])
def test_units_and_origin_of_a_space_do_not_matter(space: str) -> None:
    """Both are seen in units of how much classes vary."""
    evidence = looked_at(learned=8, made_of=6)
    moved = Evidence(LABELS, tuple("abc"), evidence.keys, {**evidence.spaces, space: 1000 * evidence.space(space) + 7})
    scores = AgreeingGroups().score(evidence)
    np.testing.assert_allclose(AgreeingGroups().score(moved), scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max())


def test_agreement_is_of_the_same_samples() -> None:
    """The group that the first line shows, asked of the second: its sign and its size count, strangers do not."""
    rng = np.random.default_rng(0)
    group = np.arange(200) < 20
    learned = rng.normal(size=200) + 20 * group
    made_of = rng.normal(size=200)
    near, far, opposite = (agreement(learned, made_of + apart * group) for apart in (4, 8, -8))
    assert far > near > 4 * abs(agreement(learned, made_of))
    assert opposite == 0
    assert agreement(learned, made_of + 8 * group[::-1]) < near / 2
    assert agreement(np.zeros(200), made_of) == 0
