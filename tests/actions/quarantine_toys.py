"""A source with two flagged files in awkward places, and the verdict on it: what quarantine is tried on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from test_dropping import judged, png, write_pictures

from sanitizer.actions.journal import ITEMS
from sanitizer.actions.quarantine import quarantine
from sanitizer.sources.base import open_source

Write = Callable[..., Path]
Tree = dict[str, tuple[int, int, bytes | str]]

DEEP, ODD = "cat/deep/er/20.png", "cat/caf\udce9 \n'21'.png"  # a name that is no UTF-8, and breaks lines
ODD_ID = "cat/caf\\udce9 \n'21'.png"


class Scene(NamedTuple):
    """A source on disk, the verdict on it, and where its quarantine goes."""

    root: Path
    folder: Path
    to: Path
    flags: tuple[str, ...]  # ids
    paths: tuple[str, ...]  # of the same

    def move(self) -> Any:
        """Quarantine what was flagged."""
        return quarantine(self.folder, open_source(self.root), self.to)


def make_scene(tmp_path: Path, write_folder: Write) -> Scene:
    """Two flagged files in awkward places, with modes and times of their own."""
    root = write_pictures(tmp_path / "data", dogs=1)
    (root / DEEP).parent.mkdir(parents=True)
    for number, (path, mode) in enumerate(((DEEP, 0o440), (ODD, 0o651))):
        (root / path).write_bytes(png(20 + number))
        (root / path).chmod(mode)
        os.utime(root / path, ns=(1, 1_234_567_890_123_456_789 + number))
    flags = (ODD_ID, DEEP)
    return Scene(root, write_folder(judged(open_source(root), set(flags))), tmp_path / "Q", flags, (ODD, DEEP))


def tree(root: Path) -> Tree:
    """Every file and folder below a folder: mode, time of change (of files), and content or target."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        content: bytes | str = (
            str(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        )
        moment = 0 if path.is_dir() else about.st_mtime_ns
        found[str(path.relative_to(root))] = (stat.S_IMODE(about.st_mode), moment, content)
    return found


def assert_nothing_lost(scene: Scene, before: Tree) -> None:
    """Each flagged file lies whole in its place or in quarantine."""
    for name in scene.paths:
        places = (scene.root / name, scene.to / ITEMS / name)
        assert any(path.exists() and path.read_bytes() == before[name][2] for path in places)
