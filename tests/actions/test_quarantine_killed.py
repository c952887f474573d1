"""Killed at any step, quarantine can be taken back or gone on with: nothing is ever lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from quarantine_toys import Scene, assert_nothing_lost, tree

from sanitizer.actions.journal import ITEMS, JOURNAL
from sanitizer.actions.quarantine import restore

pytestmark = pytest.mark.usefixtures("unhurried_disk")


class Killed(BaseException):
    """Nothing that comes after this is done: no handler, no clean-up."""


_STEPS = ("link", "unlink", "mkdir", "rmdir", "rename", "fsync", "chmod", "fchmod", "utime")


@contextmanager
def killed_at(place: int) -> Iterator[list[str]]:
    """Ends at the given call that changes files, as a kill would: every later one fails, too."""
    done: list[str] = []

    def step(name: str, known: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if len(done) >= place:
                raise Killed(name)
            done.append(name)
            return known(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in _STEPS:
            patch.setattr(os, name, step(name, getattr(os, name)))
        yield done


def _dies(place: int, run: Callable[[], object]) -> bool:
    with killed_at(place):
        try:
            run()
        except Killed:
            return True
    return False


def test_killed_at_every_step_it_can_be_taken_back_or_gone_on_with(scene: Scene, file_system: str) -> None:
    """Every call that changes a file, in turn, is the last one."""
    before = tree(scene.root)
    for place in count():
        died = _dies(place, scene.move)
        assert_nothing_lost(scene, before)
        if (scene.to / JOURNAL).exists():
            assert restore(scene.to).removed
        assert tree(scene.root) == before
        if not died:
            break
        _dies(place, scene.move)
        done = scene.move()
        assert set(done.moved) | set(done.before) == set(scene.flags)
        assert tree(scene.root).keys() == before.keys() - set(scene.paths)
        assert restore(scene.to).removed
        assert tree(scene.root) == before
    assert place > 12


def test_killed_at_every_step_of_the_way_back_it_can_be_gone_on_with(scene: Scene, file_system: str) -> None:
    """Until everything is as it was, and nothing of ours is left among the data."""
    before = tree(scene.root)
    for place in count():
        scene.move()
        died = _dies(place, lambda: restore(scene.to))
        assert_nothing_lost(scene, before)
        if (scene.to / JOURNAL).exists():
            assert restore(scene.to).removed
        assert tree(scene.root) == before
        if scene.to.exists():  # killed between the last two steps
            scene.to.rmdir()
        if not died:
            break
    assert place > 12


def test_what_must_not_be_lost_is_on_the_disk_before_anything_depends_on_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the way there: the journal before the first new name, the new names before the first old one goes."""
    done: list[tuple[str, int, int]] = []  # what, of which file, and its size
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(("fsync", *_which(os.fstat(handle)))))
    for name in ("link", "unlink"):
        known = getattr(os, name)
        monkeypatch.setattr(
            os,
            name,
            lambda *given, name=name, known=known, **named: (done.append((name, 0, 0)), known(*given, **named)),
        )
    scene.move()
    steps = [name for name, _, _ in done]
    assert ("fsync", *_which((scene.to / JOURNAL).stat())) in done[: steps.index("link")]
    between = done[steps.index("link") : steps.index("unlink")]
    for path in scene.paths:
        for home in (scene.to / ITEMS / path).parents[:-1]:
            if home.is_relative_to(scene.to / ITEMS):
                assert ("fsync", *_which(home.stat())) in between


def _which(about: os.stat_result) -> tuple[int, int]:
    return about.st_ino, about.st_size


@pytest.mark.parametrize(("run", "step", "place"), [("quarantine", "unlink", 1), ("restore", "unlink", 2)])
def test_a_real_kill(scene: Scene, run: str, step: str, place: int) -> None:
    """SIGKILL from within, at one call of each kind."""
    before = tree(scene.root)
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from sanitizer.actions.quarantine import quarantine, restore\nfrom sanitizer.sources.base import open_source\n"
        "run, step, place, folder, root, to = sys.argv[1:]\nfolder, to = Path(folder), Path(to)\n"
        "known, calls = getattr(os, step), []\n"
        "def dying(*given, **named):\n    calls.append(given)\n"
        "    if len(calls) == int(place):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return known(*given, **named)\n"
        "setattr(os, step, dying)\n"
        "quarantine(folder, open_source(root), to) if run == 'quarantine' else restore(to)\n"
    )
    if run == "restore":
        scene.move()
    words = [sys.executable, "-c", code, run, step, str(place), scene.folder, scene.root, scene.to]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert tree(scene.to) != {}
    assert restore(scene.to).removed
    assert tree(scene.root) == before
