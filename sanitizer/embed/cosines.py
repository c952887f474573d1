"""Images as cosine waves, in units of what is usual: a small planted pattern is small, but not usual."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Lightness and two differences of colour: triggers and noise show in the latter, where photographs have little.
COLOURS = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]))
#: Grey levels that rounding to 8 bits moves a coefficient by: smaller differences are not signs of anything.
ROUNDING = 0.1
#: Samples that tell what is usual, at most.
TYPICAL = 8192


def cosines(side: int) -> Tensor:
    """The orthonormal cosine transform of ``side`` samples."""
    frequency, place = torch.arange(side)[:, None], torch.arange(side)[None, :]
    rows = torch.cos(math.pi * (place + 0.5) * frequency / side) * math.sqrt(2 / side)
    rows[0] /= math.sqrt(2)
    return rows


def typical_rows(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A part of the set, drawn by content."""
    return np.asarray(np.argsort(keys, kind="stable")[:TYPICAL])


def usual_size(coefficients: Tensor) -> Tensor:
    """How large each coefficient is in a typical image; a median, so that a planted part cannot set it."""
    return coefficients.abs().median(dim=0).values / 0.6745 + ROUNDING
