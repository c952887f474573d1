"""The sampler: every kept index once an epoch, whoever loads, whenever resumed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from sanitizer.errors import UsageError
from sanitizer.training.sampler import KeptSampler


@dataclass
class Told:
    """Whoever says what is kept."""

    kept: np.ndarray


def keeping(*rows: int, of: int) -> Told:
    """These rows of so many."""
    return Told(np.isin(np.arange(of), rows))


@given(st.lists(st.booleans(), min_size=1, max_size=60).filter(any), st.integers(0, 5), st.integers(0, 5))
def test_every_kept_index_once_an_epoch(kept: list[bool], seed: int, epoch: int) -> None:
    """And no other; as many as it says."""
    sampler = KeptSampler(Told(np.array(kept)), seed=seed)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == np.flatnonzero(kept).tolist()
    assert len(sampler) == sum(kept)


@given(st.lists(st.booleans(), min_size=1, max_size=60).filter(any))
def test_refilled_epochs_have_one_length(kept: list[bool]) -> None:
    """Every kept index as often as any other, or once more; nobody comes again before all have come."""
    sampler = KeptSampler(Told(np.array(kept)), refill=True)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == len(kept)
    assert sorted(drawn[: sum(kept)]) == np.flatnonzero(kept).tolist()
    times = Counter(drawn).values()
    assert max(times) - min(times) <= 1


def test_seed_and_epoch_decide_the_order() -> None:
    """The same again for the same, another for others; no global state has a part in it."""
    everything = keeping(*range(50), of=50)
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            sampler = KeptSampler(everything, seed=seed)
            sampler.set_epoch(epoch)
            np.random.seed(len(orders))
            orders[seed, epoch] = tuple(sampler)
            assert tuple(sampler) == orders[seed, epoch]
    assert len(set(orders.values())) == 4


def test_what_is_dropped_meanwhile_is_gone_from_the_next_epoch() -> None:
    """One sampler, and one loader, for the whole run."""
    told = keeping(*range(20), of=20)
    loader = DataLoader(TensorDataset(torch.arange(20)), batch_size=6, sampler=KeptSampler(told))
    assert sum(len(batch) for (batch,) in loader) == 20
    told.kept = np.arange(20) >= 15
    assert len(loader) == 1
    assert sorted(torch.cat([batch for (batch,) in loader]).tolist()) == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("refill", [False, True])
def test_an_interrupted_epoch_goes_on_where_it_was(refill: bool) -> None:
    """What was trained on is skipped, in that epoch only."""
    sampler = KeptSampler(keeping(*range(3, 33), of=40), seed=7, refill=refill)
    sampler.set_epoch(4)
    whole = list(sampler)
    saved = sampler.state_dict()
    resumed = KeptSampler(keeping(*range(3, 33), of=40), refill=refill)
    resumed.load_state_dict(saved)
    assert list(resumed) == whole
    resumed.set_epoch(4, skip=11)
    assert len(resumed) == len(whole) - 11
    assert list(resumed) == whole[11:]
    resumed.set_epoch(5)
    assert len(list(resumed)) == len(whole)


def test_a_set_of_which_nothing_is_kept_is_refused() -> None:
    """Rather than an epoch without a step."""
    with pytest.raises(UsageError, match="nothing is kept"):
        list(KeptSampler(keeping(of=3)))


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_load_what_is_drawn(persistent: bool) -> None:
    """Two processes, three epochs, a drop in between."""
    told = keeping(*range(30), of=30)
    sampler = KeptSampler(told)
    loader = DataLoader(
        TensorDataset(torch.arange(30)), batch_size=4, sampler=sampler, num_workers=2, persistent_workers=persistent
    )
    for epoch in range(3):
        if epoch == 1:
            told.kept = np.arange(30) % 3 > 0
        sampler.set_epoch(epoch)
        met = torch.cat([batch for (batch,) in loader]).tolist()
        assert met == list(sampler)
        assert sorted(met) == np.flatnonzero(told.kept).tolist()
