"""The README promises what is there: its commands exist, its files exist, its table is what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.attacks import table as attacks
from benchmarks.detection import matrix, matrix_table, overview_table, peers_table
from benchmarks.detection import table as detection
from benchmarks.speed import results as speed_results
from benchmarks.speed import table as speed
from benchmarks.trusted import table as trusted
from detectors.base import Detector
from sanitizer import registry
from sanitizer.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\$ sanitizer (\w+)", README, re.MULTILINE))))
def test_every_command_exists(command: str) -> None:
    """Each has its own help."""
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("option", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))))
def test_every_option_exists(option: str) -> None:
    """Somewhere: a command of ours, or the benchmark."""
    ours = ROOT / "sanitizer"
    files = [ours / "cli.py", ours / "options.py", *ours.glob("commands/*.py"), *ROOT.glob("benchmarks/*/*.py")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    names = {option, option.removeprefix("--").replace("-", "_") + ":"}
    assert any(name in text for name in names for text in texts)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:\$ |`)make ([a-z]+)", README))))
def test_every_make_target_exists(target: str) -> None:
    """As the Makefile spells it."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_tree_is_the_tree() -> None:
    """Every path in the drawing is there."""
    drawing = README.split("## The tree")[1].split("```")[1]
    folder = Path()
    for line in filter(None, drawing.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT
        assert (folder / name).exists(), name
        if not line.startswith(" "):
            folder = ROOT / name


@pytest.mark.parametrize(
    ("name", "render"), [("attacks", attacks.render), ("detection", detection.render), ("trusted", trusted.render)]
)
def test_a_table_is_what_was_measured(name: str, render: Callable[[Any], str]) -> None:
    """No figure in it was typed by hand."""
    results = ROOT / "benchmarks" / "results" / f"{name}.json"
    measured = json.loads(results.read_text(encoding="utf-8"))["cells"]
    assert between_marks(RESULTS, name, f"benchmarks/{name}") == render(measured).strip()


@pytest.mark.parametrize(
    ("page", "name", "render"),
    [
        (README, "overview", overview_table.render),
        (RESULTS, "matrix", matrix_table.render),
        (RESULTS, "peers", peers_table.render),
    ],
    ids=["overview", "matrix", "peers"],
)
def test_a_table_of_the_matrix_is_what_was_measured(page: str, name: str, render: Callable[[Any], str]) -> None:
    """All come from the same file; without one they say so."""
    measured = matrix.read(ROOT / "benchmarks" / "results" / "matrix.json")
    assert between_marks(page, name, "benchmarks/detection") == render(measured).strip()


def test_the_table_of_speed_is_what_was_measured() -> None:
    """Without a measurement it says so."""
    measured = speed_results.read(ROOT / "benchmarks" / "results" / "speed.json")
    assert between_marks(RESULTS, "speed", "benchmarks/speed") == speed.render(measured).strip()


def between_marks(page: str, name: str, benchmark: str) -> str:
    """What stands where a benchmark puts a table."""
    return page.split(f"<!-- {name}: made by {benchmark} -->")[1].split("<!-- end -->")[0].strip()


@pytest.mark.parametrize("group", [registry.ATTACKS, registry.DETECTORS])
def test_the_coverage_map_knows_all_of_ours(group: str) -> None:
    """Every attack has its row, and every detector that can convict a class or call a label wrong."""
    coverage = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    names = registry.names(group, own=True)
    if group == registry.DETECTORS:
        names = [name for name in names if registry.detector(name).innocent is not None]
    assert [name for name in names if f"`{name}`" not in coverage] == []


def test_the_table_of_detectors_is_what_they_say() -> None:
    """Who decides comes first; a row is what the detector says of a sample that it names."""
    table = README.split("### What each detector sees")[1].split("\n## ")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == detector_rows()


def detector_rows() -> list[str]:
    """The rows of that table; print them to renew it."""
    names = registry.names(registry.DETECTORS, own=True)
    rows = [(decides, name) for name in names for decides in [what_it_decides(registry.detector(name))]]
    ranked = sorted(rows, key=lambda row: (("a class", "labels", "").index(row[0]), row[1]))
    return [f"| `{name}` | {decides} | {registry.detector(name).says} |" for decides, name in ranked]


def what_it_decides(detector: Detector) -> str:
    """What a detector can get flagged by itself."""
    return "labels" if detector.label_odds else "" if detector.innocent is None else "a class"
