"""Lightning: a callback that refuses to fit on data that does not pass, and a data module without what was flagged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sanitizer.errors import MissingDependency
from sanitizer.integrations.refusal import GateBeforeTraining
from sanitizer.integrations.subset import clean_loader
from sanitizer.record import Verdict

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
