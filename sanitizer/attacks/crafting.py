"""The crafting loop: small changes of images that bring a loss down, by signed Adam inside a ball; it can be resumed.

All optimised attacks share it; each brings only its loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from sanitizer.store import Shelf

#: Perturbed images (b, 3, h, w) in [0, 1] and their rows among all -> what to bring down.
Loss = Callable[[Tensor, Tensor], Tensor]
#: The loss of a round, made from the round's number and all images as they are then: time to retrain a surrogate.
LossOfRound = Callable[[int, Tensor], Loss]


def _silent(count: int) -> None:
    """Nobody is told how far it is."""


@dataclass(frozen=True, kw_only=True)
class Craft:
    """How to search; the defaults are those of gradient matching.

    Args:
        eps: Largest change of a pixel, from 0 to 1.
        steps: Steps of one search.
        rate: Size of a step, from 0 to 1.
        drops: After each of these shares of the steps, a tenth of it.
        signed: Adam sees the sign of the gradient only.
        restarts: Searches from other starts; the one that ends lowest is kept.
        batch: Images whose loss is taken together.
        rounds: Parts of a search, each with a loss of its own; the state is kept between them.
        start: ``normal`` and ``uniform`` start at noise within the ball, ``zero`` at the images themselves.
        max_shift: Every image is moved by up to so many pixels before its loss is taken, and the loss knows.
        flip: And mirrored every other time.
        seed: Of starts and moves.
    """

    eps: float
    steps: int = 250
    rate: float = 0.025
    drops: tuple[float, ...] = (3 / 8, 5 / 8, 7 / 8)
    signed: bool = True
    restarts: int = 1
    batch: int = 512
    rounds: int = 5
    start: Literal["normal", "uniform", "zero"] = "normal"
    max_shift: int = 0
    flip: bool = False
    seed: int = 0


def craft(
    images: Tensor,  # (n, 3, h, w) float32 in [0, 1], on the device to compute on
    losses: LossOfRound,
    how: Craft,
    *,
    shelf: Shelf | None = None,
    advance: Callable[[int], None] = _silent,
) -> tuple[Tensor, float]:
    """The changed images, and the mean loss that they end with.

    With a ``shelf`` a search that was interrupted goes on from its last round, and ends where it would have.
    """
    images = images.contiguous()  # the memory layout decides how sums are rounded: one for all that resume
    search = _kept(shelf, images) or _Search(images, how)
    advance(how.steps * search.restart + search.step)
    while search.restart < how.restarts:
        for number in range(how.rounds):
            first, last = (how.steps * edge // how.rounds for edge in (number, number + 1))
            if search.step > first or first == last:
                continue
            loss = losses(number, search.changed(images))
            for _ in range(first, last):
                search.advance(images, loss, how)
                advance(1)
            if shelf and last < how.steps:
                search.keep(shelf)
        search.finish(images, how)
        if shelf:
            search.keep(shelf)
    if shelf:
        shelf.clear()
    return (images + search.best).clamp(0, 1), search.lowest


#: What a search holds of every image.
_TENSORS = ("delta", "mean", "square", "best")


class _Search:
    """Where a search is: everything that the rest of it depends on."""

    def __init__(self, images: Tensor, how: Craft) -> None:
        self.restart, self.step = 0, 0
        self.loss, self.lowest = float("inf"), float("inf")
        self.best = torch.zeros_like(images)
        self._begin(images, how)

    def _begin(self, images: Tensor, how: Craft) -> None:
        draw = _generator(how.seed, self.restart, 0)
        noise = torch.randn if how.start == "normal" else torch.rand
        delta = noise(images.shape, generator=draw).to(images.device)
        if how.start == "uniform":
            delta = 2 * delta - 1
        self.delta = _within(delta * (0 if how.start == "zero" else how.eps), images, how.eps)
        self.mean, self.square = torch.zeros_like(images), torch.zeros_like(images)  # Adam's moments

    def changed(self, images: Tensor) -> Tensor:
        return (images + self.delta).clamp(0, 1)

    def advance(self, images: Tensor, loss: Loss, how: Craft) -> None:
        """One step for every image."""
        draw = _generator(how.seed, self.restart, self.step + 1)
        gradient, losses = torch.zeros_like(images), []
        for rows in torch.split(torch.arange(len(images), device=images.device), how.batch):
            delta = self.delta[rows].requires_grad_()
            value = loss(_moved(images[rows] + delta, how, draw), rows)
            (gradient[rows],) = torch.autograd.grad(value, delta)
            losses.append(float(value.detach()) * len(rows))
        self.loss = sum(losses) / len(images)
        self.step += 1
        self._descend(gradient.sign() if how.signed else gradient, how)
        self.delta = _within(self.delta, images, how.eps)

    def _descend(self, gradient: Tensor, how: Craft) -> None:
        """Adam, with its usual constants."""
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        drops = sum(self.step > share * how.steps for share in how.drops)
        mean, square = self.mean / (1 - 0.9**self.step), self.square / (1 - 0.999**self.step)
        self.delta = self.delta - how.rate * 0.1**drops * mean / (square.sqrt() + 1e-8)

    def finish(self, images: Tensor, how: Craft) -> None:
        """Remember this search if it is the best yet, and begin the next."""
        if self.loss < self.lowest or self.restart == 0:
            self.best, self.lowest = self.delta, self.loss
        self.restart, self.step = self.restart + 1, 0
        self._begin(images, how)

    def keep(self, shelf: Shelf) -> None:
        state = {name: getattr(self, name).cpu().contiguous() for name in _TENSORS}
        state["losses"] = torch.tensor([self.loss, self.lowest], dtype=torch.float64)
        done = pa.array([self.restart * 10**6 + self.step])
        row = {"done": done, "restart": [self.restart], "step": [self.step]}
        shelf.replace(pa.table({**row, "state": pa.array([safetensors.torch.save(state)], pa.large_binary())}))


def _kept(shelf: Shelf | None, images: Tensor) -> _Search | None:
    """The search that was interrupted last, if there is one for these images."""
    table = shelf.latest("done") if shelf else None
    if table is None:
        return None
    try:
        state = safetensors.torch.load(table["state"][0].as_py())
        tensors = {name: state[name].to(images.device) for name in _TENSORS}
        losses = state["losses"].tolist()
    except (SafetensorError, KeyError):
        return None  # not ours, or of another version: the search begins anew
    if any(tensor.shape != images.shape for tensor in tensors.values()):
        return None
    search = _Search.__new__(_Search)
    search.restart, search.step = table["restart"][0].as_py(), table["step"][0].as_py()
    search.loss, search.lowest = losses
    for name, tensor in tensors.items():
        setattr(search, name, tensor)
    return search


def _within(delta: Tensor, images: Tensor, eps: float) -> Tensor:
    """The nearest change that stays in the ball and leaves every pixel a pixel."""
    return (images + delta.clamp(-eps, eps)).clamp(0, 1) - images


def _moved(images: Tensor, how: Craft, draw: torch.Generator) -> Tensor:
    """Every image moved by whole pixels, as in training, and mirrored at random, in a way that gradients pass."""
    if not how.max_shift and not how.flip:
        return images
    b, _, h, w = images.shape
    shift = torch.randint(-how.max_shift, how.max_shift + 1, (b, 2), generator=draw)
    mirrored = torch.where((torch.rand(b, generator=draw) < 0.5) & torch.tensor(how.flip), -1.0, 1.0)
    turn = torch.zeros(b, 2, 3)
    turn[:, 0, 0], turn[:, 1, 1] = mirrored, 1.0
    turn[:, :, 2] = 2 * shift / torch.tensor([w, h])
    grid = F.affine_grid(turn.to(images.device), [b, 3, h, w], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _generator(seed: int, restart: int, step: int) -> torch.Generator:
    """Draws that depend on nothing but where the search is, so that a resumed one draws the same."""
    return torch.Generator().manual_seed((seed * 1009 + restart) * 100_003 + step)
