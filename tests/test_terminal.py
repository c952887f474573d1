"""What reaches a terminal: nothing that acts, nothing that is cut, nothing that its letters cannot write."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from toy_cli import entry, verdict

from sanitizer.terminal import ENDLESS, Screen, say, shortened, show_table, tell, visible

COLUMNS = ("class", "samples", "planted", "label suspects", "evidence")
ROW = ("a class with a longer name", "50,000", "501", "12", "12.34")


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal is that runs the tests."""
    for name in ("COLUMNS", "LC_ALL", "LANG", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


class Stream(io.StringIO):
    """A stream that takes what an encoding knows."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.name_of_encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What it says of itself."""
        return self.name_of_encoding


def screen(width: int | None = 80, encoding: str = "utf-8") -> Screen:
    """A screen that keeps what is said; no width: a pipe."""
    stream = Stream(encoding)
    return Screen(file=stream) if width is None else Screen(file=stream, width=width)


def shown(made: Screen) -> str:
    """All that was said."""
    assert isinstance(made.file, Stream)
    return made.file.getvalue()


@given(st.text(max_size=80), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_text_is_one_line_of_what_the_stream_can_write(text: str, encoding: str) -> None:
    """No control character, no line break, no letter that it does not know; never an error."""
    to = screen(5, encoding)
    say(text, to=to)
    said = shown(to)
    assert said.endswith("\n")
    assert said[:-1].isprintable()
    assert said.encode(encoding)
    if encoding == "utf-8":
        assert said[:-1] == visible(text)


@given(st.lists(st.text("abc\u4e2d-/.", min_size=1, max_size=30), min_size=1, max_size=20), st.integers(10, 60))
def test_prose_is_broken_between_words_only(words: list[str], width: int) -> None:
    """Every word is there in its order and in one piece; a line is too wide only if it is a single word."""
    to = screen(width)
    tell("  " + " ".join(words), to=to)
    lines = shown(to).splitlines()
    assert " ".join(line.strip() for line in lines) == " ".join(words)
    assert all(line.startswith("  ") for line in lines)
    assert all(cell_len(line) <= width or " " not in line.strip() for line in lines)


def test_what_is_copied_is_never_broken() -> None:
    """The terminal may wrap it: what is copied from there is still whole."""
    to, name = screen(20), "a/folder with spaces/" + "x" * 300
    say(f"  {name}", to=to)
    assert shown(to) == f"  {name}\n"


def test_a_pipe_has_no_width_unless_somebody_gives_it_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program wants one line a thing; a person who sets COLUMNS wants lines that fit."""
    assert screen(None).width == ENDLESS
    to = screen(None)
    tell("word " * 100, to=to)
    assert shown(to).count("\n") == 1
    monkeypatch.setenv("COLUMNS", "40")
    assert screen(None).width == 40


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_figure_of_a_table_is_cut_or_broken(width: int) -> None:
    """They keep their place beside the name, or are told in words where there is none."""
    to = screen(width)
    show_table("", COLUMNS, [ROW], figures=True, to=to)
    said = shown(to)
    assert all(figure in said.replace("\n", " ").split() or f"{figure}," in said for figure in ROW[1:])
    assert all(cell_len(line) <= width for line in said.splitlines())
    assert all(word in said.replace("\n", " ") for column in COLUMNS for word in column.split())
    assert ("class a class" in " ".join(said.split())) == (width <= 40)


def test_figures_stand_below_each_other() -> None:
    """Their last digits in one column."""
    to = screen(80)
    show_table("A title", ("name", "figure"), [("a", "1"), ("b", "1,000")], figures=True, to=to)
    assert [line.rstrip() for line in shown(to).splitlines()] == [
        "A title",
        "name  figure",
        "a          1",
        "b      1,000",
    ]


@pytest.mark.parametrize(("encoding", "dots"), [("utf-8", "…"), ("ascii", "..."), ("latin-1", "...")])
def test_dots_are_of_letters_that_are_known(encoding: str, dots: str) -> None:
    """And what was cut can be seen to be cut."""
    short = shortened("a name of a class that goes on and on", 20, screen(80, encoding))
    assert len(short) == 20
    assert short == f"{short.split(dots)[0]}{dots}{short.split(dots)[1]}"
    assert shortened("short", 20, screen(80, encoding)) == "short"


@pytest.mark.parametrize("variable", ["LC_ALL", "LANG"])
def test_the_plain_locale_gets_plain_lines_but_whole_names(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Python writes UTF-8 there: a name goes through as it is, and nothing of ours needs it."""
    monkeypatch.setenv(variable, "C")
    to = screen(80)
    assert to.options.ascii_only
    say("né", to=to)
    assert shown(to) == "né\n"


def test_nobody_watches_a_log() -> None:
    """Colours can be forced onto it; bars would be garbage there."""
    assert not Screen(file=Stream("utf-8"), force_terminal=True).watched


NAME = f"né中/{'x' * 60}.png"
#: ``sanitizer scan`` that comes at once to the verdict it is given.
SCAN = """
import sys
from pathlib import Path
from types import ModuleType
from sanitizer.record import Verdict
pipeline = ModuleType("sanitizer.pipeline")
pipeline.ScanSettings = lambda **given: None
pipeline.scan = lambda *given: Verdict.read(Path(sys.argv[4]))
sys.modules["sanitizer.pipeline"] = pipeline
from sanitizer.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verdict about names of many letters."""
    folder = tmp_path_factory.mktemp("verdict")
    verdict(planted=True, name=NAME, class_name="café", classes=[entry("café " * 20, suspicious=1)]).write(folder)
    return folder


def scan(folder: Path, pipe: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run that scan in a shell."""
    settings = {name: os.environ[name] for name in ("PATH", "HOME", "SANITIZER_STORE") if name in os.environ}
    words = [sys.executable, "-c", SCAN, "scan", "data", "--out", str(folder)]
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(words)} {pipe}"],
        capture_output=True, check=False, env=settings | environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C.UTF-8", "COLUMNS": "40"},
        {"LANG": "C"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "40"},
    ],
    ids=["utf8 in 40 columns", "the plain locale", "ascii on a dumb terminal"],
)
def test_a_scan_ends_well_wherever_it_is_run(folder: Path, environment: dict[str, str]) -> None:
    """Exit code, nothing on stderr, no control code; names whole, in the letters that there are."""
    done = scan(folder, **environment)
    said = done.stdout.decode()
    assert (done.returncode, done.stderr) == (1, b"")
    assert "\x1b" not in said
    ascii_only = "PYTHONIOENCODING" in environment
    assert f"  {NAME.encode('ascii', 'backslashreplace').decode() if ascii_only else NAME}" in said.splitlines()
    assert said.isascii() == ascii_only
    assert ("…" in said) == (environment.get("LC_ALL") == "C.UTF-8" and not ascii_only)


@pytest.mark.parametrize(("reader", "read"), [("| head -1", b"An answer.\n"), ("| true", b"")])
def test_a_reader_who_leaves_changes_no_answer(folder: Path, reader: str, read: bytes) -> None:
    """No traceback, no complaint, and the exit code is that of the scan."""
    done = scan(folder, reader)
    assert (done.returncode, done.stdout, done.stderr) == (1, read, b"")
