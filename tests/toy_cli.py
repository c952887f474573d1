"""The command line, run in the process of a test, and what a scan could have come to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from sanitizer import cli
from sanitizer.record import Verdict


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


def row(name: str, **columns: Any) -> dict[str, Any]:
    """A row of a verdict table."""
    return {
        "id": name, "digest": "0", "view_digest": "0", "status": "scanned", "label": 0, "label_name": "cat",
        "suspicious": True, "kind": "planted", "score": 9.0, "p_value": 1e-9, "reasons": ["It stands apart."],
        "nearest": [],
    } | columns  # fmt: skip


def entry(name: str = "cat", **columns: Any) -> dict[str, Any]:
    """A class as the summary of a verdict holds it."""
    return {
        "name": name, "size": 10, "score": 9.0, "hidden": False, "suspicious": 0, "label_suspects": 0, "reason": ""
    } | columns  # fmt: skip


def verdict(*, planted: bool = False, incomplete: tuple[str, ...] = (), refused: int = 0, name: str = "a.png",
            class_name: str = "cat", **parts: Any) -> Verdict:  # fmt: skip
    """A verdict as a scan could have made it; ``parts`` replace those of its summary."""
    return Verdict(
        pa.Table.from_pylist([row(name, suspicious=planted, label_name=class_name)]),
        {
            "answer": {"poison_found": planted, "planted": int(planted), "label_suspects": 0,
                       "sentence": "An answer.", "power": "Looks for little."},
            "counts": {"scanned": 1234, "unreadable": 0, "refused": refused, "ignored": 0},
            "classes": [entry(class_name, suspicious=int(planted), reason="two groups")],
            "calibration": {"kind": "self", "says": "Self-calibrated."},
            "detectors": {"run": [], "not_run": []},
            "incomplete": list(incomplete),
            "notes": [],
            "parameters": {},
        }
        | parts,
    )  # fmt: skip


def assert_one_line(answer: Answer, *parts: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that holds the parts, no traceback."""
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("sanitizer: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert "please report" not in answer.err
    assert len(answer.err) < 500
    for part in parts:
        assert part in answer.err
