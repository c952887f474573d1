"""What pixels say without a network, by one worker that has all of them, as small squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sanitizer.errors import SourceError


def put_together(digests: NDArray[np.bytes_], side: int, *parts: pa.Table) -> NDArray[np.uint8]:
    """The images in the order of their digests, which ascend: (n, side, side, 3)."""
    images = np.empty((len(digests), side, side, 3), np.uint8)
    missing = np.ones(len(digests), bool)
    for part in parts:
        found = np.array(part["digest"].to_pylist(), "S64")
        first, end = np.searchsorted(digests, found, "left"), np.searchsorted(digests, found, "right")
        for number, pixels in enumerate(part["pixels"].to_pylist()):
            rows = slice(first[number], end[number])  # copies of an image lie side by side
            images[rows] = np.frombuffer(pixels, np.uint8).reshape(side, side, 3)
            missing[rows] = False
    if missing.any():
        raise SourceError("the source changed during the scan: scan again when nobody writes to it")
    return images


def pixel_space(
    space: str, images: NDArray[np.uint8], labels: NDArray[np.int64], keys: NDArray[np.uint64], device: str
) -> NDArray[Any]:
    """One space, as it is computed on one machine."""
    import torch

    from sanitizer.embed.spaces import VIEWS

    return VIEWS[space](images, labels, keys, torch.device(device))
