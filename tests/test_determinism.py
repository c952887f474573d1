"""The same bytes and the same seed are the same verdict, wherever, whenever and by whom they are scanned."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_scans import poisoned

#: A scan as a command has it, that says its digest; whoever asks the network for anything ends it.
SCAN = """
import os, sys
sys.addaudithook(lambda event, _: os._exit(99) if event in ("socket.connect", "socket.getaddrinfo") else None)
from toy_scans import FAST, hurried
from sanitizer.pipeline import scan
with hurried():
    print(scan(sys.argv[1], None, FAST).digest)
"""
HERE = Path(__file__).parent
#: Where a set lies, and what a process is told of the world.
SURROUNDINGS: dict[str, dict[str, str]] = {
    "another hash seed": {"PYTHONHASHSEED": "7"},
    "the plain locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "another language": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    "the first zone to see the day": {"TZ": "Pacific/Kiritimati"},
    "no home and a narrow window": {"HOME": "/nowhere", "COLUMNS": "1"},
    "optimised bytecode": {"PYTHONOPTIMIZE": "1"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A poisoned folder, with items that are no samples."""
    return poisoned(tmp_path_factory.mktemp("here") / "set")[0]


@pytest.fixture(scope="module")
def digest(folder: Path) -> str:
    """Its verdict here and now."""
    return scanned(folder)


def scanned(folder: Path, **environment: str) -> str:
    """The digest of a scan in a process of its own."""
    told = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    told |= {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCAN, str(folder)], env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def elsewhere(folder: Path, place: Path, seed: int) -> Path:
    """The same tree under another path, its files made in another order and at another time."""
    paths = sorted(folder.rglob("*"))
    random.Random(seed).shuffle(paths)
    for path in paths:
        copy = place / path.relative_to(folder)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)
        os.utime(copy, (seed, seed), follow_symlinks=False)
    return place


def test_neither_place_nor_time_nor_surroundings_change_a_verdict(folder: Path, digest: str, tmp_path: Path) -> None:
    """All of them at once; and nobody asks the network for anything."""
    everything = {name: value for one in SURROUNDINGS.values() for name, value in one.items()}
    assert scanned(elsewhere(folder, tmp_path / "a b" / "ñ", seed=86_400), **everything) == digest


@pytest.mark.slow
@pytest.mark.parametrize("environment", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_no_surroundings_change_a_verdict(folder: Path, digest: str, environment: dict[str, str]) -> None:
    """One at a time, so that it is known which."""
    assert scanned(folder, **environment) == digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2**31, 4_102_444_800])
def test_no_order_or_time_of_files_changes_a_verdict(folder: Path, digest: str, tmp_path: Path, seed: int) -> None:
    """1970, 2038, 2100."""
    assert scanned(elsewhere(folder, tmp_path / "copy", seed)) == digest
