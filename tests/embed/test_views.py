"""Views of a trained probe: they say what the network does, and looking changes nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sanitizer.embed import probe, views
from sanitizer.embed.views import LOOKS, RATES, Looking, _answers, _Dropping, _others, _strong_enough
from sanitizer.nets import Recipe, build_net, train

CPU = torch.device("cpu")
CLASSES, SIZE, SIDE, WIDTH = 3, 60, 8, 4
EVERYTHING = frozenset(space for look in LOOKS.values() for space in look.spaces)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 everywhere, so that numbers do not depend on what this CPU multiplies natively."""
    monkeypatch.setattr(views, "autocast", lambda device: contextlib.nullcontext())


@pytest.fixture(scope="module")
def looking() -> Looking:
    """A probe after two epochs on sixty small images."""
    rng = np.random.default_rng(0)
    labels = np.arange(SIZE) % CLASSES
    pixels = (rng.integers(0, 100, (SIZE, 3, SIDE, SIDE)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    images, keys = torch.from_numpy(pixels), rng.integers(0, 2**63, SIZE, dtype=np.uint64)
    net = build_net(CLASSES, images, width=WIDTH, stem_stride=1, seed=0)
    recipe = Recipe(epochs=2, batch_size=20, peak_rate=0.05, max_shift=1)
    train(net, images, torch.from_numpy(labels), keys, recipe, device=CPU)
    return Looking(net=net, images=images, keys=keys, seed=0, device=CPU)


def looked(looking: Looking, wanted: frozenset[str] = EVERYTHING) -> dict[str, np.ndarray]:
    """All spaces that are wanted."""
    asked = [look for look in LOOKS.values() if wanted & frozenset(look.spaces)]
    return {space: rows for look in asked for space, rows in look.views(looking, wanted).items()}


@pytest.fixture(scope="module")
def found(looking: Looking) -> Iterator[dict[str, np.ndarray]]:
    """Every space of the sixty images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "autocast", lambda device: contextlib.nullcontext())
        yield looked(looking)


def test_every_space_has_one_finite_row_a_sample(found: dict[str, np.ndarray]) -> None:
    """Shapes and types: two columns a layer, two a channel, the channels of the second stage, and single numbers."""
    layers, channels = 6, 21 * WIDTH
    expected: dict[str, tuple[int, Any]] = {
        "batchnorm": (2 * layers, np.float32), "channels": (2 * channels, np.float16),
        "feature@middle": (4 * WIDTH, np.float16), "dropout": (2, np.float32), "superposition": (1, np.float32),
    }  # fmt: skip
    assert {space: (rows.shape, rows.dtype) for space, rows in found.items()} == {
        space: ((SIZE, width), kind) for space, (width, kind) in expected.items()
    }
    assert all(np.isfinite(rows).all() for rows in found.values())


def inputs_of(net: nn.Module, images: Tensor) -> list[tuple[nn.BatchNorm2d, Tensor]]:
    """Every normalised layer with what it is given, stage by stage and without hooks."""
    met, rows = [], net.normalise(images)
    for block in net.stages:
        for layer in block if isinstance(block, nn.Sequential) else [block]:
            if isinstance(layer, nn.BatchNorm2d):
                met.append((layer, rows))
            rows = layer(rows).clone()
    return met


def test_likelihoods_and_statistics_are_those_of_the_layers(looking: Looking, found: dict[str, np.ndarray]) -> None:
    """The same numbers from the normal distribution itself, and from the rows as the layer normalises them."""
    with torch.no_grad():
        met = inputs_of(looking.net, looking.images)
        likelihoods, channels = [], []
        for layer, rows in met:
            centre, unit = (v.view(1, -1, 1, 1) for v in (layer.running_mean, (layer.running_var + layer.eps).sqrt()))
            log_probability = torch.distributions.Normal(centre, unit).log_prob(rows)
            likelihoods += [log_probability.amin(dim=(1, 2, 3)), log_probability.mean(dim=(1, 2, 3))]
            normalised = ((rows - centre) / unit).flatten(2)
            channels += [normalised.mean(dim=2), normalised.std(dim=2, correction=0)]
    np.testing.assert_allclose(found["batchnorm"], torch.stack(likelihoods, dim=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["channels"], torch.cat(channels, dim=1), rtol=2e-3, atol=1e-3)


def test_the_middle_is_what_the_second_stage_gives(looking: Looking, found: dict[str, np.ndarray]) -> None:
    """Its strongest activation of each channel."""
    with torch.no_grad():
        expected = looking.net.stages[:5](looking.net.normalise(looking.images)).amax(dim=(2, 3))
    np.testing.assert_allclose(found["feature@middle"], expected, rtol=2e-3, atol=1e-3)


def test_looking_leaves_the_network_as_it_was(looking: Looking) -> None:
    """Its features, weights, mode and hooks; and the global generator is nobody's to use."""
    before, state = copy.deepcopy(looking.net.state_dict()), torch.get_rng_state()
    features = probe.embed(looking.net, looking.images, np.zeros(SIZE, np.int64), device=CPU)[0]
    looked(looking)
    after = probe.embed(looking.net, looking.images, np.zeros(SIZE, np.int64), device=CPU)[0]
    np.testing.assert_array_equal(after, features)
    assert all(torch.equal(value, before[name]) for name, value in looking.net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in looking.net.modules())
    assert not looking.net.training
    assert torch.equal(torch.get_rng_state(), state)


def test_neither_order_nor_batches_matter(looking: Looking, found: dict[str, np.ndarray]) -> None:
    """Whatever is drawn for a sample is drawn from its key: its row is the same in any company."""
    order = np.random.default_rng(1).permutation(SIZE)
    shuffled = replace(looking, images=looking.images[order], keys=looking.keys[order], batch=7)
    for space, rows in looked(shuffled).items():
        np.testing.assert_allclose(rows, found[space][order], rtol=5e-3, atol=2e-3, err_msg=space)


def test_only_what_is_wanted_is_computed(looking: Looking) -> None:
    """Space by space; and every pass is counted, sample by sample."""
    for space in EVERYTHING:
        counted: list[int] = []
        (look,) = [look for look in LOOKS.values() if space in look.spaces]
        given = look.views(replace(looking, batch=25, on_batch=counted.append), frozenset({space}))
        assert given.keys() == {space}
        assert sum(counted) == look.passes * SIZE


def test_a_channel_that_never_varied_leaves_finite_numbers(looking: Looking) -> None:
    """However far out a sample then is, half precision holds it."""
    net = copy.deepcopy(looking.net)
    net.stages[0][1].running_var.zero_()
    net.stages[0][1].running_mean.fill_(1e4)
    given = looked(replace(looking, net=net), frozenset({"channels", "batchnorm"}))
    assert all(np.isfinite(rows).all() for rows in given.values())


# Dropout


def test_the_answer_without_dropout_is_the_networks(looking: Looking, found: dict[str, np.ndarray]) -> None:
    """The first column is the largest probability; the second is a probability."""
    with torch.no_grad():
        expected = looking.net(looking.net.normalise(looking.images)).softmax(dim=1).amax(dim=1)
    np.testing.assert_allclose(found["dropout"][:, 0], expected, atol=1e-5)
    assert found["dropout"].min() >= 0
    assert found["dropout"].max() <= 1 + 1e-6


def test_copies_of_a_sample_survive_dropout_alike_and_other_keys_do_not(looking: Looking) -> None:
    """The masks are the sample's own."""
    images = looking.images[:1].expand(SIZE, -1, -1, -1)
    copies = replace(looking, images=images, keys=np.full(SIZE, looking.keys[0]))
    kept = looked(copies, frozenset({"dropout"}))["dropout"][:, 1]
    np.testing.assert_allclose(kept, kept[0], rtol=1e-5)
    assert np.ptp(looked(replace(looking, images=images), frozenset({"dropout"}))["dropout"][:, 1]) > 1e-3


@pytest.mark.parametrize("rate", [RATES[0], 0.5, RATES[-1]])
def test_dropout_removes_its_share_and_keeps_the_mean(looking: Looking, rate: float) -> None:
    """Of a constant activation."""
    dropping = _Dropping(looking, rate, stream=0)
    left = dropping._drop(0, torch.arange(64), torch.ones(64, 8, 16, 16))
    assert left.count_nonzero() / left.numel() == pytest.approx(1 - rate, abs=0.01)
    assert left.mean() == pytest.approx(1, abs=0.05)


def test_a_larger_rate_drops_all_that_a_smaller_one_does(looking: Looking) -> None:
    """So that rates which are tried one after another differ in nothing but the rate."""
    banks = [_Dropping(looking, rate, stream=0)._bank(0, (4, 5, 6)) for rate in RATES]
    assert all(bool((fewer <= more).all()) for more, fewer in pairwise(banks))


@pytest.mark.parametrize(("share", "expected"), [(0.0, RATES[0]), (1.1, RATES[-1])])
def test_the_rate_is_the_smallest_that_shifts_enough(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, share: float, expected: float
) -> None:
    """The first if nothing has to change, the last if nothing is enough."""
    monkeypatch.setattr(views, "SHIFTED", share)
    with torch.inference_mode():
        answers, _ = _answers(looking, lambda part: views._plainly(looking, part))
        assert _strong_enough(looking, answers) == expected


# Superposition


def test_doubt_is_at_most_that_of_guessing(found: dict[str, np.ndarray]) -> None:
    """An entropy, in nats."""
    assert found["superposition"].min() >= 0
    assert found["superposition"].max() <= np.log(CLASSES) + 1e-6


def test_a_network_that_answers_always_the_same_is_never_in_doubt(looking: Looking) -> None:
    """Whatever is laid over."""
    net = copy.deepcopy(looking.net)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor([0.0, 50, 0]))
    given = looked(replace(looking, net=net), frozenset({"superposition", "dropout"}))
    np.testing.assert_allclose(given["superposition"], 0, atol=1e-6)
    np.testing.assert_allclose(given["dropout"], 1, atol=1e-6)


@given(st.lists(st.integers(0, 2**63), min_size=1, max_size=40), st.integers(0, 5))
def test_nobody_is_laid_over_himself(keys: list[int], stream: int) -> None:
    """Each is blended with some other one, as long as there is another."""
    others = _others(np.array(keys, np.uint64), 0, stream)
    assert ((others >= 0) & (others < len(keys))).all()
    assert len(keys) == 1 or (others != np.arange(len(keys))).all()
