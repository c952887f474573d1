"""Classifiers by name: each kind learns, is a pure function of its lesson, and takes the images that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sanitizer.classifiers import Learner, Lesson, learner, predict
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.errors import UsageError

CPU = torch.device("cpu")


def lesson(n: int = 60, side: int = 16, seed: int = 0) -> Lesson:
    """Noise in which the second class has a bright left half."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 120, (n, side, side, 3))
    pixels[labels == 1, :, : side // 2] += 120
    return Lesson(pixels.astype(np.uint8), labels, rng.integers(0, 2**63, n, dtype=np.uint64), 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network that has learned nothing."""
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = CifarResNet(blocks=1, width=8, classes=4)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return path


def made(name: str, given: Lesson, epochs: int | None = 4) -> Learner:
    """The learner for a lesson."""
    return learner(name, samples=len(given.labels), native_side=given.pixels.shape[1], epochs=epochs)


@pytest.mark.parametrize("kind", ["convnet:4", "frozen:", "tuned:"])
def test_every_kind_learns_what_is_easy(kind: str, checkpoint: Path) -> None:
    """And says so for images that it has not seen."""
    name = kind + str(checkpoint) if kind.endswith(":") else kind
    found = made(name, lesson(side=32))
    given, fresh = lesson(n=128, side=found.side), lesson(side=found.side, seed=1)
    counted: list[int] = []
    net = found.fit(given, seed=0, device=CPU, on_batch=counted.append)
    assert (predict(net, fresh.pixels, device=CPU) == fresh.labels).mean() > 0.8
    assert sum(counted) == found.work(128)


def test_the_same_lesson_and_seed_make_the_same_classifier() -> None:
    """And another seed another one; global random state is no part of it."""
    given = lesson()
    weights = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(global_seed)
        net = made("convnet:4", given, epochs=1).fit(given, seed=seed, device=CPU)
        weights.append(torch.cat([value.float().flatten() for value in net.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_frozen_network_stays_as_it_was_loaded(checkpoint: Path) -> None:
    """Only the head is fitted; tuning changes the rest as well."""
    given = lesson(side=32)
    nets = [
        made(f"{kind}:{checkpoint}", given, epochs=1).fit(given, seed=0, device=CPU) for kind in ("frozen", "tuned")
    ]
    loaded = CifarResNet(blocks=1, width=8, classes=4)
    from safetensors.torch import load_file

    loaded.load_state_dict(load_file(checkpoint))
    same = [torch.equal(net.get_submodule("body").state_dict()["conv1.weight"], loaded.conv1.weight) for net in nets]
    assert same == [True, False]


def test_a_frozen_network_cannot_be_trained_on_something_else(checkpoint: Path) -> None:
    """What changes the batches of a training has nothing to change there."""
    given = lesson(side=32)
    with pytest.raises(UsageError, match="use tuned:NETWORK"):
        made(f"frozen:{checkpoint}", given).fit(given, seed=0, device=CPU, perturb=lambda net, images, labels: images)


def test_pixels_and_numbers_from_0_to_1_are_scaled_alike() -> None:
    """What an attack crafts on is what a victim sees."""
    given = lesson()
    net = made("convnet:4", given, epochs=1).fit(given, seed=0, device=CPU)
    assert torch.allclose(net.normalise(given.images), net.standardise(given.images.float() / 255))


@pytest.mark.parametrize("name", ["nonesuch", "convnet:", "convnet:0", "convnet:x", "frozen:", "resnet50", ""])
def test_an_unknown_name_is_one_line(name: str) -> None:
    """It lists what there is."""
    if name == "convnet:":  # no width given: the usual one
        assert made(name, lesson()).side == 16
        return
    with pytest.raises(UsageError, match="expected the name of a classifier") as caught:
        made(name, lesson())
    assert "\n" not in str(caught.value)
