"""Gradient matching: what a gradient is, how far two are apart, and how the family searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made import assert_refused_settings
from torch import Tensor, nn
from toys import picture

from sanitizer.attacks.crafted import Scene
from sanitizer.attacks.crafting import craft
from sanitizer.attacks.matching import GradientMatching, gradient, learnable, length, mean_gradient, mismatch
from sanitizer.attacks.witches_brew import WitchesBrew
from sanitizer.classifiers import Learner, Lesson, learner
from sanitizer.nets import Classifier, ConvNet

CPU = torch.device("cpu")


class Head(Learner):
    """A learner that trains nothing but a head."""

    side = 12

    def work(self, samples: int) -> int:
        """None."""
        return 0

    def _fit(self, lesson: Lesson, course: Any) -> Classifier:
        return ConvNet(lesson.classes, width=4).eval()


class Wanting(WitchesBrew):
    """Gradient matching with a target that needs no source of test images."""

    def wanted(self, scene: Scene) -> Tensor:
        """The first of the last class."""
        return scene.images(np.flatnonzero(scene.lesson.labels == 2)[:1])


def net(seed: int = 0) -> ConvNet:
    """Small, and not even trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ConvNet(3, width=4).to(memory_format=torch.channels_last).eval()


def scene(*, ensemble: int = 1, fitted: bool = False) -> Scene:
    """Sixty toys, ten of which are to be changed."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = np.stack([picture(int(kind), rng) for kind in labels])
    lesson = Lesson(pixels, labels, np.arange(60).astype(np.uint64) * np.uint64(2**40 + 1), 3)
    kind = learner("convnet:4", samples=60, native_side=12, epochs=15)
    nets = tuple(kind.fit(lesson, seed=s, device=CPU) if fitted else net(s) for s in range(ensemble))
    return Scene(lesson, np.flatnonzero(labels == 0)[:10], 0, (kind,), nets, CPU)


def value(attack: WitchesBrew, here: Scene, poisons: Tensor) -> float:
    """The loss of these poisons."""
    return float(attack.loss(here)(poisons, torch.arange(len(poisons))).detach())


def images(count: int = 7, *, seed: int = 0) -> Tensor:
    """Noise."""
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def test_the_same_direction_is_no_mismatch() -> None:
    """However long; the opposite one is 2, and parts count together."""
    here = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert float(mismatch(here, [part * 7 for part in here])) == pytest.approx(0, abs=1e-6)
    assert float(mismatch(here, [-part for part in here])) == pytest.approx(2)
    assert float(length(here)) == pytest.approx(5)
    assert torch.isfinite(mismatch(here, [part * 0 for part in here]))


def test_a_gradient_is_that_of_the_mean_loss() -> None:
    """As torch computes it, for every parameter."""
    model = net()
    parameters = list(model.parameters())
    logits = model(model.standardise(images()))
    wanted = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.full((7,), 1)), parameters)
    found = gradient(model, parameters, images(), 1)
    assert float(mismatch(found, wanted)) < 1e-3
    assert float(length(found)) == pytest.approx(float(length(wanted)), rel=0.02)


def test_many_images_are_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean does not depend on it."""
    model = net()
    whole = mean_gradient(model, list(model.parameters()), images(), 1)
    monkeypatch.setattr("sanitizer.attacks.matching._BATCH", 3)
    parts = mean_gradient(model, list(model.parameters()), images(), 1)
    assert float(mismatch(parts, whole)) < 1e-3
    assert float(length(parts)) == pytest.approx(float(length(whole)), rel=0.02)


def test_only_what_training_changes_is_matched() -> None:
    """All of a network, or its head where the rest is frozen."""
    mixed = scene(ensemble=2)
    mixed = replace(mixed, learners=(*mixed.learners, Head()))
    assert len(learnable(mixed, 0)) == len(list(mixed.surrogates[0].parameters()))
    assert {id(p) for p in learnable(mixed, 1)} == {id(p) for p in mixed.surrogates[1].head.parameters()}


def test_the_loss_is_the_mean_over_the_surrogates() -> None:
    """Each with a goal of its own."""
    whole, attack = scene(ensemble=2), Wanting()
    single = [value(attack, replace(whole, surrogates=(one,)), images()) for one in whole.surrogates]
    assert value(attack, whole, images()) == pytest.approx(sum(single) / 2, rel=1e-3)


def test_crafting_brings_the_gradients_together() -> None:
    """The poison ends nearer to the wanted direction than the images were."""
    here, attack = scene(fitted=True), Wanting(steps=25, restarts=1)
    before = value(attack, here, here.images(here.rows))
    after, lowest = craft(here.images(here.rows), attack.losses(here), attack.search_in(here))
    assert value(attack, here, after) < 0.7 * before
    assert lowest < 0.8 * before


def test_the_search_is_in_units_of_the_pixels_spread() -> None:
    """And moves images as the training of the surrogates does, unless that is not wanted."""
    here = scene()
    here.surrogates[0].std.fill_(0.3)
    how = Wanting(tau=0.2, batch=9).search_in(here)
    assert how.rate == pytest.approx(0.06)
    assert (how.batch, how.max_shift, how.flip) == (9, 1, False)
    assert Wanting(augment=False).search_in(here).max_shift == 0
    assert Wanting().search_in(replace(here, learners=(Head(),))).max_shift == 0


def test_retrained_surrogates_learn_from_the_poison_as_it_would_be_written() -> None:
    """From round one on; the data of the attack themselves do not change."""
    here, attack = scene(ensemble=2), Wanting(retrain=True, ensemble=2)
    before = here.lesson.pixels.copy()
    losses, seen = attack.losses(here), []
    kind = here.learners[0]
    fit = kind.fit

    def watched(lesson: Lesson, **settings: Any) -> Classifier:
        seen.append((lesson.pixels, settings["seed"]))
        return fit(lesson, **settings)

    kind.fit = watched
    losses(0, here.images(here.rows))
    assert not seen
    poison = images(10) * 1.0004
    losses(1, poison.clamp(0, 1))
    losses(2, poison.clamp(0, 1))
    assert len({seed for _, seed in seen}) == len(seen) == 4
    wanted = np.rint(poison.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255)
    assert np.array_equal(seen[0][0][here.rows], wanted)
    kept = np.setdiff1d(np.arange(60), here.rows)
    assert np.array_equal(seen[0][0][kept], before[kept])
    assert np.array_equal(here.lesson.pixels, before)


@pytest.mark.parametrize("settings", [{"tau": 0}, {"batch": 0}, {"augment": 1}, {"retrain": "yes"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once and in one line."""
    assert issubclass(WitchesBrew, GradientMatching)
    assert_refused_settings(WitchesBrew, settings)


@pytest.mark.gpu
def test_a_gpu_finds_about_the_same_gradient() -> None:
    """Rounding apart."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = net()
    here = gradient(model, list(model.parameters()), images(), 1)
    model.to("cuda")
    there = gradient(model, list(model.parameters()), images().to("cuda"), 1)
    assert float(mismatch([part.cpu() for part in there], here)) < 0.01
