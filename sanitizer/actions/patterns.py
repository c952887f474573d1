"""What pictures have in common and where they differ: means of groups, and differences made large enough to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sanitizer.sources.base import Pixels

Floats = NDArray[np.float64]

#: The grey that stands for no difference, and how far that is from either end.
MIDDLE, REACH = 128, 127.5
#: The percentile of the absolute differences that fills the range: strays beyond it may saturate.
FILLING = 99
#: Tones are this far apart: a difference is mostly noise, which half the bytes show as well as all of them.
STEP = 16


def mean_of(views: Sequence[Pixels]) -> Floats:
    """The mean of equally large pictures, (h, w, 3); sums of whole numbers are exact in whatever order.

    >>> mean_of([np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)]).tolist()
    [[[127.5, 127.5, 127.5]]]
    """
    return np.asarray(np.mean(np.stack(views), axis=0, dtype=np.float64))


def picture_of(mean: Floats) -> Pixels:
    """A mean as a picture."""
    return np.rint(np.clip(mean, 0, 255)).astype(np.uint8)


def enlarged(difference: Floats, most: float) -> Pixels:
    """A difference around the middle grey, times a gain that fills the range with it.

    The gain is at most ``most``: where there is nothing but noise, noise must not look like a find.
    """
    filling = float(np.percentile(np.abs(difference), FILLING))
    gain = REACH / filling if filling * most > REACH else most
    return picture_of(MIDDLE + STEP * np.rint(gain * difference / STEP))
