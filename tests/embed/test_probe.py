"""The probe: its plan follows from the data, its residuals and factors are the last layer's gradient."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sanitizer.embed import probe
from sanitizer.embed.probe import (
    BUDGETS,
    Embedding,
    ProbePlan,
    embed,
    plan_probe,
    train_probe,
    trained_again,
    weights_digest,
)
from sanitizer.nets import Recipe, build_net

CPU = torch.device("cpu")
CLASSES = 3


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 everywhere, so that numbers do not depend on what this CPU multiplies natively."""
    monkeypatch.setattr(probe, "autocast", lambda device: contextlib.nullcontext())


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thirty small images in three classes, with keys."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % CLASSES
    pixels = (rng.integers(0, 100, (30, 8, 8, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    return pixels, labels, rng.integers(0, 2**63, 30, dtype=np.uint64)


def small_plan(seed: int = 0) -> ProbePlan:
    """Two quick epochs."""
    recipe = Recipe(epochs=2, batch_size=10, peak_rate=0.05, max_shift=1, seed=seed)
    return ProbePlan(side=8, width=4, stem_stride=1, recipe=recipe)


def embedded(data: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int = 0) -> Embedding:
    """What the small plan reads off the data."""
    return train_probe(*data, CLASSES, small_plan(seed), device=CPU)


def untrained(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[torch.nn.Module, torch.Tensor]:
    """A fresh network, and the images as it wants them."""
    images = torch.from_numpy(data[0]).permute(0, 3, 1, 2)
    return build_net(CLASSES, images, width=4, stem_stride=1, seed=0).eval(), images


def test_an_embedding_has_one_row_a_sample(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Shapes, types, finite numbers, and who computed them."""
    found = embedded(data)
    assert (found.feature.shape, found.feature.dtype) == ((30, 32), np.float16)
    assert (found.residual.shape, found.residual.dtype) == ((30, CLASSES), np.float32)
    assert (found.loss.shape, found.loss.dtype) == ((30, 2), np.float32)
    assert all(np.isfinite(space).all() for space in (found.feature, found.residual, found.loss))
    assert found.model["kind"] == "probe"
    assert found.model["side"] == 8


def test_the_same_data_and_seed_give_the_same_embedding(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Bit for bit, digest included; another seed gives another network."""
    one, again, other = embedded(data), embedded(data), embedded(data, seed=1)
    np.testing.assert_array_equal(one.feature, again.feature)
    np.testing.assert_array_equal(one.residual, again.residual)
    assert one.model == again.model
    assert one.model["digest"] != other.model["digest"]


def test_a_probe_comes_back_from_its_weights(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """It is the same network and sees the same, and nobody's random numbers are used for it."""
    found, state = embedded(data), torch.get_rng_state()
    net = trained_again(found.weights, CLASSES, small_plan(), CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert not net.training
    assert weights_digest(net) == found.model["digest"]
    feature, residual = embed(net, torch.from_numpy(data[0]).permute(0, 3, 1, 2), data[1], device=CPU)
    np.testing.assert_array_equal(feature, found.feature)
    np.testing.assert_array_equal(residual, found.residual)


def test_residual_is_softmax_minus_onehot(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Rows sum to zero; adding the label back gives the probabilities that the network itself says."""
    net, images = untrained(data)
    _, residual = embed(net, images, data[1], device=CPU)
    np.testing.assert_allclose(residual.sum(axis=1), 0, atol=1e-6)
    with torch.inference_mode():
        probabilities = net(net.normalise(images)).softmax(dim=1).numpy()
    np.testing.assert_allclose(residual + np.eye(CLASSES)[data[1]], probabilities, atol=1e-5)


def test_the_factors_are_the_gradient_of_the_last_layer(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Residual (x) feature is what autograd says of the cross-entropy with respect to the head, sample by sample."""
    net, images = untrained(data)
    feature, residual = embed(net, images, data[1], device=CPU)
    for row in range(5):
        net.zero_grad()
        logits = net(net.normalise(images[row : row + 1]))
        torch.nn.functional.cross_entropy(logits, torch.tensor(data[1][row : row + 1])).backward()
        outer = residual[row][:, None] * feature[row].astype(np.float32)
        np.testing.assert_allclose(outer, net.head.weight.grad.numpy(), rtol=2e-3, atol=1e-4)  # features are fp16
        np.testing.assert_allclose(residual[row], net.head.bias.grad.numpy(), atol=1e-5)


def test_batches_of_the_forward_pass_change_nothing(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Embedding seven at a time is embedding all at once, and every sample is counted."""
    net, images = untrained(data)
    seen: list[int] = []
    whole = embed(net, images, data[1], device=CPU)
    parts = embed(net, images, data[1], device=CPU, batch=7, on_batch=seen.append)
    np.testing.assert_allclose(parts[0].astype(float), whole[0].astype(float), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-5)
    assert seen == [7, 7, 7, 7, 2]


def test_the_digest_of_a_network_is_that_of_its_weights(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """One changed weight is another network."""
    net, _ = untrained(data)
    before = weights_digest(net)
    assert before == weights_digest(untrained(data)[0])
    with torch.no_grad():
        net.head.bias[0] += 1e-3
    assert weights_digest(net) != before


SIZES = st.integers(20, 2_000_000)
SIDES = st.integers(1, 5000)
NAMES = st.sampled_from(sorted(BUDGETS))


@given(SIZES, SIDES, NAMES)
def test_a_plan_keeps_its_bounds(n: int, side: int, budget: str) -> None:
    """Side, epochs and batch stay within the budget, and images are never enlarged."""
    plan = plan_probe(n, side, budget=budget, seed=3)
    cap, least_epochs, least_steps = BUDGETS[budget]
    assert plan.side == min(side, cap)
    assert least_epochs <= plan.recipe.epochs <= max(40, least_epochs)
    assert 16 <= plan.recipe.batch_size <= 256
    assert plan.recipe.batch_size <= n
    assert plan.recipe.max_shift >= 1
    assert plan.recipe.seed == 3
    steps = plan.recipe.epochs * math.ceil(n / plan.recipe.batch_size)
    assert steps >= least_steps or plan.recipe.epochs == 40


@given(SIZES, SIZES, SIDES, NAMES)
@example(7_999, 8_000, 32, "standard")
def test_more_data_never_means_more_epochs(one: int, other: int, side: int, budget: str) -> None:
    """A larger set is trained on for as many epochs or fewer."""
    few, many = (plan_probe(n, side, budget=budget, seed=0).recipe.epochs for n in sorted((one, other)))
    assert many <= few


@given(SIZES, SIZES, SIDES, NAMES)
def test_more_data_never_means_smaller_batches(one: int, other: int, side: int, budget: str) -> None:
    """Batches, and with them the learning rate, grow with the set."""
    few, many = (plan_probe(n, side, budget=budget, seed=0).recipe for n in sorted((one, other)))
    assert few.batch_size <= many.batch_size
    assert few.peak_rate <= many.peak_rate


@given(SIZES, SIDES)
def test_a_larger_budget_never_sees_less(n: int, side: int) -> None:
    """Fast, standard, thorough: sides and epochs only grow."""
    plans = [plan_probe(n, side, budget=budget, seed=0) for budget in ("fast", "standard", "thorough")]
    sides, epochs = [plan.side for plan in plans], [plan.recipe.epochs for plan in plans]
    assert sides == sorted(sides)
    assert epochs == sorted(epochs)
