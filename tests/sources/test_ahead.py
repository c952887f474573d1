"""Work done ahead: the same results, errors where they belong, and nothing that goes on afterwards."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from sanitizer.sources.ahead import Ahead


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_results_are_those_of_the_work(threads: int) -> None:
    """Each promise gives its own, in whatever order they are asked for."""
    with Ahead[int](threads=threads) as helpers:
        promises = [helpers.ask(partial(pow, number, 2)) for number in range(20)]
        assert [promise() for promise in reversed(promises)] == [number**2 for number in reversed(range(20))]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_out_where_its_result_is_asked_for(threads: int) -> None:
    """And the work behind it is done."""
    with Ahead[float](threads=threads) as helpers:
        broken, whole = helpers.ask(lambda: 1 / 0), helpers.ask(lambda: 1 / 2)
        with pytest.raises(ZeroDivisionError):
            broken()
        assert whole() == 0.5


def test_results_weigh_until_they_are_taken() -> None:
    """So that whoever asks can stop asking."""
    with Ahead[bytes](len, threads=1) as helpers:
        first, second = helpers.ask(lambda: bytes(100)), helpers.ask(lambda: bytes(10))
        second()
        assert helpers.waiting == 100
        first()
        assert helpers.waiting == 0


def test_nothing_begins_while_somebody_needs_every_core() -> None:
    """It begins as soon as that has passed."""
    begun = threading.Event()
    with Ahead[None](threads=2) as helpers:
        with helpers.resting():
            promise = helpers.ask(begun.set)
            assert not begun.wait(0.05)
        promise()
    assert begun.is_set()


def test_who_leaves_early_waits_for_nothing_that_has_not_begun() -> None:
    """An interrupted scan ends, even in the middle of a rest."""
    done: list[int] = []

    def leave() -> None:
        with Ahead[None](threads=1) as helpers, helpers.resting():
            for number in range(1000):
                helpers.ask(partial(done.append, number))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert len(done) < 1000
