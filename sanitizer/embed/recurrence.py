"""Recurring patterns: what is found again and again in the images of one label, whatever these show.

A trigger is a thing that repeats. Natural images repeat as well, mostly in what all images have in common (smooth
areas, edges), so every image is first taken in units of that: its cosine transform, divided by how strong each
coefficient usually is. What many images of one class still share then is the class's own pattern, or a planted one.
No network is asked, so nothing has to be learned first: fifty images are enough.

Patterns are looked for in one half of a class and measured in the other. Any class has directions in which its
samples, by chance, lie far out; in samples that had no part in choosing them, they do not.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanitizer.embed.cosines import COLOURS, cosines, typical_rows, usual_size

#: Patterns a class, the most reproducible first: the columns of the space.
PATTERNS = 8
#: No coefficient counts for more than so many of its usual sizes: triggers are many small signs, textures few big ones.
CLIPPED = 3.0
#: Samples of a half that patterns are looked for in, and of other classes that they are compared with, at most.
SEARCHED, COMPARED = 8192, 2048
#: Fewer samples in a half show no pattern.
LEAST_HALF = 12

_ROUNDS = 3
_SPARE = 4
_CHUNK = 2048


def recurrence(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], keys: NDArray[np.uint64], device: torch.device
) -> NDArray[np.float32]:
    """How strongly each pattern that recurs in its class shows in a sample, (n, PATTERNS).

    In units of how strongly the pattern shows in samples of other classes, around the median of the class.
    """
    whole = _Whitener(pixels, keys, device)
    found = np.zeros((len(pixels), PATTERNS), np.float32)
    by_key = np.argsort(keys, kind="stable")
    for label in np.unique(labels):
        members = by_key[labels[by_key] == label]
        halves = members[0::2], members[1::2]
        if len(halves[1]) < LEAST_HALF:
            continue
        others = by_key[labels[by_key] != label][:COMPARED]
        patterns = _matched(*(_patterns(whole(half[:SEARCHED])) for half in halves))
        for half, foreign in zip(halves, patterns[::-1], strict=True):
            shown = whole.along(half, foreign)
            spread = _spread(whole.along(others, foreign) if len(others) else shown)
            found[half, : foreign.shape[1]] = (shown - np.median(shown, axis=0)) / spread
    return found


class _Whitener:
    """Images as their cosine transforms, in units of how large each coefficient is in a typical image."""

    def __init__(self, pixels: NDArray[np.uint8], keys: NDArray[np.uint64], device: torch.device) -> None:
        self._pixels, self._device = pixels, device
        self._cosines, self._colours = cosines(pixels.shape[1]).to(device), COLOURS.to(device)
        rows = typical_rows(keys)
        coefficients = torch.cat([self._transform(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])
        self._centre = torch.zeros(coefficients.shape[1], device=device)
        constant = torch.arange(3, device=device) * pixels.shape[1] ** 2
        self._centre[constant] = coefficients[:, constant].median(dim=0).values
        self._size = usual_size(coefficients - self._centre)

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """(len(rows), coefficients), every image equally loud."""
        return torch.cat([self._white(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])

    def along(self, rows: NDArray[np.int64], patterns: Tensor) -> NDArray[np.float32]:
        """How strongly patterns show in images, a few images at a time."""
        parts = [self._white(rows[i : i + _CHUNK]) @ patterns for i in range(0, len(rows), _CHUNK)]
        return np.asarray(torch.cat(parts).cpu().numpy())

    def _transform(self, rows: NDArray[np.int64]) -> Tensor:
        images = torch.from_numpy(self._pixels[rows]).to(self._device).float()
        channels = torch.einsum("bhwc,dc->bdhw", images, self._colours)
        return (self._cosines @ channels @ self._cosines.T).flatten(1)

    def _white(self, rows: NDArray[np.int64]) -> Tensor:
        white = (self._transform(rows) - self._centre) / self._size
        for _ in range(2):  # once to see how loud the image is, once more without what was too loud in it
            white = white / (white.clamp(-CLIPPED, CLIPPED).square().mean(dim=1, keepdim=True).sqrt() + 0.1)
        return white.clamp(-CLIPPED, CLIPPED)


def _patterns(white: Tensor) -> Tensor:
    """The directions in which a few of these images lie far out together, (coefficients, PATTERNS at most)."""
    centred = white - white.mean(dim=0)
    axes = _leading_axes(centred, min(PATTERNS, len(white) // 3))
    along = centred @ axes
    signs = torch.where((along**3).sum(dim=0) < 0, -1.0, 1.0)
    patterns = []
    for axis in (axes * signs).T:
        for _ in range(2):  # what the samples far out have in common is the pattern itself, not just its main axis
            outer = _outer(centred @ axis)
            axis = torch.nn.functional.normalize(centred[outer].mean(dim=0), dim=0)  # the others lie opposite
        patterns.append(axis)
    return torch.stack(patterns, dim=1)


def _leading_axes(centred: Tensor, count: int) -> Tensor:
    """The leading right singular vectors, by subspace iteration from a fixed start."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(centred.shape[1], count + _SPARE, generator=generator).to(centred.device)
    for _ in range(_ROUNDS):
        start = torch.linalg.qr(centred.T @ (centred @ start)).Q
    turned: Tensor = torch.linalg.svd(centred @ start, full_matrices=False).Vh.T[:, :count]
    return start @ turned


def _outer(along: Tensor) -> Tensor:
    """The smaller of two groups that leave the least spread within, among all cuts of a line."""
    ordered = along.double().sort().values
    n = len(ordered)
    inner = torch.arange(n // 2, n - 3, device=along.device)
    sums, squares = ordered.cumsum(0), ordered.square().cumsum(0)
    low = sums[inner - 1] / inner
    high = (sums[-1] - sums[inner - 1]) / (n - inner)
    within = squares[-1] - inner * low**2 - (n - inner) * high**2
    gap = (high - low) ** 2 / within.clamp_min(1e-9)
    place = int(inner[int(gap.argmax())])
    return along >= ordered[place].to(along.dtype)


def _matched(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The patterns of two halves in pairs that resemble each other, the most alike first."""
    alike = first.T @ second
    order: list[tuple[int, int]] = []
    while len(order) < min(alike.shape):
        place = int(alike.argmax())
        pair = place // alike.shape[1], place % alike.shape[1]
        order.append(pair)
        alike[pair[0], :] = alike[:, pair[1]] = -2
    return first[:, [pair[0] for pair in order]], second[:, [pair[1] for pair in order]]


def _spread(along: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median absolute deviation, as a standard deviation."""
    deviation = np.abs(along - np.median(along, axis=0))
    return np.asarray(1.4826 * np.median(deviation, axis=0) + 1e-3, np.float32)
