"""Lightning: a callback that refuses to fit on data that does not pass, data without what was flagged, and EPIC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sanitizer.errors import MissingDependency, UsageError
from sanitizer.integrations.refusal import GateBeforeTraining
from sanitizer.integrations.subset import clean_loader
from sanitizer.record import Verdict
from sanitizer.training.epic import Epic
from sanitizer.training.sampler import KeptSampler

try:
    import lightning
except ImportError:
    raise MissingDependency("expected lightning, got none: pip install 'dataset-sanitizer[lightning]'") from None


class Gate(lightning.Callback):
    """``Trainer(callbacks=[Gate("data/train", "policy.toml", verdict="verdict")])``; see ``GateBeforeTraining``.

    Every process asks for itself: with a ``verdict`` that is a comparison, without one it is a scan.
    """

    def __init__(self, source: Any, policy: Any = None, **settings: Any) -> None:
        self.gate = GateBeforeTraining(source, policy, **settings)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Before anything is fitted; what is only validated, tested or predicted needs no gate."""
        if stage == "fit":
            self.gate.ask()


class EpicCallback(lightning.Callback):
    """``Trainer(callbacks=[EpicCallback(epic, plain)])`` and ``KeptSampler(epic, refill=True)`` in the training loader.

    Lightning counts the batches of an epoch once and validates by that count, so epochs have to stay of one length.

    Args:
        epic: Its state goes into Lightning's checkpoints.
        samples: The whole training set, in order, without augmentation.
        how: ``head`` and ``forward`` of ``Epic``.
    """

    def __init__(self, epic: Epic, samples: Any, **how: Any) -> None:
        self.epic = epic
        self.samples = samples
        self.how = how

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """What EPIC drops has to be dropped: other samplers know nothing of it."""
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if not (isinstance(sampler, KeptSampler) and sampler.keeper is self.epic and sampler.refill):
            raise UsageError(
                "expected one training loader, in one process, that draws from KeptSampler(epic, refill=True), got "
                f"{type(sampler).__name__}: give your DataLoader this sampler"
            )

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A look at the gradients, if one is due."""
        self.epic(trainer.current_epoch, pl_module, self.samples, **self.how)

    def state_dict(self) -> dict[str, Any]:
        """What was dropped so far."""
        return self.epic.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.epic.load_state_dict(state_dict)


class CleanDataModule(lightning.LightningDataModule):
    """A data module whose training data is another's without what a verdict flagged; all else is the other's."""

    def __init__(self, module: lightning.LightningDataModule, verdict: Verdict | str | Path, **how: Any) -> None:
        super().__init__()
        self.module = module
        self.verdict = verdict
        self.how = how

    def prepare_data(self) -> None:
        """As the module does."""
        self.module.prepare_data()

    def setup(self, stage: str) -> None:
        """As the module does."""
        self.module.setup(stage)

    def train_dataloader(self) -> Any:
        """Without what was flagged."""
        return clean_loader(self.module.train_dataloader(), self.verdict, **self.how)

    def val_dataloader(self) -> Any:
        """As the module has it."""
        return self.module.val_dataloader()

    def test_dataloader(self) -> Any:
        """As the module has it."""
        return self.module.test_dataloader()

    def predict_dataloader(self) -> Any:
        """As the module has it."""
        return self.module.predict_dataloader()

    def teardown(self, stage: str) -> None:
        """As the module does."""
        self.module.teardown(stage)
