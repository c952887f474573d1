"""Hugging Face Trainer: a callback that refuses to train on what does not pass, and training without the flagged."""

from __future__ import annotations

from typing import Any

from sanitizer.errors import MissingDependency, UsageError
from sanitizer.integrations.refusal import GateBeforeTraining

try:
    import transformers
except ImportError:
    raise MissingDependency("expected transformers, got none: pip install 'dataset-sanitizer[transformers]'") from None


class GateCallback(transformers.TrainerCallback):
    """``Trainer(callbacks=[GateCallback("data/train", "policy.toml")])``; see ``GateBeforeTraining``."""

    def __init__(self, source: Any, policy: Any = None, **settings: Any) -> None:
        self.gate = GateBeforeTraining(source, policy, **settings)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: ARG002
        """Before the first step."""
        self.gate.ask()


def drop_flagged(trainer: Any, sanitizer: Any) -> int:
    """Leave out of a trainer's training data what a fitted ``Sanitizer`` flagged; how many that were.

    The training data has to be a ``datasets.Dataset`` with the columns that were scanned: drop before you transform.
    """
    before = trainer.train_dataset
    if before is None or not hasattr(before, "select"):
        came = "none" if before is None else f"a {type(before).__name__}"
        raise UsageError(f"expected a trainer with a datasets.Dataset to train on, got {came}: give it one")
    clean, flagged = sanitizer.split(before)
    trainer.train_dataset = clean
    return len(flagged)
