"""Lightning itself trains on what EPIC keeps, validates after every epoch, and resumes what it dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sanitizer.errors import UsageError
from sanitizer.training.epic import Epic
from sanitizer.training.sampler import KeptSampler

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LABELS = torch.arange(90) % 3
POINTS = torch.eye(3)[LABELS] + torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(POINTS, LABELS, torch.arange(90))


@pytest.fixture
def lightning() -> Any:
    """The library, where it is installed."""
    return pytest.importorskip("lightning", reason="the extra `lightning` is not installed")


def fitted(lightning: Any, epic: Epic, folder: Path, *, epochs: int, resume: Path | None = None, **loading: Any) -> Any:
    """The module, with the rows that each epoch met, and how often it was validated."""
    from sanitizer.integrations.lightning import EpicCallback

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.head = torch.nn.Linear(3, 3)
            self.met: list[list[int]] = []
            self.validations = 0

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return self.head(points)  # type: ignore[no-any-return]

        def on_train_epoch_start(self) -> None:
            self.met.append([])

        def training_step(self, batch: Any, _: int) -> Any:
            self.met[-1].extend(batch[2].tolist())
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, number: int) -> None:
            self.validations += number == 0

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[EpicCallback(epic, DATA)], default_root_dir=str(folder),
        num_sanity_val_steps=0,
    )  # fmt: skip
    module = Module()
    loader = DataLoader(DATA, batch_size=8, **({"sampler": KeptSampler(epic, refill=True)} | loading))
    trainer.fit(module, loader, DataLoader(DATA, batch_size=90), ckpt_path=resume)
    trainer.save_checkpoint(folder / "end.ckpt")
    return module


def epic() -> Epic:
    """One that soon drops something."""
    return Epic(LABELS, share=0.4, warmup=1, every=2)


def test_training_meets_only_what_is_kept(lightning: Any, tmp_path: Path) -> None:
    """From the epoch on that drops it; and validation goes on as if nothing had happened."""
    ours = epic()
    module = fitted(lightning, ours, tmp_path, epochs=4)
    assert [one.epoch for one in ours.rounds] == [2]
    gone = {found.row for found in ours.log}
    assert gone
    for epoch, met in enumerate(module.met):
        assert set(met) == set(range(90)) - (gone if epoch >= 2 else set())
        assert len(met) == 90
    assert module.validations == 4


def test_a_checkpoint_holds_what_was_dropped(lightning: Any, tmp_path: Path) -> None:
    """Resumed, a run meets what the whole one would have met, in its order, and learns the same."""
    whole = fitted(lightning, epic(), tmp_path, epochs=5)
    fitted(lightning, epic(), tmp_path, epochs=3)
    ours = epic()
    rest = fitted(lightning, ours, tmp_path, epochs=5, resume=tmp_path / "end.ckpt")
    assert [one.epoch for one in ours.rounds] == [2, 4]
    assert rest.met == whole.met[3:]
    torch.testing.assert_close(rest.head.weight, whole.head.weight)


@pytest.mark.parametrize("loading", [{"sampler": None, "shuffle": True}, {"sampler": KeptSampler(epic(), refill=True)}])
def test_a_loader_that_draws_from_elsewhere_is_refused(lightning: Any, tmp_path: Path, loading: dict[str, Any]) -> None:
    """EPIC would drop, and nothing would be dropped."""
    with pytest.raises(UsageError, match="give your DataLoader this sampler"):
        fitted(lightning, epic(), tmp_path, epochs=1, **loading)


def test_epochs_that_get_shorter_are_refused(lightning: Any, tmp_path: Path) -> None:
    """Lightning would not validate any more."""
    ours = epic()
    with pytest.raises(UsageError, match="refill=True"):
        fitted(lightning, ours, tmp_path, epochs=1, sampler=KeptSampler(ours))
