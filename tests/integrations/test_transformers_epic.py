"""The Hugging Face Trainer itself trains on what EPIC keeps, and resumes what it dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sanitizer.errors import UsageError
from sanitizer.training.epic import Epic

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LABELS = torch.arange(90) % 3
POINTS = torch.eye(3)[LABELS] + torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
DATA = [
    {"points": point, "labels": label, "row": row}
    for row, (point, label) in enumerate(zip(POINTS, LABELS, strict=True))
]
BATCHES = 12


@pytest.fixture
def transformers() -> Any:
    """The library, where it is installed with what its trainer needs."""
    pytest.importorskip("accelerate", reason="the extra `transformers` is not installed")
    return pytest.importorskip("transformers", reason="the extra `transformers` is not installed")


class Model(torch.nn.Module):
    """Notes which rows it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(3, 3)
        self.met: list[int] = []

    def forward(self, points: torch.Tensor, labels: torch.Tensor, row: torch.Tensor) -> dict[str, torch.Tensor]:
        """As models of the library answer."""
        if self.training:
            self.met.extend(row.tolist())
        logits = self.head(points)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def trained(transformers: Any, epic: Epic, folder: Path, *, resume: str | None = None, **how: Any) -> Model:
    """Four epochs, a checkpoint every so often."""
    from sanitizer.integrations.transformers import train_with_epic

    arguments = transformers.TrainingArguments(
        output_dir=str(folder), num_train_epochs=4, report_to=[], use_cpu=True, per_device_train_batch_size=8,
        disable_tqdm=True, learning_rate=0.1, save_strategy="steps", save_steps=how.pop("save_steps", BATCHES),
        save_only_model=False,
    )  # fmt: skip
    model = Model()
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=DATA)
    train_with_epic(trainer, epic, **how)
    trainer.train(resume_from_checkpoint=resume)
    return model


def epic() -> Epic:
    """One that soon drops something."""
    return Epic(LABELS, share=0.4, warmup=1, every=2)


def test_training_meets_only_what_is_kept(transformers: Any, tmp_path: Path) -> None:
    """From the epoch on that drops it."""
    ours = epic()
    met = trained(transformers, ours, tmp_path).met
    assert [one.epoch for one in ours.rounds] == [2]
    gone = {found.row for found in ours.log}
    assert gone
    assert len(met) == 4 * 90
    assert set(met[:90]) == set(met[90:180]) == set(range(90))
    assert met[:90] != met[90:180]
    assert set(met[180:270]) == set(met[270:]) == set(range(90)) - gone


@pytest.mark.parametrize("steps", [3 * BATCHES, 3 * BATCHES - 5], ids=["between epochs", "within an epoch"])
def test_a_checkpoint_holds_what_was_dropped(transformers: Any, tmp_path: Path, steps: int) -> None:
    """Resumed, a run meets what the whole one would have met, in its order, and learns the same."""
    first = epic()
    whole = trained(transformers, first, tmp_path, save_steps=steps)
    ours = epic()
    rest = trained(transformers, ours, tmp_path, save_steps=steps, resume=str(tmp_path / f"checkpoint-{steps}"))
    assert ours.rounds == first.rounds
    assert ours.log
    assert rest.met == whole.met[-len(rest.met) :]
    assert len(rest.met) < 2 * 90
    torch.testing.assert_close(rest.head.weight, whole.head.weight)


def test_samples_without_augmentation_may_be_others(transformers: Any, tmp_path: Path) -> None:
    """It is these whose gradients are taken."""
    asked: list[int] = []

    class Plain(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 90

        def __getitem__(self, row: int) -> Any:
            asked.append(row)
            return DATA[row]

    trained(transformers, epic(), tmp_path, samples=Plain())
    assert set(asked) == set(range(90))


def test_a_trainer_of_another_set_is_refused(transformers: Any, tmp_path: Path) -> None:
    """Rows would mean other samples."""
    with pytest.raises(UsageError, match="91 samples"):
        trained(transformers, Epic(torch.zeros(91)), tmp_path)
