"""What reaches the terminal: text that cannot command it, and progress bars where somebody is looking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from sanitizer.progress import Advance

_LITERAL: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
out = Console(**_LITERAL)
err = Console(stderr=True, **_LITERAL)


def say(text: str, *, style: str = "", to: Console = out) -> None:
    """One line, and nothing but this line: names come from the data, and may hold anything."""
    to.print(_said(text, to), style=style)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; what does not fit is wrapped within its column."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(_said(title, out)), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(Text(_said(column, out)), overflow="fold")
    for row in rows:
        made.add_row(*(Text(_said(text, out)) for text in row))
    out.print(made)


def visible(text: str) -> str:
    """Control characters, line breaks and direction marks as escapes.

    >>> visible("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _said(text: str, to: Console) -> str:
    """Text as a console can show it, whatever it knows of letters."""
    return visible(text).encode(to.encoding, "backslashreplace").decode(to.encoding)


@contextlib.contextmanager
def bars() -> Iterator[Bars]:
    """Progress with stage names, counts and the time left on a terminal; silence elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as shown:
        yield Bars(shown)


class Bars:
    """Shows every stage as a bar."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """A bar for as long as the stage lasts, full when it ends well."""
        task = self._shown.add_task(name, total=total)
        yield lambda count: self._shown.advance(task, count)
        done = self._shown.tasks[task].completed or 1
        self._shown.update(task, total=done, completed=done)
