"""Partition and vote: who trains on what, and how many poisons the vote survives, by trying all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sanitizer.errors import UsageError
from sanitizer.training.partition import (
    Labels,
    PartitionVote,
    Predict,
    certificate,
    certified_accuracy,
    partition,
    tally,
    winners,
)  # fmt: skip

CONTENTS = [bytes([number, 7]) for number in range(40)]


def changed(votes: tuple[int, ...], poisons: int, classes: int) -> Iterator[tuple[int, ...]]:
    """All votes that differ in at most so many places; -1 is that of a part that has become empty."""
    for places in itertools.combinations(range(len(votes)), poisons):
        for said in itertools.product(range(-1, classes), repeat=poisons):
            other = list(votes)
            for place, vote in zip(places, said, strict=True):
                other[place] = vote
            yield tuple(other)


def winner(votes: tuple[int, ...], classes: int) -> int:
    """By hand: the most votes, the first class among equals."""
    return min(range(classes), key=lambda kind: (-votes.count(kind), kind))


@pytest.mark.parametrize(("parts", "classes"), [(1, 2), (4, 2), (5, 2), (4, 3), (5, 3), (4, 4)])
def test_the_certificate_is_exact(parts: int, classes: int) -> None:
    """For all votes there are: no change of so many votes turns the winner, and some change of one more does."""
    every = list(itertools.product(range(classes), repeat=parts))
    promised = certificate(tally(np.array(every), classes))
    for votes, survived in zip(every, promised, strict=True):
        held = winner(votes, classes)
        assert all(winner(other, classes) == held for other in changed(votes, int(survived), classes))
        assert any(winner(other, classes) != held for other in changed(votes, int(survived) + 1, classes))


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=5))
def test_votes_that_are_missing_promise_nothing_false(votes: list[int]) -> None:
    """A poison may fill an empty part, or empty one."""
    counts = tally(np.array([votes]), 4)
    held = winner(tuple(votes), 4)
    assert winners(counts)[0] == held
    for poisons in range(int(certificate(counts)[0]) + 1):
        assert all(winner(other, 4) == held for other in changed(tuple(votes), poisons, 4))


def test_certified_accuracy_falls_with_the_poisons() -> None:
    """From plain accuracy down to nothing."""
    rng = np.random.default_rng(0)
    counts, answers = tally(rng.integers(0, 3, (200, 9)), 3), rng.integers(0, 3, 200)
    shares = [certified_accuracy(counts, answers, poisons) for poisons in range(7)]
    assert shares[0] == (winners(counts) == answers).mean()
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[1] > shares[-1] == 0


def test_the_content_alone_decides_on_the_part() -> None:
    """Not the order, not what else there is; all parts are used."""
    home = partition(CONTENTS, 5)
    assert partition(CONTENTS[::-1], 5).tolist() == home[::-1].tolist()
    assert partition(CONTENTS[7:8], 5)[0] == home[7]
    assert sorted(set(home.tolist())) == [0, 1, 2, 3, 4]


def majority(labels: Labels) -> tuple[list[list[int]], PartitionVote]:
    """A vote of models that say the label most frequent where they learned, and the rows that each learned from."""
    seen: list[list[int]] = []

    def fit(rows: NDArray[np.intp]) -> Predict:
        seen.append(rows.tolist())
        said = np.bincount(labels[rows], minlength=3).argmax()
        return lambda inputs: np.full(len(inputs), said)

    return seen, PartitionVote.fit(fit, CONTENTS[: len(labels)], parts=7, classes=3)


def test_every_sample_is_learned_by_one_model() -> None:
    """The one of its part; an empty part has no model and no vote."""
    labels = np.arange(6) % 3
    seen, vote = majority(labels)
    home = partition(CONTENTS[:6], 7)
    assert sorted(itertools.chain(*seen)) == list(range(6))
    assert all(len(set(home[rows].tolist())) == 1 for rows in seen)
    assert sum(model is None for model in vote.models) == 7 - len(set(home.tolist()))
    assert vote.counts(np.zeros(4)).sum(axis=1).tolist() == [len(seen)] * 4


def test_rows_come_in_the_order_of_their_content() -> None:
    """However the samples are listed, a model learns from the same ones in the same order."""
    orders: list[list[list[bytes]]] = []
    for contents in (CONTENTS, CONTENTS[::-1]):
        learned: list[list[bytes]] = []

        def fit(rows: NDArray[np.intp], held: list[bytes] = contents, into: list[list[bytes]] = learned) -> Predict:
            into.append([held[row] for row in rows])
            return lambda inputs: np.zeros(len(inputs), np.int64)

        PartitionVote.fit(fit, contents, parts=3, classes=2)
        orders.append(learned)
    assert orders[0] == orders[1]


def test_no_set_of_relabelled_samples_beats_the_certificate() -> None:
    """The whole of it, with models that are trained anew for every poisoned set."""
    clean = np.zeros(12, np.int64)
    clean[:3] = 1
    counts = majority(clean)[1].counts(np.zeros(1))
    held, survived = winners(counts)[0], int(certificate(counts)[0])
    assert survived >= 1
    for rows in itertools.combinations(range(12), survived):
        for said in itertools.product(range(3), repeat=survived):
            poisoned = clean.copy()
            poisoned[list(rows)] = said
            assert winners(majority(poisoned)[1].counts(np.zeros(1)))[0] == held


def test_what_cannot_be_meant_is_refused() -> None:
    """In one line each."""
    with pytest.raises(UsageError, match=r"^parts: expected"):
        partition(CONTENTS, 0)
    with pytest.raises(UsageError, match=r"^expected votes for classes 0 to 1"):
        tally(np.array([[2]]), 2)
    with pytest.raises(UsageError, match="two classes"):
        certificate(np.array([[5]]))
    with pytest.raises(UsageError, match="at least one sample"):
        majority(np.zeros(0, np.int64))[1].counts(np.zeros(1))
