"""Deep partition aggregation: a model for every part of the data, and a vote that so many poisons cannot turn.

Levine and Feizi 2021, arXiv:2006.14768. The part of a sample follows from its content alone, so a sample that is added,
removed or relabelled reaches one model, and one that is replaced by another reaches two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import UsageError

Labels = NDArray[np.int64]

#: Inputs, as the user's models take them -> the class that one model says for each, (m,).
Predict = Callable[[Any], Labels]
#: Rows of one part, in the order of their content -> a model. It must depend on nothing else: fix its seed.
Fit = Callable[[NDArray[np.intp]], Predict]

_NO_VOTE = -1


def partition(contents: Iterable[bytes], parts: int) -> NDArray[np.int64]:
    """The part of every sample: its bytes without its label, such as ``image.tobytes()``, decide.

    >>> partition([b"a", b"b", b"a"], 7).tolist()
    [1, 6, 1]
    """
    if parts < 1:
        raise UsageError(f"parts: expected at least 1, got {parts}")
    return np.array([int(hashlib.sha256(content).hexdigest(), 16) % parts for content in contents], np.int64)


@dataclass(frozen=True)
class PartitionVote:
    """One model for each part; None for a part that is empty, which does not vote."""

    models: tuple[Predict | None, ...]
    classes: int

    @classmethod
    def fit(cls, fit: Fit, contents: Iterable[bytes], *, parts: int, classes: int) -> PartitionVote:
        """Train a model on every part.

        Args:
            fit: Trains one, on the rows that it is given.
            contents: Of every sample, as ``partition`` takes them.
            parts: The more, the more poisons are survived, and the less each model has to learn from.
            classes: How many there are.
        """
        held = list(contents)
        home = partition(held, parts)
        models: list[Predict | None] = []
        for part in range(parts):
            rows = np.flatnonzero(home == part)
            # The order must not depend on what lies in other parts.
            ordered = np.array(sorted(rows.tolist(), key=lambda row: hashlib.sha256(held[row]).digest()), np.intp)
            models.append(fit(ordered) if len(ordered) else None)
        return cls(tuple(models), classes)

    def counts(self, inputs: Any) -> NDArray[np.int64]:
        """How many models say each class, (m, classes)."""
        said = [model(inputs) for model in self.models if model is not None]
        if not said:
            raise UsageError("expected at least one sample to train on, got none")
        return tally(np.stack(said, axis=1), self.classes)


def tally(votes: Labels, classes: int) -> NDArray[np.int64]:
    """Votes (m, parts), -1 where there is none -> how many each class got, (m, classes).

    >>> tally(np.array([[0, 2, 2, -1]]), 3).tolist()
    [[1, 0, 2]]
    """
    if votes.size and not (votes.min() >= _NO_VOTE and votes.max() < classes):
        raise UsageError(f"expected votes for classes 0 to {classes - 1}, got {votes.min()} to {votes.max()}")
    return np.asarray((votes[:, :, None] == np.arange(classes)).sum(axis=1), np.int64)


def winners(counts: NDArray[np.int64]) -> Labels:
    """The class with the most votes for each row, the first of those that share them.

    >>> winners(np.array([[1, 2, 2]])).tolist()
    [1]
    """
    return np.asarray(counts.argmax(axis=1), np.int64)


def certificate(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many samples may be added, removed or relabelled, whichever they are, without any change of the winner.

    Each of them can turn one vote of the winner c into one for another class c', so the vote survives
    floor((n_c - max(n_c' + [c' < c])) / 2) of them: an equal count is enough for a class that comes first.

    >>> certificate(np.array([[5, 1], [1, 5], [3, 3], [0, 6]])).tolist()
    [2, 1, 0, 2]
    """
    if counts.shape[1] < 2:
        raise UsageError(f"expected votes on at least two classes, got {counts.shape[1]}: nothing is to be decided")
    won = winners(counts)[:, None]
    kinds = np.arange(counts.shape[1])
    rivals = np.where(kinds == won, _NO_VOTE, counts + (kinds < won)).max(axis=1)
    return np.asarray((counts.max(axis=1) - rivals) // 2, np.int64)


def certified_accuracy(counts: NDArray[np.int64], answers: Labels, poisons: int) -> float:
    """The share of rows whose winner is right, and stays so whatever that many poisons are.

    >>> certified_accuracy(np.array([[5, 1], [3, 3], [0, 6]]), np.array([0, 0, 0]), 1)
    0.3333333333333333
    """
    return float(((winners(counts) == answers) & (certificate(counts) >= poisons)).mean())
