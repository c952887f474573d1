"""What is left of a dataset is what a verdict did not flag, in its order, and nothing is lost without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from sanitizer.errors import UsageError, VerdictError
from sanitizer.integrations.subset import CleanSubset, clean_loader
from sanitizer.record import Verdict


@pytest.fixture
def folder(images: Path) -> ImageFolder:
    """The images as ``torchvision`` reads them."""
    return ImageFolder(str(images), transform=pil_to_tensor)


def test_an_image_folder_without_what_was_flagged(
    images: Path, folder: ImageFolder, verdict_on: Callable[..., Path]
) -> None:
    """Everything else is there once, as it was."""
    verdict = Verdict.read(verdict_on(images))
    flagged = set(verdict.suspicious()["id"].to_pylist())
    clean = CleanSubset(folder, verdict)
    kept = [Path(folder.samples[index][0]).relative_to(images).as_posix() for index in clean.indices]
    assert set(clean.dropped) == flagged
    assert len(flagged) == 6
    assert sorted([*kept, *clean.dropped]) == sorted(
        Path(path).relative_to(images).as_posix() for path, _ in folder.samples
    )
    assert all(torch.equal(clean[row][0], folder[index][0]) for row, index in enumerate(clean.indices[:20]))
    assert repr(clean) == f"CleanSubset({len(folder) - 6:,} of {len(folder):,} items)"


def test_ids_may_be_named(images: Path, verdict_on: Callable[..., Path]) -> None:
    """For datasets that do not tell where their items come from."""
    verdict = Verdict.read(verdict_on(images))
    ids = verdict.table["id"].to_pylist()
    numbers = TensorDataset(torch.arange(len(ids)))
    clean = CleanSubset(numbers, verdict, ids=ids)
    assert [int(clean[row][0]) for row in range(len(clean))] == [
        row for row, flag in enumerate(verdict.table["suspicious"].to_pylist()) if not flag
    ]
    with pytest.raises(UsageError, match="none for a TensorDataset"):
        CleanSubset(numbers, verdict)
    with pytest.raises(UsageError, match="expected one for each"):
        CleanSubset(numbers, verdict, ids=ids[:-1])


def test_what_the_verdict_does_not_know_is_never_passed_silently(images: Path, verdict_on: Callable[..., Path]) -> None:
    """Refused, unless the user says what to do with it."""
    folder = verdict_on(images)
    ids = [*Verdict.read(folder).table["id"].to_pylist(), "bar/new.png"]
    numbers = TensorDataset(torch.arange(len(ids)))
    with pytest.raises(VerdictError, match=r"1 that it does not \('bar/new.png'\)"):
        CleanSubset(numbers, folder, ids=ids)
    assert len(CleanSubset(numbers, folder, ids=ids, unseen="keep")) == len(ids) - 6
    assert "bar/new.png" in CleanSubset(numbers, folder, ids=ids, unseen="drop").dropped


def test_a_verdict_beyond_the_caps_drops_nothing(
    images: Path, folder: ImageFolder, verdict_on: Callable[..., Path]
) -> None:
    """Most of a class cannot be poison."""
    with pytest.raises(VerdictError, match="keeps to its caps"):
        CleanSubset(folder, verdict_on(images, count=60))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_without_what_was_flagged(
    images: Path, folder: ImageFolder, verdict_on: Callable[..., Path], shuffle: bool
) -> None:
    """Batches of the same size, shuffled if they were; samplers of one's own are refused."""
    verdict = verdict_on(images)
    loader = clean_loader(DataLoader(folder, batch_size=16, shuffle=shuffle, drop_last=True), verdict)
    sizes = [len(labels) for _, labels in loader]
    assert set(sizes) == {16}
    assert len(sizes) == (len(folder) - 6) // 16
    firsts = {tuple(next(iter(loader))[1].tolist()) for _ in range(4)}
    assert (len(firsts) > 1) == shuffle
    with pytest.raises(UsageError, match="WeightedRandomSampler"):
        clean_loader(DataLoader(folder, sampler=WeightedRandomSampler([1.0] * len(folder), 4)), verdict)
