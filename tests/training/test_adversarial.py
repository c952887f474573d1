"""Adversarial poisoning training: the batch is poisoned within its ball, the model is left alone, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from toy_batches import CLASSES, MEAN, STD, images, labels, left_as_it_was, model, normalised, pixels_of
from toy_textures import textures

from sanitizer.attacks.crafting import craft
from sanitizer.attacks.matching import gradient, mean_gradient
from sanitizer.errors import UsageError
from sanitizer.nets import Classifier, Recipe, build_net, train
from sanitizer.training.adversarial import INNER, AdversarialPoisoning, Parts, matching, patches, stamped, usual
from sanitizer.training.augment import CutMix, soft_cross_entropy
from sanitizer.training.borrowed import borrowed

CPU = torch.device("cpu")
CRAFTED = ("matching", "collision", "hidden")
SCALE: dict[str, Any] = {"mean": MEAN, "std": STD}
ROUNDING = 1e-5
BALL = 8 + 255 * ROUNDING


def batch() -> tuple[Tensor, Tensor]:
    """Sixteen normalised images."""
    return normalised(images()), labels()


def how_far(before: Tensor, after: Tensor) -> Tensor:
    """The largest change of a pixel in each image, of 255."""
    return 255 * (pixels_of(after) - pixels_of(before)).abs().amax(dim=(1, 2, 3))


@pytest.mark.parametrize("inner", CRAFTED)
def test_the_batch_stays_in_its_ball_and_keeps_its_labels(inner: str) -> None:
    """As many images change as the share says; all pixels stay pixels; targets change only where they show a patch."""
    x, y = batch()
    before = x.clone(), y.clone()
    found, answers = AdversarialPoisoning(inner=inner, eps=8, share=0.5, **SCALE)(model(), x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(answers, before[1])
    assert found.shape == x.shape
    assert not found.requires_grad
    assert pixels_of(found).min() >= -ROUNDING
    assert pixels_of(found).max() <= 1 + ROUNDING
    moved = how_far(x, found)
    assert ((moved > 1) & (moved <= BALL)).sum() == 8
    assert (found == x).flatten(1).all(dim=1).sum() == (0 if inner == "hidden" else 8)
    assert ((moved == 0) if inner != "hidden" else (moved > BALL)).sum() == 8


def test_patches_tell_the_class_on_poisons_and_another_one_on_targets() -> None:
    """Everything outside the patch stays; one class alone has but its own patch to show."""
    pixels, kinds = torch.full((12, 3, 8, 8), 0.5), labels(12)
    parts = Parts(pixels[:6], kinds[:6], pixels[6:], kinds[6:])
    made, loss = patches(None, parts, np.random.default_rng(0))  # type: ignore[arg-type]  # it looks at no network
    assert loss is None

    def seen(image: Tensor) -> bytes:
        return image[image != 0.5].numpy().tobytes()

    own = {int(kind): seen(image) for image, kind in zip(made.poisons, kinds[:6], strict=True)}
    assert len(set(own.values())) == CLASSES
    assert all(seen(image) == own[int(kind)] for image, kind in zip(made.poisons, kinds[:6], strict=True))
    for image, kind in zip(made.targets, kinds[6:], strict=True):
        assert seen(image) in {patch for other, patch in own.items() if other != int(kind)}
    assert (made.poisons != 0.5).float().mean() <= 0.4**2 + 0.05
    alone = Parts(pixels[:2], torch.zeros(2, dtype=torch.int64), pixels[2:3], torch.zeros(1, dtype=torch.int64))
    made, _ = patches(None, alone, np.random.default_rng(0))  # type: ignore[arg-type]
    assert seen(made.targets[0]) == seen(made.poisons[0])


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(inner: str, training: bool) -> None:
    """With gradients that were accumulated, with parts in another mode than the whole, and without a graph around."""
    net, (x, y) = model().train(training), batch()
    net[1].eval()
    F.cross_entropy(net(x), y).backward()
    with left_as_it_was(net), torch.set_grad_enabled(training):
        AdversarialPoisoning(inner=inner, steps=2, **SCALE)(net, x, y)


def test_a_model_is_left_as_it_was_even_if_it_breaks() -> None:
    """An error in the middle of a step is not made worse."""
    net, (x, y) = model().train(), batch()
    with left_as_it_was(net), pytest.raises(IndexError):
        AdversarialPoisoning(**SCALE)(net, x, y + CLASSES)


@pytest.mark.parametrize("inner", INNER)
def test_the_same_seed_makes_the_same_batches(inner: str) -> None:
    """Another one after each, another one for another seed, and a resumed defence goes on where it was."""
    net, (x, y) = model(), batch()
    one, same, other = (AdversarialPoisoning(inner=inner, steps=1, seed=seed, **SCALE) for seed in (0, 0, 1))
    first, again = one(net, x, y)[0], same(net, x, y)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other(net, x, y)[0])
    other.load_state_dict(one.state_dict())
    second = one(net, x, y)[0]
    assert not torch.equal(second, first)
    assert torch.equal(second, other(net, x, y)[0])


@pytest.mark.parametrize("inner", CRAFTED)
def test_a_step_brings_the_inner_loss_down(inner: str) -> None:
    """One is enough to see it, and more bring it further."""
    defend, pixels = AdversarialPoisoning(inner=inner, step=1), images()
    with borrowed(model(seed=1), CPU) as net:
        parts, loss = INNER[inner](net, Parts(pixels[:12], labels()[:12], pixels[12:], labels()[12:]), defend.draws)
        assert loss
        rows = torch.arange(12)
        values = [float(loss(parts.poisons, rows).detach())]
        for steps in (1, 8):
            how = replace(defend.search(), steps=steps, start="zero")
            made, _ = craft(parts.poisons, lambda number, images: loss, how)
            values.append(float(loss(made, rows).detach()))
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("inner", INNER)
def test_the_training_step_after_it_learns_under_autocast(inner: str) -> None:
    """Weights that were rounded for crafting are not met again: every parameter that learns gets its gradient."""
    net, (x, y) = model().train(), batch()
    gradients = []
    for defend in (lambda net, x, y: (x, y), AdversarialPoisoning(inner=inner, steps=1, **SCALE)):
        net.zero_grad()
        net[6].eval()  # dropout draws
        with torch.autocast("cpu", torch.bfloat16):
            defend(net, x, y)
            loss = F.cross_entropy(net(x).float(), y)
        loss.backward()
        gradients.append([weight.grad for weight in net.parameters() if weight.requires_grad])
    for plain, after in zip(*gradients, strict=True):
        assert plain is not None
        assert after is not None
        assert torch.equal(plain, after)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_batch_keeps_its_type_and_its_place_in_memory(kind: torch.dtype) -> None:
    """Whatever the model is made of."""
    x, y = batch()
    x = x.to(kind).contiguous(memory_format=torch.channels_last)
    found, _ = AdversarialPoisoning(steps=1, **SCALE)(model().to(kind), x, y)
    assert found.dtype == kind
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert how_far(x.float(), found.float()).max() <= 16 + 4  # 16 bits are coarse


def test_mixed_labels_are_taken_too() -> None:
    """So CutMix may come before, as the paper has it."""
    net, (x, y) = model(), batch()
    for inner in INNER:
        mixed, shares = CutMix(classes=CLASSES)(x, y)
        found, answers = AdversarialPoisoning(inner=inner, steps=1, **SCALE)(net, mixed, shares)
        assert answers is shares
        assert not torch.equal(found, mixed)
        assert torch.isfinite(soft_cross_entropy(net(found), answers))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_small_batches_are_no_trouble(count: int) -> None:
    """The last of an epoch may be one image, which is left alone."""
    x, y = (part[:count] for part in batch())
    found, _ = AdversarialPoisoning(steps=1, **SCALE)(model(), x, y)
    assert len(found) == count
    assert torch.equal(found, x) == (count < 2)


class Attentive(nn.Module):
    """A model that looks at its patches by fast attention, says more than logits, and has a part that it never uses."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.unused = nn.Linear(3, 3)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Any:
        """Something with ``logits``."""
        tokens = self.embed(images).flatten(2).transpose(1, 2)[:, None]
        seen = F.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].mean(dim=1)
        return type("Output", (), {"logits": self.classifier(seen)})


@pytest.mark.parametrize("inner", CRAFTED)
def test_models_of_other_kinds_are_understood(inner: str) -> None:
    """Attention has to be differentiated twice, outputs may be wrapped, weights unused."""
    torch.manual_seed(0)
    net, (x, y) = Attentive(), batch()
    with left_as_it_was(net):
        found, _ = AdversarialPoisoning(inner=inner, steps=1, **SCALE)(net, x, y)
    assert not torch.equal(found, x)


def test_what_distributes_or_compiles_a_model_is_left_out() -> None:
    """Compiled code has no gradients of gradients; the batch is the same as without."""
    net, (x, y) = model(), batch()
    plain = AdversarialPoisoning(steps=1, **SCALE)(net, x, y)[0]
    for wrapped in (nn.DataParallel(net), torch.compile(net, backend="aot_eager")):
        assert torch.equal(AdversarialPoisoning(steps=1, **SCALE)(wrapped, x, y)[0], plain)


def test_training_in_many_processes_goes_on(tmp_path: Path) -> None:
    """Crafting takes no part in what they tell each other: the step after it is the step that it would have been."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        net, (x, y) = model(), batch()
        many, passes = nn.parallel.DistributedDataParallel(net), []
        many.register_forward_pre_hook(lambda part, given: passes.append(len(given[0])))
        for _ in range(2):
            found, answers = AdversarialPoisoning(steps=1, **SCALE)(many, x, y)
            F.cross_entropy(many(found), answers).backward()
        assert passes == [16, 16]
        assert all((weight.grad is not None) == weight.requires_grad for weight in net.parameters())
    finally:
        distributed.destroy_process_group()


def test_the_features_are_what_the_head_is_given() -> None:
    """The last linear layer that is used, or the part that is named."""
    net, x = model().eval(), normalised(images())
    with borrowed(net, CPU) as seen:
        assert torch.allclose(seen.features(x), net[:9](x), atol=0.02)
    with borrowed(net, CPU, head=net[7]) as seen:
        assert torch.allclose(seen.features(x), net[:7](x), atol=0.02)
    with (
        borrowed(nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten()), CPU) as seen,
        pytest.raises(UsageError, match="head"),
    ):
        seen.features(x)


@pytest.mark.parametrize(
    "settings",
    [{"inner": "evasion"}, {"eps": 0}, {"eps": 256}, {"steps": 0}, {"steps": 1.5}, {"step": 0}, {"share": 1}],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    """In one line that names them."""
    with pytest.raises(UsageError, match=rf"^{next(iter(settings))}: expected"):
        AdversarialPoisoning(**settings)


def test_batches_that_do_not_fit_the_settings_are_refused() -> None:
    """Above all those that were normalised otherwise: their balls would be of another size."""
    x, y = batch()
    with pytest.raises(UsageError, match="give the mean and std"):
        AdversarialPoisoning()(model(), x, y)
    with pytest.raises(UsageError, match="floating point"):
        AdversarialPoisoning()(model(), (x * 9).to(torch.uint8), y)
    with pytest.raises(UsageError, match="unfreeze"):
        AdversarialPoisoning(**SCALE)(model().requires_grad_(False), x, y)


def test_a_patch_is_put_on_whole() -> None:
    """Each on its own image, in a place of its own."""
    shown = [np.full((2, 3, 3), number, np.float32) for number in range(1, 9)]
    made = stamped(torch.zeros(8, 3, 8, 8), shown, np.random.default_rng(0))
    assert [int((image == number).sum()) for number, image in enumerate(made, start=1)] == [18] * 8
    assert len({tuple(torch.nonzero(image)[0].tolist()) for image in made}) > 3


@pytest.mark.gpu
@pytest.mark.parametrize("inner", INNER)
def test_a_gpu_keeps_the_same_rules(inner: str) -> None:
    """Batch, labels and model stay there, in the ball, as they were."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    net, (x, y) = model().to("cuda"), batch()
    there = x.to("cuda"), y.to("cuda")
    with left_as_it_was(net):
        found, answers = AdversarialPoisoning(inner=inner, eps=8, **SCALE)(net, *there)
    assert found.device == there[0].device
    assert torch.equal(answers, there[1])
    assert (how_far(x, found.cpu()) > 0).any()
    assert inner == "patch" or (how_far(x, found.cpu()) <= BALL).sum() >= 12


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_matching_gets_less_from_a_network_that_met_it(seed: int) -> None:
    """A step on poison against it brings the attacker less than half as far; clean images are told apart as before.

    Its direction is not always farther off in networks this small: the step is shorter, as the poison is learned.
    """
    plain, defended = (_taught(seed, defended=defended) for defended in (False, True))
    assert _accuracy(plain) > 0.9
    assert _accuracy(defended) > 0.9
    assert _gained(defended) < 0.5 * _gained(plain)


def _learned(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Textures in uint8, with coarse signs on top that tell the class."""
    kinds = np.arange(count) % CLASSES
    signs = np.random.default_rng(99).choice([-40, 40], (CLASSES, 2, 2, 3)).repeat(6, axis=1).repeat(6, axis=2)
    pixels = (textures(count, seed=seed, side=12).astype(int) - 128) // 2 + 128 + signs[kinds]
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous(), labels(count)


def _taught(seed: int, *, defended: bool) -> Classifier:
    pixels, kinds = _learned(144, 0)
    net = build_net(CLASSES, pixels, width=4, stem_stride=1, seed=seed)
    recipe = Recipe(epochs=6, batch_size=24, peak_rate=0.1, max_shift=0)
    perturb = AdversarialPoisoning(steps=3).perturb if defended else None
    train(net, pixels, kinds, np.arange(144).astype(np.uint64), recipe, device=CPU, perturb=perturb)
    return net


def _gained(net: Classifier) -> float:
    """By how much, to first order, a step on the poisons lowers the loss of images not learned under a wrong label."""
    pixels, kinds = _learned(96, 1)
    shown, weights = pixels.float() / 255, list(net.parameters())
    others = kinds[72:] != 0  # the usual label of the poisons is 0
    aims = shown[72:][others], kinds[72:][others]
    parts, loss = matching(net, Parts(shown[:72], kinds[:72], *aims), np.random.default_rng(0))
    made, _ = craft(parts.poisons, lambda number, images: loss, AdversarialPoisoning(steps=10).search())
    goal = mean_gradient(net, weights, parts.targets, usual(parts.labels))
    found = gradient(net, weights, made, parts.labels)
    return float(sum((f * g).sum() for f, g in zip(found, goal, strict=True)))


def _accuracy(net: Classifier) -> float:
    pixels, kinds = _learned(96, 1)
    with torch.no_grad():
        return float((net(net.normalise(pixels)).argmax(dim=1) == kinds).float().mean())
