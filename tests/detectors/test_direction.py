"""The gradient's direction: two factors say all that the outer product would, and a group has a pole of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Evidence, Floats, Rows
from detectors.checks import auroc, planted
from detectors.direction import LEAST_RESIDUAL, GradientDirection, far_apart, poles, unit_gradients

TRIAL_SEEDS = range(3)


def factors(seed: int = 0, size: int = 40) -> tuple[Floats, Floats]:
    """Residuals and features of some samples."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, 5)), rng.normal(size=(size, 7))


def outer(residual: Floats, feature: Floats) -> Floats:
    """Gradients written out, (n, C * d)."""
    return (residual[:, :, None] * feature[:, None, :]).reshape(len(residual), -1)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 40])
def test_factors_say_what_the_outer_product_says(count: int) -> None:
    """Cosines with the mean of few or of many, by the definition."""
    residual, feature = factors()
    members = np.arange(40) < count
    written = outer(residual, feature)
    written /= np.linalg.norm(written, axis=1, keepdims=True)
    mean = written[members].mean(axis=0)
    expected = written @ mean / np.linalg.norm(mean)
    np.testing.assert_allclose(unit_gradients(residual, feature).cosine(members), expected, atol=1e-12)


def test_only_the_direction_counts() -> None:
    """Any sample's residual or feature made longer, the same cosines."""
    residual, feature = factors()
    longer = np.random.default_rng(1).uniform(0.1, 50, (40, 1))
    everybody = np.ones(40, dtype=bool)
    plain, scaled = unit_gradients(residual, feature), unit_gradients(longer * residual, feature / longer)
    np.testing.assert_allclose(scaled.cosine(everybody), plain.cosine(everybody), atol=1e-12)


def test_a_residual_too_short_has_no_direction() -> None:
    """What half precision cannot tell is not told."""
    residual, feature = factors()
    residual[3] *= 0.5 * LEAST_RESIDUAL / np.linalg.norm(residual[3])
    feature[4] = 0
    gradients = unit_gradients(residual, feature)
    cosines = gradients.cosine(np.ones(40, dtype=bool))
    assert cosines[3] == cosines[4] == 0
    assert (np.delete(cosines, [3, 4]) != 0).all()


def drawn_out(seed: int, group: int, *, angle: float = 1.0) -> tuple[Evidence, np.ndarray]:
    """Three classes of 200; some of the second turn their residual towards a third class, and their feature too."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 200)
    is_group = (np.arange(600) >= 200) & (np.arange(600) < 200 + group)
    probability = np.eye(3)[labels] * 5 + np.eye(3)[(labels + 1) % 3] + 0.1 * rng.random((600, 3))
    probability[is_group, 0] += 3 * angle
    probability /= probability.sum(axis=1, keepdims=True)
    feature = 3 * rng.random((3, 10))[labels] + 0.3 * rng.normal(size=(600, 10))
    feature[is_group] += 3 * angle * rng.normal(size=10)
    keys = rng.integers(0, 2**63, 600, dtype=np.uint64)
    spaces = {"residual": probability - np.eye(3)[labels], "feature": feature}
    return Evidence(labels, ("a", "b", "c"), keys, spaces), is_group


@pytest.mark.parametrize("seed", TRIAL_SEEDS)
@pytest.mark.parametrize("group", [5, 20, 60])
def test_a_group_with_a_pull_of_its_own_is_found(seed: int, group: int) -> None:
    """Few or many: its class is drawn out the most, and its members lie at the opposite pole."""
    evidence, is_group = drawn_out(seed, group)
    scores, classes = GradientDirection().score(evidence), GradientDirection().class_scores(evidence)
    assert classes is not None
    assert classes.argmax() == 1
    assert auroc(scores, is_group) > 0.99
    assert scores[is_group].min() > 0.5 > np.median(scores[~is_group])


def test_dispersion_grows_with_the_angle() -> None:
    """The farther a group pulls away, the more its class is drawn out."""
    found = [GradientDirection().class_scores(drawn_out(0, 20, angle=angle)[0]) for angle in (0, 0.3, 1, 3)]
    values = [float(one[1]) for one in found if one is not None]
    assert len(values) == 4
    assert values == sorted(values)


def test_one_odd_sample_does_not_hide_a_group() -> None:
    """Poles start at several samples; from the farthest alone, the group would be overlooked."""
    evidence, is_group = drawn_out(1, 20, angle=0.5)
    residual = evidence.space("residual").copy()
    odd = 399
    residual[odd] = [-1, 0.2, 0.8]
    members: Rows = evidence.rows(1)
    gradients = unit_gradients(residual[members], evidence.space("feature")[members])
    confident = -residual[members, 1]
    alone = poles(gradients, confident, share=0.005, starts=1)
    several = poles(gradients, confident, share=0.02, starts=8)
    assert alone.nearness[-1] == alone.nearness.max()
    assert auroc(several.nearness, is_group[members]) > 0.9


def test_starts_are_spread_over_all_that_lies_far() -> None:
    """Three groups that pull three ways, and of each of them one start, however many its members are."""
    residual = np.repeat(np.eye(4), [200, 12, 5, 3], axis=0)
    residual += 0.05 * np.random.default_rng(0).normal(size=residual.shape)
    gradients = unit_gradients(residual, np.ones((220, 1)))
    own = gradients.cosine(np.arange(220) < 200)
    starts = [int(start.argmax()) for start in far_apart(gradients, own, 3)]
    assert sorted(residual[starts].argmax(axis=1)) == [1, 2, 3]


def test_a_class_without_any_direction_is_midway() -> None:
    """Everything learned to the last bit: no gradient, no opinion."""
    evidence, _ = drawn_out(0, 10)
    silent = replace(evidence, spaces={**evidence.spaces, "residual": np.zeros((600, 3))})
    np.testing.assert_array_equal(GradientDirection().score(silent), np.full(600, 0.5))
    np.testing.assert_array_equal(GradientDirection().class_scores(silent), np.zeros(3))


@pytest.mark.parametrize("family", ["shifted", "tight"])
def test_turning_the_features_changes_nothing(family) -> None:  # type: ignore[no-untyped-def]
    """Cosines know no axes."""
    evidence, _ = planted(family, seed=0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    turned = replace(evidence, spaces={**evidence.spaces, "feature": evidence.space("feature") @ rotation})
    np.testing.assert_allclose(GradientDirection().score(turned), GradientDirection().score(evidence), atol=1e-9)
