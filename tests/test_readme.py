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
from benchmarks.trusted import table as trusted
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


def between_marks(page: str, name: str, benchmark: str) -> str:
    """What stands where a benchmark puts a table."""
    return page.split(f"<!-- {name}: made by {benchmark} -->")[1].split("<!-- end -->")[0].strip()
