"""The crafting loop: it stays in the ball, goes down, keeps the best, and ends where it would have after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors.torch
import torch
from torch import Tensor

from sanitizer.attacks.crafting import Craft, Loss, craft
from sanitizer.nets import ConvNet
from sanitizer.store import Shelf, Store

EPS = 16 / 255
QUICK = Craft(eps=EPS, steps=20, batch=4)


class Interrupted(Exception):
    """Somebody pulled the plug."""


def pictures(*, seed: int = 0) -> Tensor:
    """Ten images with black and white in them, laid out as those that come from 8-bit arrays."""
    pixels = torch.rand(10, 12, 12, 3, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2
    return pixels.clamp(0, 1).permute(0, 3, 1, 2)


def darkness(images: Tensor, rows: Tensor) -> Tensor:
    """The simplest loss."""
    return images.mean()


def of_a_net() -> Loss:
    """A loss whose gradient goes through convolutions, whose rounding depends on the memory layout."""
    torch.manual_seed(0)
    net = ConvNet(3, width=4).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return lambda images, rows: net(images)[:, 0].mean()


def crafted(how: Craft, loss: Loss = darkness, *, shelf: Shelf | None = None) -> tuple[Tensor, float]:
    """With the same loss in every round."""
    return craft(pictures(), lambda number, images: loss, how, shelf=shelf)


@pytest.mark.parametrize("start", ["normal", "uniform", "zero"])
def test_every_change_stays_in_the_ball_and_every_pixel_a_pixel(start: str) -> None:
    """Whatever it starts from."""
    after, _ = crafted(replace(QUICK, start=start, max_shift=1, flip=True))
    assert (after - pictures()).abs().max() <= EPS + 1e-6
    assert after.min() >= 0
    assert after.max() <= 1


def test_the_loss_goes_down_as_far_as_the_ball_allows() -> None:
    """Every pixel that can gets as dark as it may."""
    after, lowest = crafted(replace(QUICK, steps=60))
    assert torch.allclose(after, (pictures() - EPS).clamp_min(0), atol=1e-3)
    assert lowest == pytest.approx(float((pictures() - EPS).clamp_min(0).mean()), abs=1e-3)


def test_moved_images_pass_their_gradients_on() -> None:
    """What is shifted and mirrored still gets darker where it is dark no more."""
    after, _ = crafted(replace(QUICK, steps=60, max_shift=2, flip=True))
    assert (pictures() - after).mean() > 0.8 * (pictures() - (pictures() - EPS).clamp_min(0)).mean()


def test_images_are_moved_as_training_moves_them() -> None:
    """By whole pixels, the edge repeated: nothing is smoothed away."""
    seen: list[Tensor] = []

    def watching(images: Tensor, rows: Tensor) -> Tensor:
        seen.append(images.detach())
        return images.mean()

    craft(pictures(), lambda number, images: watching, replace(QUICK, steps=1, start="zero", batch=10, max_shift=2))
    padded = torch.nn.functional.pad(pictures(), (2, 2, 2, 2), mode="replicate")
    places = set()
    for number, image in enumerate(seen[0]):
        fits = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.allclose(padded[number, :, row : row + 12, column : column + 12], image, atol=1e-5)
        ]
        assert len(fits) == 1
        places.add(fits[0])
    assert len(places) > 4


def test_an_unsigned_search_goes_down_too() -> None:
    """Adam on the gradient as it is."""
    first = crafted(replace(QUICK, signed=False, steps=1))[1]
    assert crafted(replace(QUICK, signed=False, steps=40))[1] < first


def test_the_same_seed_makes_the_same_images() -> None:
    """To the bit; another seed makes others."""
    how = replace(QUICK, max_shift=1, flip=True, steps=3)
    assert torch.equal(crafted(how)[0], crafted(how)[0])
    assert not torch.equal(crafted(how)[0], crafted(replace(how, seed=1))[0])


def test_the_restart_that_ends_lowest_is_kept() -> None:
    """The second of three searches for something else each time."""
    starts: list[Tensor] = []
    worth = [3.0, 1.0, 2.0]

    def losses(number: int, images: Tensor) -> Loss:
        if number == 0:
            starts.append(images)
        value = worth[len(starts) - 1]
        return lambda images, rows: images.mean() * 0 + value

    after, lowest = craft(pictures(), losses, replace(QUICK, restarts=3, steps=5, batch=10))
    assert (len(starts), lowest) == (3, 1.0)
    assert torch.equal(after, starts[1])
    assert not torch.equal(starts[1], starts[2])


def test_every_round_sees_the_images_as_they_are_then() -> None:
    """So that surrogates can learn from them."""
    seen: list[float] = []

    def losses(number: int, images: Tensor) -> Loss:
        assert number == len(seen)
        seen.append(float(images.mean()))
        return darkness

    craft(pictures(), losses, replace(QUICK, rounds=4))
    assert len(seen) == 4
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("after_steps", [7, 14, 21])
def test_an_interrupted_search_ends_where_it_would_have(tmp_path: Path, after_steps: int) -> None:
    """To the bit and in fewer steps: stopped in the first search, in the second, at the end of it."""
    how = replace(QUICK, steps=10, batch=5, restarts=3, max_shift=1, flip=True)
    store = Store.open(str(tmp_path / "store"))
    assert store
    shelf, loss = store.shelf("crafting"), of_a_net()
    whole = crafted(how, loss)
    done = [0]

    def until(count: int) -> None:
        done[0] += count
        if done[0] >= after_steps:
            raise Interrupted

    with pytest.raises(Interrupted):
        craft(pictures(), lambda number, images: loss, how, shelf=shelf, advance=until)
    told: list[int] = []
    again = craft(pictures(), lambda number, images: loss, how, shelf=shelf, advance=told.append)
    assert torch.equal(again[0], whole[0])
    assert again[1] == whole[1]
    assert sum(told) == 30
    assert 30 - after_steps <= sum(told[1:]) <= 30 - after_steps + how.steps // how.rounds
    assert not list(shelf.tables())


def test_a_finished_search_leaves_nothing_behind(tmp_path: Path) -> None:
    """And the next one starts from the beginning."""
    store = Store.open(str(tmp_path / "store"))
    assert store
    shelf = store.shelf("crafting")
    first = crafted(QUICK, shelf=shelf)
    assert not list(shelf.tables())
    assert torch.equal(crafted(QUICK, shelf=shelf)[0], first[0])


@pytest.mark.gpu
def test_a_gpu_finds_about_the_same() -> None:
    """Rounding apart, signs of a gradient are the same nearly everywhere."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    net = ConvNet(3, width=4).eval().requires_grad_(False)
    how = replace(QUICK, max_shift=1, flip=True)
    here = craft(pictures(), lambda number, images: lambda images, rows: net(images)[:, 0].mean(), how)
    net.to(device)
    there = craft(pictures().to(device), lambda number, images: lambda images, rows: net(images)[:, 0].mean(), how)
    assert there[1] == pytest.approx(here[1], rel=0.02, abs=1e-3)
    assert ((there[0].cpu() - here[0]).abs() < 2 / 255).float().mean() > 0.9


@pytest.mark.parametrize("damage", ["nonsense", "another version", "other images"])
def test_a_state_that_is_not_ours_begins_anew(tmp_path: Path, damage: str) -> None:
    """Whatever lies on the shelf: the result is that of an uninterrupted search."""
    shape = (1, 3, 2, 2) if damage == "other images" else pictures().shape
    names = ("delta", "mean", "square", "best", "losses")[: 2 if damage == "another version" else 5]
    state = {name: torch.zeros(2 if name == "losses" else shape) for name in names}
    store = Store.open(str(tmp_path / "store"))
    assert store
    content = b"nonsense" if damage == "nonsense" else safetensors.torch.save(state)
    shelf = store.shelf("crafting")
    shelf.put(pa.table({"done": [1], "restart": [0], "step": [1], "state": pa.array([content], pa.large_binary())}))
    assert torch.equal(crafted(QUICK, shelf=shelf)[0], crafted(QUICK)[0])
