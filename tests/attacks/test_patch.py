"""Patches lie where they belong, at every size of image."""

from __future__ import annotations

import numpy as np

from sanitizer.attacks.patch import patched


def test_a_patch_is_mirrored_into_other_corners() -> None:
    """Up and left, and its fourth channel makes parts of it transparent."""
    patch = np.zeros((2, 2, 4), np.float32)
    patch[1, 1] = 1  # the pixel in the very corner
    for up in (False, True):
        for left in (False, True):
            stamped = patched(np.full((4, 4, 3), 0.5, np.float32), patch, alpha=0.5, up=up, left=left)
            assert stamped[0 if up else 3, 0 if left else 3].tolist() == [0.75] * 3
            assert (stamped != 0.5).sum() == 3
