"""Every command in the README is run as it stands there, but for the names of files and folders of the reader's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = README.split("## Five minutes")[1].split("\n## ")[0]
ELSEWHERE = README.replace(TUTORIAL, "")
#: What needs a network, a pretrained checkpoint, or minutes to hours of crafting; tests of their own run these.
NOT_HERE = ("torchvision:", "net.safetensors", "witches_brew", "measure", "evaluate")
SANITIZER = [sys.executable, "-m", "sanitizer.cli"]


def commands(text: str) -> list[tuple[list[str], int]]:
    """Every command of ours, as words without its comment, and the exit code that a comment names."""
    whole = text.replace(" \\\n", " ")
    lines = re.findall(r"^\$ sanitizer (.+)$", whole, re.MULTILINE)
    codes = [re.search(r"# exit code (\d)", line) for line in lines]
    return [
        (shlex.split(line, comments=True), int(code[1]) if code else 0) for line, code in zip(lines, codes, strict=True)
    ]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """One command in a folder, with a store of its own."""
    environment = os.environ | {"SANITIZER_STORE": str(folder / "store"), "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*SANITIZER, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The tutorial, command by command; where it happened, and what each one said."""
    folder = tmp_path_factory.mktemp("tutorial")
    policy = re.search(r"```toml\n(.+?)```", TUTORIAL, re.DOTALL)
    assert policy
    (folder / "policy.toml").write_text(policy[1])
    said = {}
    for words, code in commands(TUTORIAL):
        done = run(words, folder)
        found = 1 if words[0] == "scan" and "poisoned" in words[1] else code  # 1: planted samples found
        assert done.returncode == found, (words, done.stdout, done.stderr)
        said[" ".join(words)] = done.stdout
    yield folder, said
    shutil.rmtree(folder)


def test_the_tutorial_does_what_it_says(tried: tuple[Path, Mapping[str, str]]) -> None:
    """Every line that it shows of an output is in that output; scores may differ from machine to machine."""
    folder, said = tried
    for block in re.findall(r"```console\n(.+?)```", TUTORIAL, re.DOTALL):
        for shown in block.split("$ sanitizer ")[1:]:
            command, *lines = shown.splitlines()
            output = said[" ".join(shlex.split(command, comments=True))]
            for line in lines:
                assert line.strip() == "..." or figures(line) in figures(output), (command, line)
    assert (folder / "why.png").exists()


def figures(text: str) -> str:
    """Text without the digits that depend on rounding: of scores, p-values and evidence."""
    text = re.sub(r"\d+\.\d+(e-\d+)?", "#", text)
    return re.sub(r"\d/\d{4}\.png", "ID", " ".join(text.split()))


@pytest.mark.slow
def test_every_other_command_does_something(tried: tuple[Path, Mapping[str, str]]) -> None:
    """On the poisoned digits: exit code 0, or 1 where planted samples are found; never an error."""
    folder, _ = tried
    shutil.copytree(folder / "demo/poisoned/data", folder / "movable")
    half(folder / "demo/poisoned/data", folder / "suspects", rest=0)
    half(folder / "demo/digits", folder / "trusted", rest=1)
    for number, (words, _) in enumerate(commands(ELSEWHERE)):
        if not any(part in " ".join(words) for part in NOT_HERE):
            done = run([_meant(word, words, number) for word in words], folder)
            assert done.returncode in (0, 1), (words, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr


def half(source: Path, destination: Path, *, rest: int) -> None:
    """Every second image of a folder, by its number: two such halves of one set share none."""
    for image in source.glob("*/*.png"):
        if int(image.stem) % 2 == rest:
            (destination / image.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, destination / image.parent.name)


def _meant(word: str, words: list[str], number: int) -> str:
    """What a reader would put for a name of the README."""
    source = "movable" if words[0] == "quarantine" else "suspects" if "CLEAN" in words else "demo/poisoned/data"
    is_new = word == "DEST" or words[words.index(word) - 1] == "--out"
    places = {"SOURCE": source, "data/train": source, "CLEAN": "trusted", "EARLIER": "verdict", "cat": "0"}
    places |= {"DIR": f"new{number}" if is_new else "verdict", "DEST": f"new{number}", "ID": "0/0996.png"}
    return places.get(word, word)
