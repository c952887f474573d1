"""Training: a pure function of pixels, labels, keys and recipe, for any size of image and set."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.nets import Checkpoint, Recipe, Training, _augment, _even_batches, build_net, content_noise, train

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=16, peak_rate=0.05, max_shift=1, flip=True)


def toy(n: int, *, side: int = 8, classes: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Noise in which each class is brighter than the one before: pixels, labels, keys."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.integers(0, 80, (n, 3, side, side)) + (labels * 150 // max(1, classes - 1))[:, None, None, None]
    keys = rng.integers(0, 2**63, n, dtype=np.uint64)
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels), keys


def trained(
    pixels: torch.Tensor, labels: torch.Tensor, keys: np.ndarray, recipe: Recipe = RECIPE, *, classes: int = 2
) -> Training:
    """A small fresh network, trained."""
    net = build_net(classes, pixels, width=4, stem_stride=1, seed=recipe.seed)
    return train(net, pixels, labels, keys, recipe, device=CPU)


def weights(training: Training) -> np.ndarray:
    """All parameters and statistics in one row."""
    return np.concatenate([value.numpy().ravel() for value in training.net.state_dict().values()])


def same(one: Training, other: Training) -> bool:
    """Whether two runs ended bit for bit alike."""
    return bool(np.array_equal(one.losses, other.losses) and np.array_equal(weights(one), weights(other)))


def test_global_seeds_change_nothing() -> None:
    """Weights and losses are the same whatever the state of the global generators, which is left as it was."""
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.random.get_rng_state()
        runs.append(trained(*toy(40)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert same(*runs)


@pytest.mark.parametrize("epochs", range(1, 9))
def test_the_shortest_runs_train(epochs: int) -> None:
    """One batch an epoch: the schedule has room for as little as one step."""
    assert np.isfinite(weights(trained(*toy(8), replace(RECIPE, epochs=epochs)))).all()


def test_the_recipe_seed_and_the_keys_change_the_run() -> None:
    """Another seed, or other content keys, is another run."""
    pixels, labels, keys = toy(40)
    first = trained(pixels, labels, keys)
    assert not same(first, trained(pixels, labels, keys, replace(RECIPE, seed=1)))
    assert not same(first, trained(pixels, labels, keys[::-1].copy()))


def test_listing_order_enters_only_through_float_noise() -> None:
    """Batches and augmentation follow the keys, so the samples of a shuffled set meet the same losses."""
    pixels, labels, keys = toy(40)
    order = np.random.default_rng(3).permutation(40)
    first = trained(pixels, labels, keys)
    second = trained(pixels[order], labels[order], keys[order])
    np.testing.assert_allclose(second.losses, first.losses[order], rtol=1e-3, atol=1e-4)


def test_noise_is_what_it_always_was() -> None:
    """Golden values: an unnoticed change of the generator would change every verdict."""
    keys = np.array([0, 1, 2**64 - 1], dtype=np.uint64)
    assert content_noise(keys, 0, 0).tolist() == [16294208416658607535, 10451216379200822465, 16490336266968443936]
    assert content_noise(keys, 7, 3).tolist() == [2003541140403828369, 10515984836561728492, 1921764437728938465]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30), st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_noise_depends_on_nothing_but_key_seed_and_stream(keys: list[int], seed: int, stream: int) -> None:
    """Each key gets its own number alone as in company, and other seeds and streams give other numbers."""
    together = content_noise(np.array(keys, dtype=np.uint64), seed, stream)
    alone = [content_noise(np.array([key], dtype=np.uint64), seed, stream)[0] for key in keys]
    assert together.tolist() == alone
    for other in (
        content_noise(np.array(keys, np.uint64), seed + 1, stream),
        content_noise(np.array(keys, np.uint64), seed, stream + 1),
    ):
        assert (together != other).all()


@pytest.mark.parametrize("keys", [np.arange(20_000), np.arange(20_000) << 40], ids=["low bits", "high bits"])
def test_noise_is_uniform_even_where_keys_are_not(keys: np.ndarray) -> None:
    """Consecutive keys fill 20 equal bins evenly, and neighbouring streams are unrelated."""
    one, other = (content_noise(keys.astype(np.uint64), 0, stream) / 2.0**64 for stream in (0, 1))
    counts, _ = np.histogram(one, bins=20, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared with 19 degrees of freedom: p > 0.0007
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


@given(st.integers(2, 3000), st.integers(3, 300))
def test_no_batch_holds_a_single_row(n: int, batch: int) -> None:
    """Batches are nearly equal, none exceeds its size, each row comes once."""
    parts = [part.tolist() for part in _even_batches(torch.arange(n), min(batch, n))]
    sizes = [len(part) for part in parts]
    assert list(itertools.chain(*parts)) == list(range(n))
    assert 2 <= min(sizes) <= max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("n", "side", "classes"), [(20, 8, 2), (12, 32, 2), (8, 64, 2), (220, 8, 200), (12, 1, 2), (6, 7, 3)]
)
def test_any_image_size_and_number_of_classes(n: int, side: int, classes: int) -> None:
    """One loss a sample and epoch, finite; the network answers with one logit a class."""
    pixels, labels, keys = toy(n, side=side, classes=classes)
    training = trained(pixels, labels, keys, classes=classes)
    assert training.losses.shape == (n, RECIPE.epochs)
    assert training.losses.dtype == np.float32
    assert np.isfinite(training.losses).all()
    assert (training.losses > 0).all()
    with torch.inference_mode():
        images = training.net.normalise(pixels)
        assert training.net(images).shape == (n, classes)
        assert training.net.features(images).shape == (n, 8 * 4)


def test_a_stem_with_a_stride_sees_large_images() -> None:
    """As the probe has it from 64 pixels on."""
    pixels, labels, keys = toy(8, side=64)
    net = build_net(2, pixels, width=4, stem_stride=2, seed=0)
    assert np.isfinite(train(net, pixels, labels, keys, RECIPE, device=CPU).losses).all()


def test_a_batch_larger_than_the_set_is_the_set() -> None:
    """Asking for more rows than there are is the same as asking for all of them."""
    data = toy(10)
    assert same(trained(*data, replace(RECIPE, batch_size=1000)), trained(*data, replace(RECIPE, batch_size=10)))


def test_progress_counts_every_sample_of_every_epoch() -> None:
    """What is announced to whoever watches adds up."""
    pixels, labels, keys = toy(37)
    seen: list[int] = []
    net = build_net(2, pixels, width=4, stem_stride=1, seed=0)
    train(net, pixels, labels, keys, RECIPE, device=CPU, on_batch=seen.append)
    assert sum(seen) == 37 * RECIPE.epochs


def test_what_can_be_learned_is_learned() -> None:
    """The loss falls far below guessing, and the network names the classes."""
    pixels, labels, keys = toy(60, classes=3)
    training = trained(pixels, labels, keys, replace(RECIPE, epochs=12, flip=False), classes=3)
    assert training.losses[:, -1].mean() < 0.3 < training.losses[:, 0].mean()
    assert not training.net.training
    with torch.inference_mode():
        assert (training.net(training.net.normalise(pixels)).argmax(1) == labels).float().mean() > 0.95


def test_a_constant_set_is_no_division_by_zero() -> None:
    """Pixels without any spread still normalise to finite numbers."""
    pixels, labels, keys = toy(10)
    assert np.isfinite(trained(torch.full_like(pixels, 7), labels, keys).losses).all()


@given(st.integers(0, 2**32), st.integers(0, 3), st.booleans())
def test_shifts_stay_inside(draw: int, max_shift: int, flip: bool) -> None:
    """Every pixel of an augmented image is a pixel of the image, at most ``max_shift`` from where it was."""
    rows, columns = np.mgrid[:9, :11]
    image = torch.from_numpy(np.stack([rows, columns, rows * 0]).astype(np.uint8))[None]
    moved = _augment(image, torch.tensor([draw]), Recipe(max_shift=max_shift, flip=flip))[0].numpy().astype(int)
    straight = moved[1, 0, 0] <= moved[1, 0, -1]
    came_from = columns if straight else columns[:, ::-1]
    assert flip or straight
    assert np.abs(moved[0] - rows).max() <= max_shift
    assert np.abs(moved[1] - came_from).max() <= max_shift
    assert image.dtype == torch.uint8


def test_every_shift_and_flip_is_drawn() -> None:
    """Over many draws all of them occur; without any, nothing moves."""
    image = torch.arange(3 * 25, dtype=torch.uint8).view(1, 3, 5, 5)
    many = image.expand(400, -1, -1, -1)
    draws = torch.from_numpy((content_noise(np.arange(400, dtype=np.uint64), 0, 0) >> np.uint64(8)).astype(np.int64))
    kinds = {tuple(moved.flatten().tolist()) for moved in _augment(many, draws, Recipe(max_shift=1, flip=True))}
    assert len(kinds) == 3 * 3 * 2
    assert torch.equal(_augment(many, draws, Recipe(max_shift=0, flip=False)), many)


# Resuming

LONG = replace(RECIPE, epochs=5)


def kept(checkpoint: Checkpoint) -> Checkpoint:
    """As it comes back from a file."""
    tensors = safetensors.torch.load(safetensors.torch.save(checkpoint.tensors))
    return Checkpoint(checkpoint.epochs, tensors)


@pytest.fixture(scope="module", params=[(40, 8, 1), (23, 9, 2)], ids=["even", "odd"])
def uninterrupted(request: pytest.FixtureRequest) -> tuple[tuple[int, int, int], Training, list[Checkpoint]]:
    """A run to the end, and what it kept after every epoch but the last."""
    n, side, stride = request.param
    states: list[Checkpoint] = []
    pixels, labels, keys = toy(n, side=side)
    net = build_net(2, pixels, width=4, stem_stride=stride, seed=0)
    training = train(net, pixels, labels, keys, LONG, device=CPU, on_epoch=lambda state: states.append(kept(state)))
    return request.param, training, states


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_resumed_run_ends_as_if_nothing_had_happened(
    uninterrupted: tuple[tuple[int, int, int], Training, list[Checkpoint]], epochs: int
) -> None:
    """Bit for bit, after any epoch, in a network that was made anew; and it keeps the same states on its way."""
    (n, side, stride), whole, states = uninterrupted
    assert [state.epochs for state in states] == [1, 2, 3, 4]
    pixels, labels, keys = toy(n, side=side)
    net = build_net(2, pixels, width=4, stem_stride=stride, seed=99)
    seen: list[int] = []
    later: list[Checkpoint] = []
    resumed = train(
        net, pixels, labels, keys, LONG,
        device=CPU, on_batch=seen.append, resume=states[epochs - 1], on_epoch=later.append,
    )  # fmt: skip
    assert same(resumed, whole)
    assert sum(seen) == n * LONG.epochs
    assert seen[0] == n * epochs
    assert [state.epochs for state in later] == [1, 2, 3, 4][epochs:]
    for one, other in zip(later, states[epochs:], strict=True):
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_keeping_states_changes_nothing() -> None:
    """A run that is watched ends like one that is not; what was kept does not change with the run."""
    pixels, labels, keys = toy(40)
    states: list[Checkpoint] = []
    copies: list[dict[str, torch.Tensor]] = []

    def keep(state: Checkpoint) -> None:
        states.append(state)
        copies.append({name: value.clone() for name, value in state.tensors.items()})

    net = build_net(2, pixels, width=4, stem_stride=1, seed=0)
    assert same(train(net, pixels, labels, keys, LONG, device=CPU, on_epoch=keep), trained(*toy(40), LONG))
    for state, copy in zip(states, copies, strict=True):
        assert all(torch.equal(value, copy[name]) for name, value in state.tensors.items())


def test_a_single_epoch_keeps_nothing() -> None:
    """There is no between."""
    pixels, labels, keys = toy(20)
    net = build_net(2, pixels, width=4, stem_stride=1, seed=0)
    one = replace(RECIPE, epochs=1)
    train(net, pixels, labels, keys, one, device=CPU, on_epoch=lambda state: pytest.fail("it kept something"))
