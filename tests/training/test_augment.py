"""Strong augmentation: labels say what is to be seen, and nothing is drawn but from the seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toy_batches import CLASSES, MEAN, STD, images, labels, normalised

from sanitizer.errors import UsageError
from sanitizer.sources.decode import LIMITS, decode
from sanitizer.sources.encode import encode
from sanitizer.training.augment import BatchTransform, CutMix, Cutout, Jpeg, Mixup, soft, soft_cross_entropy

ALL: list[BatchTransform] = [
    CutMix(classes=CLASSES), Mixup(classes=CLASSES), Cutout(), Jpeg(mean=MEAN, std=STD)
]  # fmt: skip


def plain(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Images of one colour each, by which the class can be read off every pixel."""
    kinds = torch.arange(count)
    return kinds.float().view(-1, 1, 1, 1).expand(count, 3, height, width).clone(), kinds


def fresh(transform: BatchTransform, *, seed: int = 0) -> BatchTransform:
    """The same that has not drawn yet."""
    return replace(transform, seed=seed)


@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 6), height=st.integers(1, 9), width=st.integers(1, 9),
    alpha=st.sampled_from([0.2, 1.0, 5.0]),
)  # fmt: skip
def test_cutmix_labels_are_shares_of_pixels(seed: int, count: int, height: int, width: int, alpha: float) -> None:
    """Exactly, wherever the box lies and however much of it sticks out."""
    x, y = plain(count, height, width)
    mixed, shares = CutMix(classes=count, alpha=alpha, seed=seed)(x, y)
    for image, share in zip(mixed, shares, strict=True):
        seen = torch.stack([(image[0] == kind).float().mean() for kind in range(count)])
        assert torch.allclose(seen, share, atol=1e-6)


def test_cutmix_moves_one_box() -> None:
    """In one place for the whole batch, and of all sizes over many batches."""
    x, y = plain(8, 16, 16)
    transform, sizes = CutMix(classes=8), []
    for _ in range(30):
        mixed, _ = transform(x, y)
        changed = (mixed != x).any(dim=1)
        boxes = {tuple(torch.nonzero(one).T.aminmax(dim=1)[0].tolist()) for one in changed if one.any()}
        assert len(boxes) <= 1
        sizes += [float(one.float().mean()) for one in changed if one.any()]
    assert min(sizes) < 0.1
    assert max(sizes) > 0.6


def test_mixup_labels_are_weights() -> None:
    """Every pixel is the mean of the classes under its label."""
    x, y = plain(6, 3, 3)
    mixed, shares = Mixup(classes=6)(x, y)
    assert torch.allclose(mixed[:, 0, 0, 0], shares @ torch.arange(6.0), atol=1e-5)
    assert torch.allclose(shares.sum(dim=1), torch.ones(6))


def test_one_mixing_may_follow_another() -> None:
    """Labels that are shares already are mixed like others."""
    x, y = plain(6, 4, 4)
    mixed, shares = Mixup(classes=6, seed=1)(*CutMix(classes=6)(x, y))
    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), shares @ torch.arange(6.0), atol=1e-5)


def test_cutout_blanks_a_square_and_nothing_else() -> None:
    """At a place of its own in every image; at the edge less is left of it."""
    x, y = torch.ones(40, 3, 8, 12), labels(40)
    cut, same = Cutout(side=0.5, fill=-1)(x, y)
    assert same is y
    places = set()
    for image in cut:
        gone = torch.nonzero((image == -1).all(dim=0))
        low, high = gone.aminmax(dim=0)
        size = high - low + 1
        assert len(gone) == size.prod()
        assert 1 <= int(size[0]) <= 4
        assert 1 <= int(size[1]) <= 6
        assert ((image == 1) | (image == -1)).all()
        places.add(tuple(low.tolist()))
    assert len(places) > 10


@pytest.mark.parametrize("quality", [10, 75, 100])
def test_jpeg_is_that_of_purify(quality: int) -> None:
    """To the byte: what a normalised batch becomes is what its images would be after a purified copy was read."""
    pixels = (images() * 255).round().to(torch.uint8)
    seen, same = Jpeg(quality=quality, mean=MEAN, std=STD)(normalised(pixels.float() / 255), y := labels())
    assert same is y
    purified = [decode(encode(one, "JPEG", quality), LIMITS) for one in pixels.permute(0, 2, 3, 1).numpy()]
    wanted = normalised(torch.from_numpy(np.stack(purified)).permute(0, 3, 1, 2).float() / 255)
    assert torch.allclose(seen, wanted, atol=1e-5)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_given_batch_stays_and_the_seed_decides(transform: BatchTransform) -> None:
    """Same seed, same batches, in the given type; the second differs from the first unless nothing is drawn."""
    x, y = normalised(images()), labels()
    before, state = (x.clone(), y.clone()), torch.get_rng_state()
    one, same, other = (fresh(transform, seed=seed) for seed in (0, 0, 1))
    first, shares = one(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip((first, shares), same(x, y), strict=True))
    assert first.shape == x.shape
    assert one(x.bfloat16(), y)[0].dtype == torch.bfloat16
    fixed = isinstance(transform, Jpeg)
    assert torch.equal(same(x, y)[0], first) == fixed
    assert torch.equal(other(x, y)[0], first) == fixed


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_an_empty_batch_stays_empty(transform: BatchTransform) -> None:
    """Some loaders have one."""
    found, shares = fresh(transform)(normalised(images())[:0], labels()[:0])
    assert len(found) == len(shares) == 0


def test_soft_labels_are_compared_as_their_formula_says() -> None:
    """- sum p log q, which for shares of one class is what hard labels give, in full precision."""
    logits, kinds = torch.randn(9, CLASSES, generator=torch.Generator().manual_seed(0)), labels(9)
    _, shares = Mixup(classes=CLASSES)(images(9), kinds)
    wanted = -(shares * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(soft_cross_entropy(logits, shares), wanted)
    assert torch.allclose(soft_cross_entropy(logits, kinds), soft_cross_entropy(logits, soft(kinds, CLASSES)))
    assert soft_cross_entropy(logits.bfloat16(), shares.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (CutMix, {"classes": 0}), (Mixup, {"classes": 2, "alpha": 0}), (Cutout, {"side": 0}), (Cutout, {"side": 2}),
        (Jpeg, {"quality": 0}), (Jpeg, {"quality": 101}),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(kind: Any, settings: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(UsageError, match="expected"):
        kind(**settings)


def test_jpeg_wants_colours() -> None:
    """One line says so."""
    with pytest.raises(UsageError, match="three colours"):
        Jpeg()(torch.rand(1, 1, 8, 8), labels(1))
