"""What reaches the terminal: text that cannot command it, as wide as it is, in letters that it knows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

#: The width of what is no terminal: whatever reads a pipe or a file wants a line to be a line.
ENDLESS = 100_000
#: The least width of a table's first column; where there is less, each row becomes a paragraph.
ROOM_FOR_A_NAME = 16
_GAP = 2


class Screen(Console):
    """A console that takes text literally, has the width of its terminal if it is one, and outlives its reader."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **settings)
        if "width" not in settings and not self.is_terminal:
            columns = os.environ.get("COLUMNS", "")
            self.width = int(columns) if columns.isdigit() and int(columns) else ENDLESS

    @property
    def encoding(self) -> str:
        """What lines, bars and dots may be drawn with: ASCII where the locale asks for no more."""
        plain = (os.environ.get("LC_ALL") or os.environ.get("LANG")) in ("C", "POSIX")
        return "ascii" if plain else super().encoding

    @property
    def letters(self) -> str:
        """What names may be written with: whatever the stream takes, for a name is copied from here."""
        return getattr(self.file, "encoding", None) or "utf-8"

    @property
    def watched(self) -> bool:
        """Whether somebody sees things move: colours can be forced onto a log file, eyes cannot."""
        return self.is_interactive and bool(self.file.isatty())

    def on_broken_pipe(self) -> None:
        """The reader has left (``| head -1``): say no more, but finish, so that the exit code is still the answer."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


out = Screen()
err = Screen(stderr=True)


def say(text: str, *, style: str = "", to: Screen = out) -> None:
    """One line, and nothing but this line, never broken by us: what is in it can be copied."""
    to.print(_said(text, to), style=style)


def tell(text: str, *, style: str = "", to: Screen = out) -> None:
    """Prose: broken between words as the width has it, every line indented as the first is; words stay whole."""
    said = _said(text, to)
    margin = " " * (len(said) - len(said.lstrip(" ")))
    for line in _lines(said.lstrip(" "), to.width - len(margin)):
        to.print(margin + line, style=style)


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool = False, to: Screen = out
) -> None:
    """A table; what does not fit is wrapped within its column.

    Args:
        title: Stands above it, unless it is empty.
        columns: What the columns are called.
        rows: Their cells.
        figures: All columns but the first hold numbers: they are aligned and never wrapped. Where the first has no
            room beside them, each row is told instead.
        to: Where it goes.
    """
    from rich.table import Table

    if figures and _too_wide(columns, rows, to.width):
        for row in rows:
            first, *others = (f"{name} {cell}" for name, cell in zip(columns, row, strict=True))
            tell(f"  {first}: {', '.join(others)}", to=to)
        return
    heading = Text(_said(title, to)) if title else None
    made = Table(title=heading, title_justify="left", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for place, column in enumerate(columns):
        figure = figures and place > 0
        made.add_column(Text(_said(column, to)), overflow="fold", justify="right" if figure else "left", no_wrap=figure)
    for row in rows:
        made.add_row(*(Text(_said(cell, to)) for cell in row))
    to.print(made)


def _too_wide(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the figures leave no room for the names before them."""
    widest = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    return min(widest[0], ROOM_FOR_A_NAME) + sum(each + _GAP for each in widest[1:]) > width


def shortened(text: str, most: int, to: Screen = out) -> str:
    """Start and end of a long name, with dots between them that the console can show.

    >>> shortened("abcdefghijklmnop", 12, Screen(width=80))[-3:]
    'nop'
    """
    dots = "..." if to.options.ascii_only else "…"
    kept = most - len(dots)
    return text if len(text) <= most else f"{text[: kept - kept // 3]}{dots}{text[-(kept // 3) :]}"


def visible(text: str) -> str:
    """Control characters, line breaks and direction marks as escapes.

    >>> visible("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _lines(text: str, width: int) -> Iterator[str]:
    """As many words a line as fit; a word that is wider than all of it has a line of its own.

    >>> list(_lines("a rose is verylong", 6))
    ['a rose', 'is', 'verylong']
    """
    line, *words = text.split(" ")
    for word in words:
        if cell_len(line) + 1 + cell_len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}"
    yield line


def _said(text: str, to: Screen) -> str:
    """Text as a console can show it, whatever it knows of letters."""
    return visible(text).encode(to.letters, "backslashreplace").decode(to.letters)
