"""The scale of a batch: to pixels and back again."""

from __future__ import annotations

import pytest
import torch
from toy_batches import MEAN, STD, images, normalised

from sanitizer.errors import UsageError
from sanitizer.training.scale import batch_of, images_of


def test_there_and_back_again() -> None:
    """Channels keep their own scale, a single number is for all of them."""
    batch = normalised(images())
    assert torch.allclose(images_of(batch, MEAN, STD), images(), atol=1e-6)
    assert torch.allclose(batch_of(images(), batch, MEAN, STD), batch, atol=1e-6)
    assert torch.allclose(images_of(2 * images() - 1, 0.5, 0.5), images(), atol=1e-6)


def test_the_edges_of_sixteen_bits_are_pixels_too() -> None:
    """What rounding moves a little out of the range is brought back."""
    batch = normalised(torch.ones(2, 3, 4, 4)).bfloat16()
    assert images_of(batch, MEAN, STD).max() == 1


@pytest.mark.parametrize("batch", [torch.rand(3, 8, 8), torch.full((1, 3, 8, 8), 1.5), torch.full((1, 3, 8, 8), -0.5)])
def test_what_cannot_be_images_is_refused(batch: torch.Tensor) -> None:
    """Instead of being clamped without a word."""
    with pytest.raises(UsageError, match=r"^expected"):
        images_of(batch, 0.0, 1.0)
