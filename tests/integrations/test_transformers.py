"""The Hugging Face Trainer itself: training stops before it begins, or goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_hooks import fitted, readable

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


def met_by(transformers: Any, dataset: Any, tmp_path: Path, *, drop: bool) -> list[int]:
    """The numbers of the rows that two epochs of training met, in batches, shuffled."""
    from sanitizer.integrations.transformers import drop_flagged

    met: list[int] = []

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        met.extend(row["number"] for row in rows)
        return {"x": torch.tensor([[float(row["number"])] for row in rows])}

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), num_train_epochs=2, report_to=[], use_cpu=True, save_strategy="no",
        per_device_train_batch_size=16, disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=Counting(), args=arguments, train_dataset=dataset, data_collator=collate, callbacks=[]
    )
    if drop:
        assert drop_flagged(trainer, fitted()) == len(dataset) - len(trainer.train_dataset) > 0
    trainer.train()
    return met


def test_what_was_flagged_is_in_no_batch(transformers: Any, tmp_path: Path) -> None:
    """Every other row is, once in each epoch; without dropping, the flagged ones are met like any."""
    told = fitted()(readable()[:])["suspicious"]
    flagged = {number for number, suspicious in enumerate(told) if suspicious}
    dataset = readable().add_column("number", range(len(told)))
    everything = met_by(transformers, dataset, tmp_path, drop=False)
    clean = met_by(transformers, dataset, tmp_path, drop=True)
    assert flagged <= set(everything)
    assert sorted(clean) == sorted(2 * [number for number in range(len(told)) if number not in flagged])


def test_without_a_dataset_to_choose_from_nothing_is_dropped_in_silence(transformers: Any, tmp_path: Path) -> None:
    """A list of rows, or none: the error says which."""
    from sanitizer.errors import UsageError
    from sanitizer.integrations.transformers import drop_flagged

    arguments = transformers.TrainingArguments(output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True)
    trainer = transformers.Trainer(model=Counting(), args=arguments, train_dataset=[{"x": torch.zeros(1)}])
    with pytest.raises(UsageError, match="got a list"):
        drop_flagged(trainer, fitted())
    trainer.train_dataset = None
    with pytest.raises(UsageError, match="got none"):
        drop_flagged(trainer, fitted())
