"""What a scan would read of a source: the census, taken under every rule that holds for hostile input."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from sanitizer.errors import SanitizerError
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from tests.hostile.book import state_of

#: Seconds for any kind of input; most take a hundredth of one. Machines that run tests are busy.
PATIENCE = 10


def census_of(path: Path) -> Census:
    """The census of a source, counted and told apart, with nothing changed and nothing left running late."""
    before, started = state_of(path.parent), time.monotonic()
    try:
        census = take_census(open_source(str(path)))
    finally:
        assert time.monotonic() - started < PATIENCE
        assert state_of(path.parent) == before
    ids = [sample.id for sample in census.samples] + [other.id for other in census.others]
    assert len(set(ids)) == len(ids) == sum(census.counts.values())
    for other in census.others:
        assert other.reason.isprintable()
        assert other.content is None
    return census


def statuses_of(path: Path) -> Counter[str]:
    """How many items ended with each status; ``error: 1`` where the whole source is refused, in one printable line."""
    try:
        return Counter({str(status): count for status, count in census_of(path).counts.items() if count})
    except SanitizerError as why:
        line = str(why)
    assert_showable(line)
    return Counter({"error": 1})


def assert_showable(line: str) -> None:
    """What is said of hostile input can be shown on any terminal."""
    assert line.isprintable()
    assert 0 < len(line) < 1500


def counted(outcome: str) -> Counter[str]:
    """An outcome as it is written down: "2 scanned 1 refused", "scanned scanned refused", "error".

    >>> counted("2 scanned -scanned refused") == {"scanned": 1, "refused": 1}
    True
    """
    counts: Counter[str] = Counter()
    times = 1
    for word in outcome.split():
        if word.isdecimal():
            times = int(word)
        else:
            counts[word.removeprefix("-")] += -times if word.startswith("-") else times
            times = 1
    return Counter({word: count for word, count in counts.items() if count})
