"""The command line: quick to start, one line for every mistake, every command but ``scan`` at work."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_cli import Answer, Run, assert_one_line, runner

from sanitizer import pipeline, registry
from sanitizer.record import Verdict
from sanitizer.sources.encode import encode

HEAVY = ("torch", "faiss", "PIL", "datasets", "torchvision", "pyarrow", "sklearn", "scipy", "numpy")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer``."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes with a few images."""
    for kind in ("cat", "dog"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(3):
            image = encode(_filled(10 * number + len(kind) + ord(kind[0])), "PNG")
            (tmp_path / "data" / kind / f"{number}.png").write_bytes(image)
    return tmp_path / "data"


def _filled(value: int) -> Any:
    import numpy as np

    return np.full((6, 6, 3), value, np.uint8)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["scan", "--help"]], ids=" ".join)
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    """That is what makes them answer at once (0.2 s on an idle machine)."""
    code = (
        "import sys\nsys.argv = ['sanitizer', *sys.argv[1:]]\nfrom sanitizer.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_who_leaves_the_help_has_found_nothing() -> None:
    """``--help | true``: exit code 1 would mean that something was planted."""
    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m sanitizer.cli --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode in (0, 2), done.stderr) == (True, b"")


def test_the_version_is_that_of_the_installation(run: Run) -> None:
    """And nothing else is said."""
    from sanitizer import __version__

    assert run("--version") == Answer(0, f"sanitizer {__version__}\n", "")


def test_help_names_every_command(run: Run) -> None:
    """On stdout, with exit code 0."""
    answer = run("--help")
    assert (answer.code, answer.err) == (0, "")
    names = ("scan", "verify", "report", "poison", "measure", "evaluate", "detectors", "attacks", "doctor", "demo")
    for command in names:
        assert f"\n  {command} " in answer.out


def test_nothing_asked_is_help(run: Run) -> None:
    """``sanitizer`` alone shows how it is used, laid out like any help, and does not call that a success."""
    answer = run()
    assert answer.code == 2
    assert "\n  scan " in answer.out + answer.err
    assert not answer.err.startswith("sanitizer: Usage")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["scan", "/no/such/folder", "--out", "OUT"], ["'/no/such/folder' does not exist"]),
        (["scan", "DATA"], ["--out", "--plan"]),
        (["scan", "DATA", "--plan"], ["expected at least 20 readable images", "6 scanned"]),
        (["scan", "/no/such/folder", "--plan"], ["'/no/such/folder' does not exist"]),
        (["scan", "DATA", "--out", "DATA/verdict", "--plan"], ["lies inside the source"]),
        (["scan", "DATA", "--plan", "--fdr", "0.1"], ["--fdr", "--trusted"]),
        (["scan", "DATA", "--plan", "--store", "DATA/store"], ["lies inside the source"]),
        (["scan", "DATA", "--out", "OUT", "--detectors", "lof,nonesuch"], ["'nonesuch'", "sanitizer detectors"]),
        (["scan", "DATA", "--out", "OUT", "--detectors", " , "], ["--detectors", "sanitizer detectors"]),
        (["scan", "DATA", "--out", "OUT", "--budget", "lavish"], ["--budget", "'lavish'", "standard"]),
        (["scan", "DATA", "--out", "OUT", "--seed", "-1"], ["--seed", "-1"]),
        (["scan", "DATA", "--out", "OUT", "--seed", "nan"], ["--seed"]),
        (["scan", "DATA", "--out", "OUT", "--seed", "9999999999"], ["--seed", "9999999999"]),
        (["scan", "DATA", "--out", "OUT", "--max-drop", "0"], ["--max-drop", "0.2"]),
        (["scan", "DATA", "--out", "OUT", "--max-drop", "nan"], ["--max-drop", "nan"]),
        (["scan", "DATA", "--out", "OUT", "--max-drop", "much"], ["--max-drop"]),
        (["scan", "DATA", "--out", "DATA/verdict"], ["lies inside the source"]),
        (["scan", "DATA", "--out", "OUT"], ["expected at least 20 readable images", "6 scanned"]),
        (["scan", "DATA", "--out", "OUT", "--nonesuch"], ["--nonesuch"]),
        (["nonesuch"], ["nonesuch"]),
        (["verify", "OUT", "DATA"], ["manifest of a scan", "sanitizer scan"]),
        (["report", "OUT"], ["verdict folder"]),
        (["poison", "DATA", "OUT", "--attack", "nonesuch", "--rate", "0.1"], ["'nonesuch'", "sanitizer attacks"]),
        (["measure", "OUT", "--test", "DATA"], ["poisoned set", "sanitizer poison"]),
        (["measure", "OUT"], ["--test"]),
        (["evaluate", "DATA", "--out", "OUT"], ["--attacks"]),
        (["evaluate", "DATA", "--attacks", "badnets"], ["--out"]),
        (["evaluate", "/no/such/folder", "--out", "OUT", "--attacks", "badnets"], ["does not exist"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "nonesuch"], ["'nonesuch'", "sanitizer attacks"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", " , ", "--no-clean"], ["--attacks", "at least one"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--rates", "0.1,much"], ["--rates", "0.01"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--rates", "nan"], ["rate", "nan"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--seeds", "0"], ["--seeds", "at least 1"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--target", "cow"], ["'cow'", "'cat'"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--set", "flip.mode=x"], ["--set", "'flip'"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--set", "badnets.x=1"], ["'x'", "size"]),
        (
            ["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--detectors", "x"],
            ["'x'", "sanitizer detectors"],
        ),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--budget", "lavish"], ["--budget", "'lavish'"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--retrain"], ["--retrain", "--tests"]),
        (["evaluate", "DATA", "--out", "OUT", "--attacks", "badnets", "--trusted", "/no/such"], ["does not exist"]),
        (["evaluate", "DATA", "--out", "DATA/out", "--attacks", "badnets"], ["lies inside the source"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "nan"], ["rate", "nan"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "1.5"], ["rate", "1.5"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "0.1", "--seed", "-1"], ["seed", "-1"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "0.1", "--target", "cow"], ["'cow'", "'cat'"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "0.1", "--set", "size=nan"], ["size", "'nan'"]),
        (["poison", "DATA", "OUT", "--attack", "badnets", "--rate", "0.1", "--set", "x=1"], ["'x'", "size"]),
        (["poison", "DATA", "DATA/out", "--attack", "badnets", "--rate", "0.2"], ["lies inside the source"]),
    ],
    ids=lambda words: " ".join(words).replace("/", "_"),
)
def test_a_mistake_is_one_line_and_leaves_nothing(run: Run, pictures: Path, words: list[str], parts: list[str]) -> None:
    """What was expected, what came, what to do; never a traceback, a finding or a folder."""
    places = {"DATA": str(pictures), "OUT": str(pictures.parent / "out")}
    for short, path in places.items():
        words = [path if word == short else word.replace("DATA/", f"{pictures}/") for word in words]
    assert_one_line(run(*words), *parts)
    assert [path.name for path in pictures.parent.iterdir()] == ["data"]
    assert len(list(pictures.rglob("*"))) == 8


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["scan", "plan"])
@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--device", "gpu", "--device"),
        ("--device", "cuda:99", "--device"),
        ("--device", "cpu:", "--device"),
        ("--device", "cuda:²", "--device"),
        ("--model", "resnet", "torchvision:NAME"),
        ("--model", "net.pt", "safetensors"),
        ("--reference", "nowhere.safetensors", "nothing there"),
        ("--trusted", "/no/such/folder", "does not exist"),
    ],
)
def test_what_is_found_out_on_the_way_is_one_line(
    run: Run, tmp_path: Path, flag: str, value: str, expected: str, plan: list[str]
) -> None:
    """Once the set was read, and still nothing is left behind."""
    write_some(tmp_path / "data")
    answer = run("scan", tmp_path / "data", "--out", tmp_path / "out", "--budget", "fast", flag, value, *plan)
    assert_one_line(answer, expected, value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def write_some(root: Path) -> None:
    """Enough images for a scan to begin."""
    for number in range(24):
        home = root / f"{number % 2}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number}.png").write_bytes(encode(_filled(number), "PNG"))


def test_what_verify_says_of_hostile_names_does_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    """An added file may be called anything that a file system allows."""
    from sanitizer.actions import verify

    monkeypatch.setattr(
        verify, "verify", lambda folder, source: verify.Differences(added=("\x1b[2J\n:skull:[red].png",))
    )
    answer = run("verify", "verdict", pictures)
    assert answer.code == 1
    assert answer.out.count("\n") == 1
    assert all(letter.isprintable() or letter == "\n" for letter in answer.out)
    assert ":skull:[red].png" in answer.out


def test_verify_says_when_all_is_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    """With exit code 0."""
    from sanitizer.actions import verify

    monkeypatch.setattr(verify, "verify", lambda folder, source: verify.Differences())
    answer = run("verify", "verdict", pictures)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("The data is what was scanned")


def test_detectors_lists_all_of_them_with_what_they_find(run: Run) -> None:
    """Every name, what it needs and what a high score means."""
    answer = run("detectors")
    assert (answer.code, answer.err) == (0, "")
    for name in registry.names(registry.DETECTORS):
        assert f"{name}" in answer.out
        assert registry.detector(name).says in answer.out
    assert "finds" in answer.out
    assert "needs" in answer.out


def test_attacks_lists_all_of_them_with_their_papers(run: Run) -> None:
    """Every name, what it does and who described it."""
    answer = run("attacks")
    assert (answer.code, answer.err) == (0, "")
    for name in registry.names(registry.ATTACKS):
        assert f"{name}\n" in answer.out
        assert registry.attack(name).paper in answer.out


def test_the_doctor_looks_at_everything(run: Run) -> None:
    """Each finding is a line that begins with its state; anything missing comes with a remedy and exit code 2."""
    answer = run("doctor")
    assert answer.err == ""
    for part in ("torch", "FAISS", "devices: cpu", "pyarrow", "PIL"):
        assert part in answer.out
    assert answer.code == (2 if "MISSING" in answer.out else 0)


def test_the_doctor_sees_two_builds_of_faiss(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share one folder: one has to go, and the line that does it is given."""
    from sanitizer import doctor

    monkeypatch.setattr(doctor, "_version", lambda wheel: "1.0")
    answer = run("doctor")
    assert answer.code == 2
    assert "both installed" in answer.out
    assert "pip uninstall faiss-cpu faiss-gpu" in answer.out


def test_measure_says_what_the_poison_does(run: Run, pictures: Path) -> None:
    """Success and accuracy, beside the unpoisoned control, and as JSON; bad wishes are one line."""
    made, figures = pictures.parent / "poisoned", pictures.parent / "figures.json"
    assert run("poison", pictures, made, "--attack", "badnets").code == 0  # at the attack's own rate
    words = ("measure", made, "--test", pictures, "--victim", "convnet:2")
    answer = run(*words, "--epochs", "1", "--runs", "2", "--out", figures)
    assert (answer.code, answer.err) == (0, "")
    assert "2 victims" in answer.out
    assert "unpoisoned" in answer.out
    assert len(json.loads(figures.read_text())[0]["control"]) == 2
    assert_one_line(run(*words, "--epochs", "0"), "epochs", "at least 1")
    assert_one_line(run(*words, "--budget", "lavish"), "budget", "standard")
    assert_one_line(run(*words[:-1], "resnet50"), "classifier", "resnet18")


def test_evaluate_measures_and_shows_it(run: Run, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    """A table on stdout, three files, exit code 0; with its settings handed on, and 2 as soon as one cell fails."""
    from sanitizer.evaluation import matrix
    from tests.evaluation.made_up_results import Scanner

    scanner, out = Scanner(), pictures.parent / "out"
    monkeypatch.setattr(matrix, "scan", scanner)
    words = ("evaluate", pictures, "--out", out, "--attacks", "badnets", "--rates", "0.2,0.4", "--seeds", "2",
             "--target", "dog", "--set", "badnets.size=2", "--set", "samples=5", "--detectors", "lof",
             "--device", "cpu", "--budget", "fast", "--store", "none")  # fmt: skip
    answer = run(*words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("What was found\n")
    assert answer.out.endswith(f"Page: {out / 'index.html'}\n")
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "results.json", "results.md"]
    cells = list(json.loads((out / "results.json").read_text())["cells"].values())
    assert [(cell["attack"], cell["rate"], cell["seed"], cell["samples"]) for cell in cells] == [
        ("badnets", 0.2, 0, 5), ("badnets", 0.2, 1, 5), ("badnets", 0.4, 0, 5), ("badnets", 0.4, 1, 5),
        ("none", 0.0, 0, 5), ("none", 0.0, 1, 5),
    ]  # fmt: skip
    asked = [settings for _, settings in scanner.calls]
    wanted = pipeline.ScanSettings(detectors=("lof",), device="cpu", budget="fast", store="none")
    assert asked[0] == wanted
    assert run(*words) == answer
    assert len(scanner.calls) == 6

    def broken(*given: Any) -> Verdict:
        raise RuntimeError("\x1b[2Jout of luck")

    monkeypatch.setattr(matrix, "scan", broken)
    failed = run(*words[:3], pictures.parent / "again", *words[4:])
    assert (failed.code, failed.err) == (2, "")
    assert "Failed" in failed.out
    assert "out of luck" in failed.out
    assert all(letter.isprintable() or letter == "\n" for letter in failed.out)


def test_poison_writes_a_set_with_its_truth(run: Run, pictures: Path) -> None:
    """And says where, and how many."""
    made = pictures.parent / "poisoned"
    answer = run("poison", pictures, made, "--attack", "badnets", "--rate", "0.2", "--target", "cat", "--set", "size=2")
    assert (answer.code, answer.err) == (0, "")
    assert "1 poison" in answer.out
    assert str(made / "data") in answer.out
    recipe = json.loads((made / "recipe.json").read_text())
    assert (recipe["target"], recipe["settings"]["size"]) == ("cat", 2)
