"""Scans of toys: what they look at, how they are hurried, detectors that break, and how to look at what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from toys import PLANTED, write_toys

from detectors.base import Detector, Evidence, Floats
from sanitizer import registry
from sanitizer.embed import probe
from sanitizer.pipeline import ScanSettings
from sanitizer.record import Verdict
from sanitizer.sources.encode import encode

SEED = 1  # of the toy set
TOTAL = 3 * 60 + PLANTED
FAST = ScanSettings(budget="fast", device="cpu")


@contextmanager
def hurried() -> Iterator[None]:
    """A probe of a hundred steps is enough for toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(probe.BUDGETS, "fast", (32, 5, 100))
        yield


def poisoned(root: Path) -> tuple[Path, set[str]]:
    """A poisoned folder with some items that are no samples, and the digests of the planted ones."""
    truth = write_toys(root, seed=SEED)
    (root / "bar" / "cut.png").write_bytes(next((root / "bar").glob("0*.png")).read_bytes()[:60])
    (root / "box" / "notes.txt").write_text("hello")
    (root / "dot" / "out.png").symlink_to("/etc/hostname")
    (root / "stray.png").write_bytes(encode(np.zeros((4, 4, 3), np.uint8), "PNG"))
    return root, truth


def name_plugin(patch: pytest.MonkeyPatch, made: Detector) -> None:
    """Make ``plugin`` the name of a detector."""
    known = registry.detector
    patch.setattr(registry, "detector", lambda name: made if name == "plugin" else known(name))


def flagged(verdict: Verdict) -> set[str]:
    """The digests of what was flagged."""
    return set(verdict.suspicious()["digest"].to_pylist())


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder and its hash; where a link leads."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


class Failing(Detector):
    """Breaks when it is asked."""

    sees = ("shifted",)
    says = "?"

    def _score(self, evidence: Evidence) -> Floats:
        raise RuntimeError("out of luck\nand more lines")


class Misshapen(Failing):
    """Scores samples, and has too few answers about classes."""

    innocent = 1.0

    def _score(self, evidence: Evidence) -> Floats:
        return np.zeros(len(evidence))

    def _class_scores(self, evidence: Evidence) -> Floats:
        return np.zeros(1)
