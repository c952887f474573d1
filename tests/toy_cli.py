"""The command line, run in the process of a test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from sanitizer import cli


class Answer(NamedTuple):
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer`` in this process, as its console script does."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sanitizer", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return Answer(int(caught.value.code or 0), said.out, said.err)

    return call
