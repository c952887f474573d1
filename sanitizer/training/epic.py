"""EPIC (Yang et al. 2022): while a model trains, leave out the samples whose gradients stand alone in their class.

Bounded changes make only some poisons effective, and those have gradients unlike the rest of their class. So EPIC does
not look for all poison: judge it by whether attacks still succeed. What it costs in accuracy grows with every round.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset

from detectors.base import Rows
from sanitizer.errors import UsageError
from sanitizer.training.gradients import Forward, LastLayer, last_layer
from sanitizer.training.isolation import isolation, similarity_unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dropped:
    """One sample that is not trained on any more, and why."""

    epoch: int
    row: int
    id: str
    label: int
    distance: float  # to the nearest other gradient of its class
    typical: float  # the median of that in its class

    @property
    def why(self) -> str:
        """For people."""
        return (
            f"From epoch {self.epoch} on, its gradient stood alone in class {self.label}: {self.distance:.3g} from the "
            f"nearest other, where {self.typical:.3g} is usual."
        )


@dataclass(frozen=True)
class Round:
    """One look at the gradients."""

    epoch: int
    isolated: int  # of those still kept; more than were dropped where a cap spared some
    dropped: tuple[Dropped, ...]


class Epic:
    """Call it at the start of every epoch; draw batches from what is ``kept`` (see ``KeptSampler``).

    As published, gradients are those of the logits, similarity is exp(-distance / classes), and the dropped remain
    among those who are compared, which keeps the next ones in from becoming the outermost. Unlike the published code,
    classes may differ in size, and caps hold: a set as small as 500 would lose most of its samples otherwise.

    Args:
        labels: Of the whole training set, in the order of its samples.
        ids: Names for the log; ``#ROW`` if left out.
        share: Medoids, as a share of each class. The paper's 0.1, 0.2 and 0.3 drop more and more.
        every: Epochs between two looks.
        warmup: The first epoch, from 0, that may drop: before, gradients say little.
        until: The last epoch that may drop: that of the last drop of the learning rate.
        max_drop: The most of the set that is ever dropped; the loneliest go first.
        max_class_drop: The most of a class that is ever dropped.
        smallest_class: Classes with fewer samples lose none.
        dense_up_to: The largest class whose pairs are all compared, in 12 bytes each; larger ones are compared by
            nearest neighbours.
        neighbors: How many of these.
        weights: Whether to compare gradients of the last layer's weights, not of the logits.
    """

    def __init__(
        self,
        labels: ArrayLike,
        *,
        ids: Sequence[str] | None = None,
        share: float = 0.2,
        every: int = 2,
        warmup: int = 10,
        until: int | None = None,
        max_drop: float = 0.2,
        max_class_drop: float = 0.5,
        smallest_class: int = 10,
        dense_up_to: int = 5_000,
        neighbors: int = 64,
        weights: bool = False,
    ) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.ids = ids
        self.share = share
        self.every = every
        self.warmup = warmup
        self.until = until
        self.max_drop = max_drop
        self.max_class_drop = max_class_drop
        self.smallest_class = smallest_class
        self.dense_up_to = dense_up_to
        self.neighbors = neighbors
        self.weights = weights
        self.rounds: list[Round] = []
        _require_sound(self)

    @classmethod
    def as_published(cls, labels: ArrayLike, **schedule: Any) -> Epic:
        """The paper's own choices: all pairs of every class, and no caps but that no class disappears.

        Two accidents of the published code are left out: cluster numbers that collide where classes differ in size,
        and logits without the last layer's bias.
        """
        everything = {"max_drop": 1.0, "max_class_drop": 1.0, "smallest_class": 2, "dense_up_to": np.size(labels)}
        return cls(labels, **(everything | schedule))

    @property
    def log(self) -> tuple[Dropped, ...]:
        """Everything dropped so far, in the order of epochs; within one, the loneliest first."""
        return tuple(found for one in self.rounds for found in one.dropped)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) what is trained on: whoever was dropped once never returns."""
        kept = np.ones(len(self.labels), dtype=bool)
        kept[[found.row for found in self.log]] = False
        return kept

    def due(self, epoch: int) -> bool:
        """Whether this epoch, from 0, begins with a look at the gradients, and had none yet."""
        seen = bool(self.rounds) and self.rounds[-1].epoch >= epoch
        ended = self.until is not None and epoch > self.until
        return epoch >= self.warmup and epoch % self.every == 0 and not ended and not seen

    def __call__(
        self,
        epoch: int,
        model: nn.Module,
        samples: Dataset[Any] | DataLoader[Any],
        *,
        head: nn.Module | str | None = None,
        forward: Forward | None = None,
    ) -> tuple[Dropped, ...]:
        """What this epoch drops, most often nothing; ``samples``: the whole set, in order, without augmentation."""
        if not self.due(epoch):
            return ()
        gradients = last_layer(model, samples, self.labels, head=head, with_feature=self.weights, forward=forward)
        device = next((str(tensor.device) for tensor in model.parameters()), "cpu")
        return self.drop(epoch, gradients, device=device if device.startswith("cuda") else "cpu")

    def drop(self, epoch: int, gradients: LastLayer, *, device: str = "cpu") -> tuple[Dropped, ...]:
        """One look, due or not: the isolated among these gradients, as far as the caps allow."""
        kept, unit = self.kept, similarity_unit(gradients)
        found: list[Dropped] = []
        for label in np.unique(self.labels).tolist():
            rows = self.rows(label)
            if len(rows) < max(self.smallest_class, 2):
                continue
            look = isolation(
                gradients, rows, self.share,
                unit=unit, dense=len(rows) <= self.dense_up_to, neighbors=self.neighbors, device=device,
            )  # fmt: skip
            for position in np.flatnonzero(look.alone & kept[rows]).tolist():
                row, distance = int(rows[position]), float(look.distances[position])
                found.append(Dropped(epoch, row, self._id(row), label, distance, look.typical))
        found.sort(key=lambda one: (-one.distance, one.row))
        dropped = self._within_caps(found, kept)
        self.rounds.append(Round(epoch, len(found), dropped))
        log.info("epoch %d: %d gradients stand alone, %d samples dropped", epoch, len(found), len(dropped))
        return dropped

    def _within_caps(self, found: list[Dropped], kept: NDArray[np.bool_]) -> tuple[Dropped, ...]:
        """The first of these that the set and each class can still spare."""
        spare = int(self.max_drop * len(kept)) - int((~kept).sum())
        of_class: dict[int, int] = {}
        for label in {one.label for one in found}:
            rows = self.rows(label)
            of_class[label] = min(int(self.max_class_drop * len(rows)), len(rows) - 1) - int((~kept[rows]).sum())
        dropped: list[Dropped] = []
        for one in found:
            if len(dropped) < spare and of_class[one.label] > 0:
                of_class[one.label] -= 1
                dropped.append(one)
        return tuple(dropped)

    def rows(self, label: int) -> Rows:
        """The samples of a class."""
        return np.flatnonzero(self.labels == label)

    def _id(self, row: int) -> str:
        return f"#{row}" if self.ids is None else str(self.ids[row])

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for a checkpoint or JSON: with it, the rest of the run is what it would have been."""
        return {"labels": _digest(self.labels), "rounds": [asdict(one) for one in self.rounds]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        if state["labels"] != _digest(self.labels):
            raise UsageError("expected the state of a run on these labels, got that of another: load what belongs here")
        self.rounds = [
            Round(one["epoch"], one["isolated"], tuple(Dropped(**found) for found in one["dropped"]))
            for one in state["rounds"]
        ]


def _digest(labels: NDArray[np.int64]) -> str:
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def _require_sound(epic: Epic) -> None:
    """Settings that can be meant."""
    if epic.labels.ndim != 1 or not len(epic.labels):
        raise UsageError(f"labels: expected one for each sample, got an array of shape {epic.labels.shape}")
    if epic.ids is not None and len(epic.ids) != len(epic.labels):
        raise UsageError(f"ids: expected one for each of {len(epic.labels):,} labels, got {len(epic.ids):,}")
    for name in ("share", "max_drop", "max_class_drop"):
        if not 0 < getattr(epic, name) <= 1:
            raise UsageError(f"{name}: expected a share above 0 and up to 1, got {getattr(epic, name)}")
    for name in ("every", "neighbors"):
        if getattr(epic, name) < 1:
            raise UsageError(f"{name}: expected at least 1, got {getattr(epic, name)}")
