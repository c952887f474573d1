"""A stranger's package with a detector: found, loaded and held to the same rules as ours, and never run unasked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from toys import write_toys

from sanitizer.record import Verdict

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the stranger's package is installed, as pip would leave it; no pip, no network."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(PLUGIN / "stranger_detector", folder / "stranger_detector")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    sections = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(sections), encoding="utf-8")
    return folder


def answer(expression: str, site: Path, *, prepare: str = "") -> Any:
    """What a fresh interpreter that has the plugin says."""
    code = f"import json\nfrom sanitizer import registry\n{prepare}\nprint(json.dumps({expression}))"
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=site, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_installed_plugin_is_listed_by_name_and_origin(site: Path) -> None:
    """Installing it is all there is to do."""
    assert "stranger" in answer("registry.names('sanitizer.detectors')", site)
    assert answer("registry.origin('sanitizer.detectors', 'stranger')", site) == "stranger-detector"


def test_a_plugin_is_not_one_of_ours(site: Path) -> None:
    """What runs unless the user says otherwise are our own detectors, never a stranger's."""
    ours = answer("registry.names('sanitizer.detectors', own=True)", site)
    assert ours
    assert "stranger" not in ours


def test_listing_plugins_imports_none(site: Path) -> None:
    """A stranger's code does not run because somebody looked at a list."""
    listed = "registry.names('sanitizer.detectors')"
    assert answer("'stranger_detector' in sys.modules", site, prepare=f"import sys; {listed}") is False


def test_a_plugin_is_loaded_by_its_name(site: Path) -> None:
    """The registry makes the detector with its default settings."""
    assert answer("repr(registry.detector('stranger'))", site) == "MedianDistance()"


def test_a_plugin_keeps_the_rules_that_ours_keep(site: Path) -> None:
    """The conformance kit is all that its author needs, and it holds."""
    prepare = "from detectors.checks import check_detector"
    assert answer("check_detector(registry.detector('stranger'))", site, prepare=prepare) is None


def test_a_scan_uses_a_plugin_that_is_named(site: Path, tmp_path: Path) -> None:
    """``scan --detectors stranger`` is all that a user types; its scores stand in the verdict."""
    write_toys(tmp_path / "toys")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    words = ["scan", str(tmp_path / "toys"), "--out", str(tmp_path / "verdict")]
    done = subprocess.run(
        [sys.executable, "-m", "sanitizer.cli", *words, "--detectors", "stranger,spectral", "--budget", "fast"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = Verdict.read(tmp_path / "verdict").table
    assert {"score_stranger", "score_spectral"} < set(table.column_names)
    assert len(set(table["score_stranger"].to_pylist())) > 1
