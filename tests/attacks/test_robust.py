"""Robust surrogates: images are moved within their ball, and who met the worst is hard to mislead."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made import noise, png, source_of

from sanitizer.attacks.poisoned import readable
from sanitizer.attacks.robust import Ball, Surrogate, worst_case
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, Recipe, build_net, train
from sanitizer.progress import SILENT
from sanitizer.sources.base import open_source

CPU = torch.device("cpu")
EPS = 0.1


def stripes(n: int = 64, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Images between 0 and 1 whose brighter half names the class, by a margin that a network can overlook."""
    labels = torch.arange(n) % 2
    images = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0)) * 0.6
    images[labels == 0, :, :4] += 0.3
    images[labels == 1, :, 4:] += 0.3
    return images, labels


@functools.cache
def taught(*, robust: bool = False) -> Classifier:
    """A small network that knows which half is brighter."""
    images, labels = stripes()
    pixels = (images * 255).to(torch.uint8)
    net = build_net(2, pixels, width=4, stem_stride=1, seed=0)
    perturb = worst_case(EPS, 0) if robust else None
    recipe = Recipe(epochs=8, batch_size=16, peak_rate=0.1, max_shift=0)
    train(net, pixels, labels, np.arange(64).astype(np.uint64), recipe, device=CPU, perturb=perturb)
    return net


def loss_of(net: Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Cross-entropy."""
    with torch.no_grad():
        return float(F.cross_entropy(net(net.standardise(images)), labels))


@pytest.mark.parametrize("up", [True, False])
def test_steps_lead_up_or_down_the_loss_and_stay_in_the_ball(up: bool) -> None:
    """And pixels stay pixels, and the network is left as it was."""
    net, (images, labels) = taught(), stripes()
    before = {name: value.clone() for name, value in net.train().state_dict().items()}
    moved = Ball(eps=EPS, step=EPS / 3, steps=5, up=up).move(net, images, labels)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.eval()
    assert (loss_of(net, moved, labels) > loss_of(net, images, labels)) == up
    assert (moved - images).abs().max() <= EPS + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_a_start_is_brought_into_the_ball() -> None:
    """Even one far outside."""
    net, (images, labels) = taught(), stripes()
    moved = Ball(eps=EPS, step=0, steps=1).move(net, images, labels, torch.ones_like(images))
    assert torch.allclose(moved, (images + EPS).clamp(0, 1))


def test_all_images_are_moved_as_each_is() -> None:
    """In parts, whose results are kept in half precision."""
    net, (images, labels) = taught(), stripes()
    pixels, ball = (images * 255).to(torch.uint8).repeat(5, 1, 1, 1), Ball(eps=EPS, step=EPS / 2, steps=2)
    changes = ball.move_all(net, pixels, labels.repeat(5))
    assert changes.dtype == torch.float16
    assert changes.shape == pixels.shape
    assert (changes.float().abs().amax(dim=(1, 2, 3)) > 0.9 * EPS).all()
    assert len(ball.move_all(net, pixels[:0], labels[:0])) == 0


def test_adversarial_training_makes_robust() -> None:
    """What misleads a plain network does little to one that was trained on the worst case."""
    images, labels = stripes()
    ball = Ball(eps=EPS, step=EPS / 4, steps=8)
    plain, robust = (loss_of(net, ball.move(net, images, labels), labels) for net in (taught(), taught(robust=True)))
    assert robust < 0.5 * plain


def test_training_adversarially_twice_gives_the_same_network() -> None:
    """All that is drawn follows from the seed."""
    one, other = taught(robust=True).state_dict(), taught.__wrapped__(robust=True).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_surrogate_learns_from_no_more_samples_than_it_is_told(tmp_path: Path) -> None:
    """Which ones depends on the seed, not on paths; its weights take no gradients."""
    census = readable(source_of(tmp_path / "source"), SILENT)
    counts: list[int] = []

    def counting(net: Classifier, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        counts.append(len(images))
        return images

    kind = Surrogate(kind="convnet:4", epochs=2, samples=10, seed=0)
    net = kind.fit(census, Workshop(device="cpu"), counting)
    assert sum(counts) == 20
    assert not any(value.requires_grad for value in net.parameters())
    assert kind.side(census) == 32


def test_a_surrogate_needs_labels(tmp_path: Path) -> None:
    """One line says so."""
    for number, pixels in enumerate(noise(count=3)):
        (tmp_path / f"{number}.png").write_bytes(png(pixels))
    census = readable(open_source(str(tmp_path)), SILENT)
    with pytest.raises(UsageError, match=r"^expected labelled samples"):
        Surrogate(kind="convnet:4", epochs=1, seed=0).fit(census, Workshop(device="cpu"))
