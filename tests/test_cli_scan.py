"""``scan`` on the command line: exit codes that mean what they say, and an end that names do nothing to."""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from toy_cli import Run, assert_one_line, row, runner, verdict

from sanitizer import pipeline
from sanitizer.errors import SourceError
from sanitizer.record import Verdict


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer``."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def scanning(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verdict | BaseException], list[Any]]:
    """Makes every scan end with a given verdict, or error; keeps what was asked."""

    def ends_with(result: Verdict | BaseException) -> list[Any]:
        asked: list[Any] = []

        def scan(*given: Any) -> Verdict:
            asked.extend(given)
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(pipeline, "scan", scan)
        return asked

    return ends_with


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (verdict(), 0),
        (verdict(planted=True), 1),
        (verdict(refused=1), 1),
        (verdict(planted=True, incomplete=("a detector failed",)), 2),
        (SourceError("expected images, got none: look"), 2),
        (RuntimeError("boom"), 2),
        (MemoryError(), 2),
        (RecursionError("deep"), 2),
        (KeyboardInterrupt(), 130),
    ],
    ids=["clean", "planted", "hostile", "incomplete", "source", "crash", "memory", "recursion", "interrupt"],
)
def test_the_exit_code_of_a_scan(run: Run, scanning: Any, result: Verdict | BaseException, code: int) -> None:
    """0, 1 and 2 as promised; a crash never looks like an answer."""
    scanning(result)
    answer = run("scan", "data", "--out", "verdict")
    assert answer.code == code
    assert "Traceback" not in answer.err
    assert answer.err.count("\n") <= 1
    if isinstance(result, Verdict):
        assert answer.out.startswith("An answer.\n1,234 scanned, ")
        assert answer.out.count("sanitizer explain verdict a.png\n") == result.suspicious().num_rows
        assert answer.out.endswith("Report: verdict/report.html\n")


def test_a_baseline_leaves_what_is_new(run: Run, scanning: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code, last lines and first samples are about that; the verdict before the scan counts."""
    from sanitizer.baseline import Baseline

    known: Counter[Any] = Counter({("0", "cat", "planted"): 1})
    monkeypatch.setattr(Baseline, "read", lambda _: Baseline(known, Counter()))
    scanning(verdict(planted=True))
    answer = run("scan", "data", "--out", "verdict", "--baseline", "old")
    assert (answer.code, "nothing was found" in answer.out, "a.png" in answer.out) == (0, True, False)
    known.clear()
    answer = run("scan", "data", "--out", "verdict", "--baseline", "old")
    assert (answer.code, "1 look planted" in answer.out, "a.png" in answer.out) == (1, True, True)


def test_a_baseline_that_is_none_starts_no_scan(run: Run, scanning: Any, tmp_path: Path) -> None:
    """One line, before hours of work."""
    asked = scanning(verdict())
    answer = run("scan", "data", "--out", "verdict", "--baseline", str(tmp_path))
    assert (answer.code, asked) == (2, [])
    assert "expected a verdict folder" in answer.err


def test_flags_become_settings(run: Run, scanning: Any) -> None:
    """One to one, every one of them."""
    asked = scanning(verdict())
    run("scan", "data", "--out", "there", "--detectors", "lof, dao", "--max-drop", "0.1", "--image-column", "i",
        "--label-column", "l", "--device", "cpu", "--seed", "7", "--budget", "fast", "--model", "timm:vit",
        "--reference", "net.safetensors", "--trusted", "clean", "--fdr", "0.01", "--store", "none",
        "--engine", "ray", "--decoding", "scaled")  # fmt: skip
    source, out, settings, _ = asked
    assert (source, out) == ("data", Path("there"))
    assert settings == SETTINGS
    untouched = pipeline.ScanSettings()
    assert not [name for name, value in asdict(settings).items() if value == getattr(untouched, name)]


SETTINGS = pipeline.ScanSettings(
    model="timm:vit", reference="net.safetensors", detectors=("lof", "dao"), trusted="clean", fdr=0.01, max_drop=0.1,
    image_column="i", label_column="l", device="cpu", seed=7, budget="fast", store="none", engine="ray",
    decoding="scaled",
)  # fmt: skip


def test_a_plan_is_asked_for_with_the_same_settings(run: Run, monkeypatch: pytest.MonkeyPatch, scanning: Any) -> None:
    """``--plan`` prints what will be needed with exit code 0; nothing is scanned, and no folder has to be named."""
    from sanitizer import plan

    asked: list[Any] = []
    made = plan.Plan(
        samples=50_000, bytes=15_000_000, known=0, computed=50_000, recalled=False,
        stages=(("training the probe", 130.0),), memory_bytes=1_800_000_000, disk_bytes=95_000_000,
    )  # fmt: skip
    monkeypatch.setattr(plan, "plan_scan", lambda *given: asked.append(given) or made)
    scanned = scanning(verdict())
    answer = run("scan", "data", "--plan", "--detectors", "lof, dao", "--max-drop", "0.1", "--image-column", "i",
        "--label-column", "l", "--device", "cpu", "--seed", "7", "--budget", "fast", "--model", "timm:vit",
        "--reference", "net.safetensors", "--trusted", "clean", "--fdr", "0.01", "--store", "none")  # fmt: skip
    assert (answer.code, answer.err, scanned) == (0, "", [])
    assert asked[0][:3] == ("data", replace(SETTINGS, engine="local", decoding="exact"), None)
    assert answer.out.splitlines()[0].startswith("50,000 samples, 15.0 MB; 0 of them known to the store")
    assert answer.out.splitlines()[-1] == "about 2 min 10 s, 1.8 GB of memory, 95.0 MB of disk"


def test_planted_samples_are_named_before_labels_in_doubt(run: Run, scanning: Any) -> None:
    """Three are named, and each label in doubt is called one, however high it scores."""
    made = verdict(planted=True)
    rows = [row(f"d{n}", kind="label", score=99.0, reasons=[]) for n in range(5)] + [row("p1"), row("p2", score=1.0)]
    scanning(Verdict(pa.Table.from_pylist(rows), made.summary))
    lines = run("scan", "data", "--out", "verdict").out.splitlines()
    start = lines.index("The most suspicious of 7 flagged samples:")
    assert lines[start + 1 : start + 7] == [
        "  p1", "    labelled cat, score 9: It stands apart.",
        "  p2", "    labelled cat, score 1: It stands apart.",
        "  d0", "    labelled cat, score 99: label in doubt: no reason was kept",
    ]  # fmt: skip


def test_what_was_compared_with_and_not_run_is_said(run: Run, scanning: Any) -> None:
    """A trusted calibration in its own words; detectors by name."""
    made = verdict()
    parts = {
        "calibration": {"kind": "trusted", "says": "Calibrated on 9 trusted samples."},
        "detectors": {"run": [], "not_run": [{"name": "spectral", "reason": "no labels"}]},
        "classes": [],
    }
    scanning(Verdict(made.table, {**made.summary, **parts}))
    lines = run("scan", "data", "--out", "verdict").out.splitlines()
    assert "Calibrated on 9 trusted samples." in lines
    assert "  not run: spectral; the report says why" in lines


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07.png",
    "a\nsanitizer: all clean",
    "[red]x[/red].png",
    "‮gnp.exe",
    ":skull:.png",
    "\\[x",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_from_the_data_are_shown_as_they_are_and_do_nothing(run: Run, scanning: Any, name: str) -> None:
    """No control character reaches the terminal, no markup and no emoji code is acted upon."""
    scanning(verdict(planted=True, name=name, class_name=name))
    answer = run("scan", "data", "--out", "verdict")
    assert all(letter.isprintable() or letter == "\n" for letter in answer.out)
    assert answer.out.count("\n") == 12
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)
    assert f"  class {shown}: two groups\n" in answer.out
    assert f"  {shown}\n    labelled {shown}, score 9: It stands apart.\n" in answer.out


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_errors_that_quote_the_data_do_nothing_either(run: Run, scanning: Any, name: str) -> None:
    """A message is one printable line, whatever is quoted in it."""
    scanning(SourceError(f"cannot read {name}: look"))
    answer = run("scan", "data", "--out", "verdict")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert all(letter.isprintable() for letter in answer.err.rstrip("\n"))
    assert ":skull:" in answer.err or ":skull:" not in name


def test_nothing_is_said_that_nobody_wants_to_hear(run: Run, scanning: Any) -> None:
    """``--quiet`` leaves the exit code; errors stay errors."""
    scanning(verdict(planted=True))
    assert run("scan", "data", "--out", "verdict", "--quiet") == (1, "", "")
    scanning(SourceError("expected images, got none: look"))
    assert run("scan", "data", "--out", "verdict", "--quiet") == (2, "", "sanitizer: expected images, got none: look\n")


def test_what_a_library_warns_of_is_not_said_either(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by logging nor by ``warnings``, and only while the scan lasts."""
    root = logging.getLogger()
    levels: list[int] = []

    def scan(*given: Any) -> Verdict:
        warnings.warn("careful", stacklevel=1)
        levels.append(root.level)
        return verdict()

    monkeypatch.setattr(pipeline, "scan", scan)
    before = root.level
    assert run("scan", "data", "--out", "verdict", "--quiet") == (0, "", "")
    assert (levels, root.level) == ([logging.ERROR], before)


@pytest.mark.parametrize("name", ["a.png", *HOSTILE], ids=ascii)
@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["", "quiet"])
def test_an_answer_for_programs(run: Run, scanning: Any, name: str, quiet: list[str]) -> None:
    """One object on one line of ASCII, and the same exit code."""
    scanning(verdict(planted=True, name=name))
    answer = run("scan", "data", "--out", "verdict", "--json", *quiet)
    assert (answer.code, answer.err, answer.out.count("\n"), answer.out.isascii()) == (1, "", 1, True)
    found = json.loads(answer.out)
    assert (found["exit_code"], found["poison_found"], found["samples"][0]["id"]) == (1, True, name)
    assert found["report"] == str(Path("verdict/report.html"))


def test_an_error_is_no_answer(run: Run, scanning: Any) -> None:
    """Nothing on stdout that a program could take for one."""
    scanning(RuntimeError("boom"))
    answer = run("scan", "data", "--out", "verdict", "--json")
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_a_plan_is_for_people(run: Run, flag: str) -> None:
    """It has no form for programs, and is nothing if it is not said."""
    answer = run("scan", "data", "--plan", flag)
    assert (answer.code, answer.out) == (2, "")
    assert flag in answer.err


@pytest.mark.parametrize("flag", ["--engine=ray", "--decoding=scaled"])
def test_a_plan_times_what_it_can(run: Run, flag: str) -> None:
    """This machine, and images as they are."""
    answer = run("scan", "data", "--plan", flag)
    assert_one_line(answer, "--plan", flag.partition("=")[0])


def test_the_next_command_names_the_columns_again(run: Run, scanning: Any) -> None:
    """Or ``apply`` would not read the same set."""
    scanning(verdict(planted=True))
    answer = run("scan", "my data", "--out", "ver dict", "--image-column", "i", "--label-column", "l")
    assert "sanitizer apply 'ver dict' 'my data' --image-column i --label-column l --to COPY\n" in answer.out
