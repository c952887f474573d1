"""The cost meter: two stopwatches, and what they come to."""

from __future__ import annotations

import math

import pytest

from sanitizer.training.meter import CostMeter


class Clock:
    """Time passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def measured(batches: list[tuple[float, float]], *, warm_up: int = 0) -> CostMeter:
    """After batches of so many seconds of defence and of training, and as many of loading between them."""
    clock = Clock()
    meter = CostMeter(clock=clock, warm_up=warm_up)
    for defence, training in batches:
        clock.now += 7
        if defence:
            with meter.defence():
                clock.now += defence
        with meter.training():
            clock.now += training
    return meter


def test_the_factor_is_the_defended_time_over_the_plain_one() -> None:
    """Loading is in neither."""
    meter = measured([(3, 1)] * 4)
    assert (meter.plain, meter.defended, meter.factor, meter.batches) == (1, 0.25, 4, 4)
    assert str(meter) == "0.25 batches/s with the defence, 1 plain: 4 times the cost (4 batches)"


def test_the_first_batches_do_not_count() -> None:
    """They choose algorithms."""
    assert measured([(500, 100), (50, 1), (1, 1), (1, 1)], warm_up=2).factor == 2


def test_work_that_is_done_now_and_then_counts_in_full() -> None:
    """Where it was done matters not."""
    assert measured([(0, 1), (0, 1), (10, 1), (0, 1), (0, 1)]).factor == 3


@pytest.mark.parametrize("batches", [0, 2])
def test_before_anything_counts_nothing_is_said(batches: int) -> None:
    """No figure rather than a wrong one."""
    meter = measured([(1, 1)] * batches, warm_up=2)
    assert meter.batches == 0
    assert math.isnan(meter.factor)
    assert str(meter) == "cost not known yet: the first 2 batches do not count"


def test_it_has_a_clock_of_its_own() -> None:
    """Time that really passes."""
    meter = CostMeter(warm_up=0)
    with meter.training():
        sum(range(1000))
    assert meter.plain > 0
    assert meter.factor == 1
