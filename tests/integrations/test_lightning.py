"""Lightning itself: fitting stops before it begins, or goes on without what was flagged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def lightning() -> Any:
    """The library, where it is installed."""
    return pytest.importorskip("lightning", reason="the extra `lightning` is not installed")


def fitted(lightning: Any, loader_or_module: Any, callbacks: list[Any], tmp_path: Path) -> list[int]:
    """The labels that one epoch of training met."""
    met: list[int] = []

    class Counting(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch: Any, _: int) -> Any:
            met.extend(batch[1].tolist())
            return (self.weight * batch[0].float().mean()).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks, default_root_dir=str(tmp_path),
    )  # fmt: skip
    trainer.fit(Counting(), loader_or_module)
    return met


def test_fitting_is_refused_or_goes_on(
    lightning: Any, images: Path, verdict_on: Callable[..., Path], tmp_path: Path
) -> None:
    """A poisoned set stops before the first step, a clean one is trained on."""
    from sanitizer.integrations.lightning import Gate
    from sanitizer.integrations.refusal import TrainingRefused

    loader = DataLoader(ImageFolder(str(images), transform=pil_to_tensor), batch_size=32)
    with pytest.raises(TrainingRefused):
        fitted(lightning, loader, [Gate(str(images), verdict=verdict_on(images))], tmp_path)
    met = fitted(lightning, loader, [Gate(str(images), verdict=verdict_on(images, count=0))], tmp_path)
    assert len(met) == len(loader.dataset)  # type: ignore[arg-type]


def test_a_data_module_without_what_was_flagged(
    lightning: Any, images: Path, verdict_on: Callable[..., Path], tmp_path: Path
) -> None:
    """Training meets everything else."""
    from sanitizer.integrations.lightning import CleanDataModule

    folder = ImageFolder(str(images), transform=pil_to_tensor)

    class Plain(lightning.LightningDataModule):  # type: ignore[misc]
        def train_dataloader(self) -> Any:
            return DataLoader(folder, batch_size=32, shuffle=True)

    met = fitted(lightning, CleanDataModule(Plain(), verdict_on(images)), [], tmp_path)
    assert len(met) == len(folder) - 6
