"""Hugging Face Trainer: a callback that refuses to train on what does not pass, data without the flagged, and EPIC."""

from __future__ import annotations

from typing import Any

from sanitizer.errors import MissingDependency, UsageError
from sanitizer.integrations.refusal import GateBeforeTraining
from sanitizer.training.epic import Epic
from sanitizer.training.sampler import KeptSampler

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


#: Under which name a checkpoint's ``trainer_state.json`` keeps what EPIC dropped.
_STATE = "epic"


class EpicCallback(transformers.TrainerCallback):
    """EPIC's part in a ``Trainer``; ``train_with_epic`` adds it together with the sampler that it needs."""

    def __init__(self, trainer: Any, epic: Epic, sampler: KeptSampler, samples: Any = None, **how: Any) -> None:
        self.trainer = trainer
        self.epic = epic
        self.sampler = sampler
        self.samples = samples
        self.how = how

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: ARG002
        """Go on from where a checkpoint was written."""
        if _STATE in state.stateful_callbacks:
            self.epic.load_state_dict(state.stateful_callbacks[_STATE])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any, **others: Any) -> None:  # noqa: ARG002
        """A look at the gradients, if one is due."""
        epoch = int(state.epoch + 1e-6)  # the Trainer adds it up from fractions
        if self.epic.due(epoch):
            samples = self.trainer.train_dataset if self.samples is None else self.samples
            self.epic(epoch, model, self.trainer.get_test_dataloader(samples), **self.how)
            state.stateful_callbacks[_STATE] = self.epic.state_dict()
        self.sampler.set_epoch(epoch)


def train_with_epic(trainer: Any, epic: Epic, samples: Any = None, **how: Any) -> None:
    """Have a trainer draw only what EPIC keeps; its checkpoints then hold what was dropped.

    Epochs keep their length, by a second draw of the kept: learning-rate schedules and resuming count on it.

    Args:
        trainer: In one process. Call this before ``trainer.train()``.
        epic: With the labels of ``trainer.train_dataset``, in its order.
        samples: The same samples without augmentation, if the trainer's own are augmented.
        how: ``head`` and ``forward`` of ``Epic``.
    """
    if trainer.args.world_size > 1:
        raise UsageError(f"expected a trainer in one process, got {trainer.args.world_size}: EPIC looks at all samples")
    if trainer.train_dataset is None or len(trainer.train_dataset) != len(epic.labels):
        raise UsageError(f"expected a trainer with {len(epic.labels):,} samples to train on, as EPIC has labels for")
    sampler = KeptSampler(epic, seed=trainer.args.seed, refill=True)
    trainer._get_train_sampler = lambda *_: sampler  # its name in every version; a subclass would have to override it
    trainer.add_callback(EpicCallback(trainer, epic, sampler, samples, **how))
