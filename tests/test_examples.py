"""The recipes are what they say: they parse, their commands exist, and they train on clean data only."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.main import get_group

from sanitizer import pipeline
from sanitizer.cli import app
from sanitizer.policy import Policy
from tests.toy_examples import PLANTED, scan_by_name
from tests.toy_verdicts import pictures, write_folder

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
FILES = {path.relative_to(EXAMPLES).as_posix(): path for path in sorted(EXAMPLES.rglob("*")) if path.is_file()}
#: A trainer that leaves behind how many images it was given.
TRAINER = """import pathlib, sys
pathlib.Path("model.pt").write_text(str(len(list(pathlib.Path(sys.argv[1]).rglob("*.png")))))
"""
Step = dict[str, Any]
CLEAN = pytest.param(False, id="clean")
POISONED = pytest.param(True, id="poisoned")
both = pytest.mark.parametrize("poisoned", [CLEAN, POISONED])


def strings_of(value: Any) -> Iterator[str]:
    """Every string in a tree of YAML."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings_of(part)


def from_yaml(path: Path) -> list[str]:
    """Every value."""
    return list(strings_of(yaml.safe_load(path.read_text(encoding="utf-8"))))


def from_python(path: Path) -> list[str]:
    """Every literal."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def from_makefile(path: Path) -> list[str]:
    """What make would run."""
    command = ["make", "-n", "--no-print-directory", "-f", str(path), "train"]
    return [subprocess.run(command, check=True, capture_output=True, text=True).stdout]


def from_toml(path: Path) -> list[str]:
    """A policy runs nothing; it must parse."""
    tomllib.loads(path.read_text(encoding="utf-8"))
    return []


READERS: dict[str, Callable[[Path], list[str]]] = {
    ".yml": from_yaml, ".yaml": from_yaml, ".py": from_python, ".toml": from_toml, ".md": lambda path: [],
    "": from_makefile,
}  # fmt: skip


def commands_in(path: Path) -> list[list[str]]:
    """The words of every ``sanitizer`` command in a file: those that run, and those that comments quote."""
    ran = "\n".join(READERS[path.suffix](path)).replace("\\\n", " ")
    quoted = re.findall(r"`(sanitizer [^`]+)`", path.read_text(encoding="utf-8"))
    return [shlex.split(line) for line in (*ran.splitlines(), *quoted) if line.startswith("sanitizer ")]


@pytest.mark.parametrize("name", FILES)
def test_every_command_exists_with_its_options(name: str) -> None:
    """The whole line is read as the command line reads it, so every file parses too."""
    commands = commands_in(FILES[name])
    for _, command, *words in commands:
        found = get_group(app).commands.get(command)
        assert found, command
        found.make_context(command, words)
    quiet = {"README.md", "dvc/sanitizer.toml", "dagster/definitions.py"}  # policies, and Python
    assert bool(commands) == (name not in quiet)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".toml")])
def test_every_policy_is_one(name: str) -> None:
    """With every line that is commented out, too."""
    Policy.read(FILES[name])
    text = FILES[name].read_text(encoding="utf-8")
    assert Policy(**tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))["gate"])


def test_the_commented_policy_names_every_setting() -> None:
    """Nobody has to look for one elsewhere."""
    text = FILES["sanitizer.toml"].read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE)) == set(Policy.__dataclass_fields__)


def test_the_list_of_recipes_is_complete() -> None:
    """Every file is linked, and every link is a file."""
    linked = re.findall(r"\]\(([^)]+)\)", FILES["README.md"].read_text(encoding="utf-8"))
    assert set(linked) | {"README.md"} == set(FILES)


def steps_of_the_workflow() -> tuple[list[Step], Step, list[Step]]:
    """What comes before the gate, the gate, and what comes after it."""
    steps = yaml.safe_load(FILES["github-actions/gate.yml"].read_text(encoding="utf-8"))["jobs"]["gate"]["steps"]
    gate = next(number for number, step in enumerate(steps) if "sanitizer gate" in step.get("run", ""))
    return steps[:gate], steps[gate], steps[gate + 1 :]


def test_findings_are_uploaded_when_the_gate_refused() -> None:
    """A step after a failed one runs only if it says so."""
    _, gate, after = steps_of_the_workflow()
    assert "continue-on-error" not in gate
    assert {step["if"] for step in after} == {"always()"}


class Answer(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    said: str


class Project:
    """A folder with data, a policy, a trainer and a recipe; where ``sanitizer`` is the real one but for the scan."""

    def __init__(self, root: Path, recipe: str, poisoned: bool) -> None:
        self.root, programs = root / "project", root / "bin"
        self.size = len(pictures()) + poisoned
        shutil.copytree(EXAMPLES / recipe, self.root)
        if not (self.root / "sanitizer.toml").exists():
            shutil.copy(EXAMPLES / "sanitizer.toml", self.root)
        (self.root / "train.py").write_text(TRAINER)
        some = next(iter(pictures().values()))
        write_folder(self.root / "data" / "train", pictures() | ({f"cat/{PLANTED}.png": some} if poisoned else {}))
        programs.mkdir()
        for name, words in {"sanitizer": "-m tests.toy_examples", "python": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / name).chmod(0o755)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
            "HOME": str(root),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_NO_ANALYTICS": "1",
        }

    def run(self, *words: str) -> Answer:
        """Runs a program in the project."""
        done = subprocess.run(
            words, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return Answer(done.returncode, done.stdout)

    def start_repository(self) -> None:
        """Makes it a git repository of somebody."""
        for words in ("init -q", "config user.name Somebody", "config user.email somebody@example.org"):
            assert self.run("git", *words.split()).code == 0

    @property
    def trained_on(self) -> int:
        """How many images the model has seen; 0 if there is none."""
        model = self.root / "model.pt"
        return int(model.read_text()) if model.exists() else 0


@both
def test_make_trains_on_clean_data_only(tmp_path: Path, poisoned: bool) -> None:
    """With a verdict that is there already."""
    project = Project(tmp_path, "make", poisoned)
    scan_by_name(project.root / "data" / "train", project.root / "verdict")
    answer = project.run("make", "train", "GATE_FLAGS=--verdict verdict")
    assert (bool(answer.code), project.trained_on) == (poisoned, 0 if poisoned else project.size), answer.said
    assert f"The data is {'above' if poisoned else 'within'} the policy." in answer.said


def test_make_trains_on_nothing_that_was_not_scanned(tmp_path: Path) -> None:
    """Code 2 stops it as code 1 does: here an image came after the scan."""
    project = Project(tmp_path, "make", poisoned=False)
    scan_by_name(project.root / "data" / "train", project.root / "verdict")
    write_folder(project.root / "data" / "train", {"cat/late.png": b"new"})
    answer = project.run("make", "train", "GATE_FLAGS=--verdict verdict")
    assert (bool(answer.code), project.trained_on) == (True, 0)
    assert "cat/late.png" in answer.said


@both
def test_the_step_of_the_workflow_fails_on_poison_and_writes_what_is_uploaded(tmp_path: Path, poisoned: bool) -> None:
    """As a runner of GitHub does it, in bash."""
    project = Project(tmp_path, "github-actions", poisoned)
    project.environment["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
    _, gate, after = steps_of_the_workflow()
    answer = project.run("bash", "-e", "-c", gate["run"])
    assert answer.code == int(poisoned), answer.said
    assert (tmp_path / "summary.md").stat().st_size
    uploaded = [step["with"].get("sarif_file") or step["with"]["path"] for step in after[1:]]  # the first is the store
    assert [name for name in "\n".join(uploaded).split() if not (project.root / name).exists()] == []


def needs(module: str, package: str) -> None:
    """Skips without a program that is run as a module; nothing of it is imported here."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {package}: pip install {package}")


@pytest.mark.slow
@both
def test_dvc_trains_on_clean_data_only(tmp_path: Path, poisoned: bool) -> None:
    """The report is there either way; once refused, it stays refused; once passed, nothing is done again."""
    needs("dvc", "dvc")
    project = Project(tmp_path, "dvc", poisoned)
    project.start_repository()
    dvc = (sys.executable, "-m", "dvc")
    assert project.run(*dvc, "init", "-q").code == 0
    for _ in range(2):
        answer = project.run(*dvc, "repro", "train")
        assert (bool(answer.code), project.trained_on) == (poisoned, 0 if poisoned else project.size), answer.said
        assert (project.root / "verdict" / "report.html").exists()
    assert ("The data is above the policy." if poisoned else "didn't change, skipping") in answer.said


@pytest.mark.slow
def test_dvc_leaves_out_what_the_policy_tolerates(tmp_path: Path) -> None:
    """The stage that trains never sees it."""
    needs("dvc", "dvc")
    project = Project(tmp_path, "dvc", poisoned=True)
    (project.root / "sanitizer.toml").write_text(
        "[gate]\nmax_flagged_fraction = 0.2\nmax_flagged_fraction_per_class = 0.2\n"
    )
    project.start_repository()
    dvc = (sys.executable, "-m", "dvc")
    assert project.run(*dvc, "init", "-q").code == 0
    answer = project.run(*dvc, "repro", "train")
    assert (answer.code, project.trained_on) == (0, project.size - 1), answer.said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # other people's, at import
@both
def test_dagster_trains_on_clean_data_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poisoned: bool) -> None:
    """The check blocks, and says why."""
    dagster = pytest.importorskip("dagster", reason="needs dagster: pip install dagster")
    project = Project(tmp_path, "dagster", poisoned)
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(pipeline, "scan", scan_by_name)
    spec = importlib.util.spec_from_file_location("definitions", project.root / "definitions.py")
    assert spec
    assert spec.loader
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    parts = [recipe.training_images, recipe.within_policy, recipe.model]
    assert recipe.defs.resolve_all_asset_keys()
    done = dagster.materialize(parts, raise_on_error=False)
    (check,) = done.get_asset_check_evaluations()
    assert (done.success, check.passed, project.trained_on) == (
        (False, False, 0) if poisoned else (True, True, project.size)
    )
    assert check.metadata["code"].value == int(poisoned)
    assert bool(check.metadata["reasons"].value) == poisoned


@pytest.mark.slow
@both
def test_pre_commit_commits_clean_data_only(tmp_path: Path, poisoned: bool) -> None:
    """A real commit, by the hook that pre-commit installs; one that touches no data is not looked at."""
    needs("pre_commit", "pre-commit")
    project = Project(tmp_path, "pre-commit", poisoned)
    project.start_repository()
    assert project.run(sys.executable, "-m", "pre_commit", "install").code == 0
    assert project.run("git", "add", "train.py", ".pre-commit-config.yaml").code == 0
    aside = project.run("git", "commit", "-m", "code")
    assert (aside.code, "no files to check" in aside.said) == (0, True), aside.said
    scan_by_name(project.root / "data" / "train", project.root / "verdict")
    assert project.run("git", "add", ".").code == 0
    answer = project.run("git", "commit", "-m", "data")
    assert bool(answer.code) == poisoned, answer.said
    assert project.run("git", "rev-list", "--count", "HEAD").said.strip() == ("1" if poisoned else "2")
    if poisoned:
        assert "The data is above the policy." in answer.said
