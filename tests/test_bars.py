"""Progress: what a stage is called, how far it is, how fast and how long still; and nothing where nobody looks."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from typing import Any

import pytest
from rich.text import Text

from sanitizer.bars import ROOM_FOR_A_BAR, bars, silence
from sanitizer.progress import SILENT
from sanitizer.terminal import Screen


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal is that runs the tests."""
    for name in ("COLUMNS", "LC_ALL", "LANG", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def watch(stream: io.StringIO, **settings: Any) -> str:
    """What is written while a set is read and a probe is trained."""
    with bars(Screen(file=stream, **settings)) as progress:
        with progress.stage("reading", None) as advance:
            advance(1797)
            time.sleep(0.1)
        with progress.stage("training the probe", 50_000) as advance:
            advance(20_000)
            time.sleep(0.02)
            advance(20_000)
            time.sleep(0.15)
    return stream.getvalue()


def last_frame(written: str) -> list[str]:
    """The lines that stay on the screen."""
    return [line.rstrip() for line in Text.from_ansi(written.split("\x1b[2K")[-1]).plain.splitlines() if line.strip()]


def test_on_a_wide_terminal_everything_is_said() -> None:
    """Names, counts, items a second, the time left."""
    reading, training = last_frame(watch(Terminal(), width=100))[:2]
    assert reading.startswith("reading ")
    assert "1,797/1,797" in reading
    assert "40,000/40,000" in training
    assert "/s " in training
    assert training.endswith("0:00:00")
    assert "━" in training


@pytest.mark.parametrize("width", [40, ROOM_FOR_A_BAR - 1, ROOM_FOR_A_BAR, 80])
def test_no_line_is_cut(width: int) -> None:
    """Where there is no room, the bar goes and a share takes the place of counts."""
    written = watch(Terminal(), width=width)
    lines = Text.from_ansi(written.replace("\x1b[2K", "\n").replace("\r", "\n")).plain.splitlines()
    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    assert ("━" in written) == (width >= ROOM_FOR_A_BAR)


@pytest.mark.parametrize("forced", [False, True], ids=["pipe", "pipe with colours"])
def test_nothing_is_written_into_a_pipe(forced: bool) -> None:
    """Not even a control code."""
    assert watch(io.StringIO(), force_terminal=forced or None) == ""


def test_nothing_is_written_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not take back what was written."""
    monkeypatch.setenv("TERM", "dumb")
    assert watch(Terminal(), width=80) == ""


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: cursor movements stay, colours go."""
    assert "\x1b[36m" in watch(Terminal(), width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in watch(Terminal(), width=80)


def test_bars_are_of_letters_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASCII in the plain locale."""
    monkeypatch.setenv("LC_ALL", "C")
    written = watch(Terminal(), width=100)
    assert written.isascii()
    assert "----" in written


def test_silence_is_lifted_whatever_happens() -> None:
    """Also by an error."""
    root = logging.getLogger()
    before = root.level
    with contextlib.suppress(RuntimeError), silence() as progress:
        assert (progress, root.level) == (SILENT, logging.ERROR)
        raise RuntimeError
    assert root.level == before
