"""Clipped and noisy gradients: by sample, which Opacus does, and by batch, which promises nothing."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy_batches import CLASSES, images, labels, left_as_it_was, model

from sanitizer.errors import MissingDependency, UsageError
from sanitizer.training.private import BatchGradientNoise, make_private


def learned_from() -> nn.Sequential:
    """A model after one backward pass."""
    net = model()
    F.cross_entropy(net.eval()(images()), labels()).backward()
    return net


def gradients(net: nn.Module) -> torch.Tensor:
    """All of them in one row."""
    return torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None])


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_a_long_gradient_is_shortened_and_a_short_one_is_not(clip: float) -> None:
    """Its direction stays; how long it was is told."""
    net = learned_from()
    before = gradients(net)
    length = BatchGradientNoise(clip=clip, noise=0)(net.parameters())
    assert float(length) == pytest.approx(float(before.norm()), rel=1e-4)
    assert torch.allclose(gradients(net), before * min(1, clip / float(length)), rtol=1e-3, atol=1e-8)


def test_the_noise_is_as_large_as_it_is_told() -> None:
    """In units of the clip, without a mean, on every weight that learns and on no other."""
    net, clean = learned_from(), learned_from()
    BatchGradientNoise(clip=0.5, noise=3)(net.parameters())
    BatchGradientNoise(clip=0.5, noise=0)(clean.parameters())
    noise = gradients(net) - gradients(clean)
    assert float(noise.std()) == pytest.approx(1.5, rel=0.1)
    assert abs(float(noise.mean())) < 0.2
    assert net[0].bias.grad is None


def test_the_seed_decides_what_is_added() -> None:
    """The next batch gets other noise, global draws are left alone."""
    draws = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        add, net, again = BatchGradientNoise(seed=seed), learned_from(), learned_from()
        state = torch.get_rng_state()
        add(net.parameters())
        add(again.parameters())
        assert torch.equal(torch.get_rng_state(), state)
        draws[name] = gradients(net), gradients(again)
    assert torch.equal(draws["one"][0], draws["same"][0])
    assert not torch.equal(draws["one"][0], draws["one"][1])
    assert not torch.equal(draws["one"][0], draws["other"][0])


def test_a_model_without_gradients_is_left_alone() -> None:
    """Nothing is made up."""
    net = model()
    with left_as_it_was(net):
        assert BatchGradientNoise()(net.parameters()) == 0


@pytest.mark.parametrize("settings", [{"clip": 0.0}, {"noise": -1.0}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, float]) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=r"^expected a clip above 0"):
        BatchGradientNoise(**settings)


def test_without_opacus_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing has happened yet."""
    monkeypatch.setitem(sys.modules, "opacus", None)
    net = model()
    with pytest.raises(MissingDependency, match=r"pip install 'dataset-sanitizer\[dp\]'$"):
        make_private(net, torch.optim.SGD(net.parameters(), lr=0.1), DataLoader(TensorDataset(images())))


@pytest.mark.filterwarnings("ignore")  # of other people's libraries
def test_opacus_bounds_what_a_sample_can_do() -> None:
    """Without noise, a step is no longer than the clip times the learning rate; the privacy spent is finite."""
    pytest.importorskip("opacus", reason="the extra 'dp' is not installed")
    torch.manual_seed(0)  # batches are drawn by Opacus
    loader = DataLoader(TensorDataset(images(), labels()), batch_size=4)
    for noise, bound in ((0.0, 0.01), (1.0, float("inf"))):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
        made = make_private(net, torch.optim.SGD(net.parameters(), lr=1), loader, noise=noise, clip=0.01, seed=0)
        for x, y in made.loader:
            before = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
            made.optimiser.zero_grad()
            F.cross_entropy(made.model(x), y).backward()
            made.optimiser.step()
            moved = float((nn.utils.parameters_to_vector(net.parameters()) - before).norm())
            assert moved <= bound * len(x) / 4 * 1.01  # the mean is over the expected size of a batch
        assert noise == 0 or 0 < made.epsilon(1e-3) < 1000
