"""Progress as people see it: bars on a terminal, nothing at all where nobody looks or nobody wants to know."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from sanitizer.progress import SILENT, Advance
from sanitizer.progress import Progress as Listener
from sanitizer.terminal import Screen, err

#: Below this width there is no bar, and a share in place of two counts.
ROOM_FOR_A_BAR = 72


@contextlib.contextmanager
def bars(to: Screen = err) -> Iterator[Bars]:
    """Stage names, counts, items a second and the time left on a terminal; silence elsewhere."""
    narrow = to.width < ROOM_FOR_A_BAR
    between = (Share(),) if narrow else (BarColumn(bar_width=20), Count())
    columns = (TextColumn("{task.description}"), *between, Rate(), TimeRemainingColumn())
    with Progress(*columns, console=to, disable=not to.watched) as shown:
        yield Bars(shown)


@contextlib.contextmanager
def silence() -> Iterator[Listener]:
    """Nothing is said while the work lasts: no progress, no warnings. Errors end the work, and are said by others."""
    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield SILENT
    finally:
        log.setLevel(before)


class Bars:
    """Shows every stage as a bar."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """A bar for as long as the stage lasts, full when it ends well."""
        task = self._shown.add_task(name, total=total)
        yield lambda count: self._shown.advance(task, count)
        done = self._shown.tasks[task].completed or 1
        self._shown.update(task, total=done, completed=done)


class Count(ProgressColumn):
    """How many items of how many."""

    def render(self, task: Task) -> Text:
        """Without a total only what is done."""
        done = f"{task.completed:,.0f}"
        return Text(done if task.total is None else f"{done}/{task.total:,.0f}")


class Share(ProgressColumn):
    """The same where there is no room for two numbers."""

    def render(self, task: Task) -> Text:
        """Without a total what is done."""
        return Text(f"{task.completed:,.0f}" if task.total is None else f"{task.percentage:.0f}%")


class Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """Empty until it can be told; at the end that of the whole stage."""
        if task.completed <= 1:  # a stage that counts nothing
            return Text("")
        speed = task.completed / task.elapsed if task.finished and task.elapsed else task.speed
        return Text("" if speed is None else f"{_short(speed)}/s")


def _short(speed: float) -> str:
    """A rate in a few letters.

    >>> [_short(speed) for speed in (0.25, 9.94, 1234, 56789)]
    ['0.2', '9.9', '1,234', '57k']
    """
    if speed >= 10_000:
        return f"{speed / 1000:,.0f}k"
    return f"{speed:,.{0 if speed >= 10 else 1}f}"
