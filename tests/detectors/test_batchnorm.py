"""Batch normalisation: unlikely activations and those of another class stand out, by as much as they are so."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Evidence
from detectors.batchnorm import BatchNormCentroid, BatchNormLikelihood
from detectors.checks import auroc

CLASSES, EACH, WIDTH = 3, 100, 10


def evidence_of(space: str, rows: np.ndarray) -> Evidence:
    """Three classes of a hundred."""
    labels = np.repeat(np.arange(CLASSES), EACH)
    return Evidence(labels, ["a", "b", "c"], np.arange(len(labels), dtype=np.uint64), {space: rows})


def likelihoods(seed: int = 0) -> np.ndarray:
    """Of a clean set; classes and columns differ in level and spread."""
    rng = np.random.default_rng(seed)
    levels, spreads = rng.normal(0, 5, (CLASSES, WIDTH)), rng.uniform(0.5, 3, (CLASSES, WIDTH))
    return np.concatenate(
        [level + s * rng.normal(size=(EACH, WIDTH)) for level, s in zip(levels, spreads, strict=True)]
    )


def statistics(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Channels of a clean set and the centres of its classes; one dimension says nothing, one is constant."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (CLASSES, WIDTH))
    centres[:, 0], centres[:, 1] = 0, 3
    rows = centres.repeat(EACH, axis=0) + rng.normal(size=(CLASSES * EACH, WIDTH))
    rows[:, 0] *= 1000
    rows[:, 1] = 3
    return rows, centres


# How likely


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("column", [0, WIDTH - 1])
def test_one_odd_layer_is_enough_in_either_direction(sign: int, column: int) -> None:
    """The further, the higher."""
    scores = []
    for step in (0, 10, 20, 40):
        rows = likelihoods()
        rows[7, column] += sign * 3 * step
        scores.append(BatchNormLikelihood().score(evidence_of("batchnorm", rows))[7])
    assert scores == sorted(scores)
    rows = likelihoods()
    rows[7, column] += sign * 1000
    assert BatchNormLikelihood().score(evidence_of("batchnorm", rows)).argmax() == 7


def test_a_little_in_every_layer_outweighs_much_in_one() -> None:
    """No single layer drowns the rest."""
    rows = likelihoods()
    spread = rows[:EACH].std(axis=0)
    rows[3] = np.median(rows[:EACH], axis=0) + 3 * spread
    rows[4] = np.median(rows[:EACH], axis=0)
    rows[4, 5] += 100 * spread[5]
    scores = BatchNormLikelihood().score(evidence_of("batchnorm", rows))
    assert scores[3] > scores[4] > np.median(scores)


def test_units_of_a_layer_do_not_matter() -> None:
    """A layer with a larger constant or more channels has no more to say."""
    rows, rng = likelihoods(), np.random.default_rng(1)
    changed = rows * rng.uniform(0.1, 10, WIDTH) + rng.normal(0, 100, WIDTH)
    scores = [BatchNormLikelihood().score(evidence_of("batchnorm", each)) for each in (rows, changed)]
    np.testing.assert_allclose(*scores, rtol=1e-2)


# Which class


def test_a_sample_with_the_statistics_of_another_class_stands_out() -> None:
    """Whatever the other class; and those that were left alone keep their rank."""
    rows, centres = statistics()
    wrong = np.isin(np.arange(CLASSES * EACH), [3, 40, 120, 180, 250])
    rng = np.random.default_rng(5)
    for row in np.flatnonzero(wrong):
        rows[row] = centres[(row // EACH + 1) % CLASSES] + rng.normal(size=WIDTH)
    assert auroc(BatchNormCentroid().score(evidence_of("channels", rows)), wrong) > 0.99


def test_the_way_to_another_class_is_uphill() -> None:
    """Moved step by step from its own centre to another one, a sample scores higher and higher."""
    rows, centres = statistics()
    scores = []
    for share in np.linspace(0, 1, 6):
        rows[0] = (1 - share) * centres[0] + share * centres[2]
        scores.append(BatchNormCentroid().score(evidence_of("channels", rows))[0])
    assert scores == sorted(scores)
    assert scores[0] < 0 < scores[-1]


def test_units_of_a_channel_do_not_matter() -> None:
    """Each is measured in its spread within classes; a constant one is passed over."""
    rows, _ = statistics()
    changed = rows * np.random.default_rng(1).uniform(0.1, 10, WIDTH)
    scores = [BatchNormCentroid().score(evidence_of("channels", each)) for each in (rows, changed)]
    np.testing.assert_allclose(*scores, rtol=1e-6, atol=1e-9)


def test_nothing_looks_like_another_class_where_there_is_none() -> None:
    """One class: nobody is suspicious."""
    rows, _ = statistics()
    alone = Evidence(np.zeros(len(rows), int), ["a"], np.arange(len(rows), dtype=np.uint64), {"channels": rows})
    np.testing.assert_array_equal(BatchNormCentroid().score(alone), 0)
