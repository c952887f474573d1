"""The Hugging Face Trainer itself: training stops before it begins, or goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def transformers() -> Any:
    """The library, where it is installed with what its trainer needs."""
    pytest.importorskip("accelerate", reason="the extra `transformers` is not installed")
    return pytest.importorskip("transformers", reason="the extra `transformers` is not installed")


class Counting(torch.nn.Module):
    """A model that counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.met = 0

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """A loss that does not matter."""
        self.met += len(x)
        return {"loss": (self.weight * x.float().mean()).sum()}


def trained(transformers: Any, callback: Any, tmp_path: Path) -> int:
    """How many samples one epoch met."""
    model = Counting()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), num_train_epochs=1, report_to=[], use_cpu=True, save_strategy="no",
        per_device_train_batch_size=8, disable_tqdm=True,
    )  # fmt: skip
    rows = [{"x": torch.tensor([float(number)])} for number in range(24)]
    transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback]).train()
    return model.met


def test_training_is_refused_or_goes_on(
    transformers: Any, images: Path, verdict_on: Callable[..., Path], tmp_path: Path
) -> None:
    """A poisoned set stops before the first step."""
    from sanitizer.integrations.refusal import TrainingRefused
    from sanitizer.integrations.transformers import GateCallback

    with pytest.raises(TrainingRefused):
        trained(transformers, GateCallback(str(images), verdict=verdict_on(images)), tmp_path)
    assert trained(transformers, GateCallback(str(images), verdict=verdict_on(images, count=0)), tmp_path) == 24
