"""What CONTRIBUTING.md tells people to do works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LAYERS = ("sanitizer", "detectors", "tests")


def blocks(language: str) -> list[str]:
    """The code of the guide, in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)


def files_named() -> list[str]:
    """Everything in backticks that reads like a file or folder of the repository."""
    return sorted({name for name in re.findall(r"`([\w.-]+(?:/[\w.-]*)*)`", GUIDE) if is_file_name(name)})


def is_file_name(name: str) -> bool:
    """Whether a word is meant as a path: below one of our folders, or a file at the root."""
    return name.startswith(tuple(f"{layer}/" for layer in LAYERS)) or name.endswith((".toml", ".txt", ".md"))


@pytest.mark.parametrize("name", files_named())
def test_a_file_that_the_guide_names_is_there(name: str) -> None:
    """A reader who looks for it finds it."""
    assert (ROOT / name).exists()


def test_the_guide_names_files() -> None:
    """The test above has something to look at."""
    assert {"sanitizer/verdict.py", "detectors/checks.py", "pyproject.toml"} <= set(files_named())


def test_the_detector_of_the_guide_keeps_every_rule(tmp_path: Path) -> None:
    """Copied as it stands, the example passes the conformance kit, by the call that the guide gives."""
    module, check = blocks("python")
    (tmp_path / "disagreement.py").write_text(module, encoding="utf-8")
    code = f"from disagreement import Disagreement\n{check}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_entry_point_of_the_guide_names_its_example() -> None:
    """Group, module and class are spelled as ours are."""
    (line,) = blocks("toml")
    ((group, points),) = tomllib.loads(line)["project"]["entry-points"].items()
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert group in ours
    assert points == {"disagreement": "detectors.disagreement:Disagreement"}
    assert "class Disagreement(Detector)" in blocks("python")[0]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"[`$] ?make ([a-z]+)", GUIDE))))
def test_a_make_target_that_the_guide_names_exists(target: str) -> None:
    """No one is sent to a target that is not there."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
