"""The identity of code: by it values are named that were computed, and new code computes anew."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path

import pytest

from sanitizer.store import implementation


def test_new_code_is_another_implementation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed line, a file more, a file elsewhere; what is no Python changes nothing, and nothing is imported."""
    package = tmp_path / "one" / "made_up_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "first.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    now = functools.partial(fresh, "made_up_package")
    seen = [now()]
    (package / "notes.txt").write_text("no code")
    assert now() == seen[0]
    (package / "first.py").write_text("a = 2\n")
    seen.append(now())
    (package / "second.py").write_text("")
    seen.append(now())
    (package / "second.py").rename(package / "inner" / "second.py")
    seen.append(now())
    (package / "inner" / "second.py").rename(package / "inner" / "third.py")
    seen.append(now())
    assert len(set(seen)) == len(seen)
    assert "made_up_package" not in sys.modules
    shutil.move(tmp_path / "one", tmp_path / "two")
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    assert now() == seen[-1]


def fresh(*modules: str) -> str:
    """As another process would find it."""
    implementation.cache_clear()
    return implementation(*modules)


def test_a_module_is_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its neighbours do not matter; the order of what is named does not come by chance."""
    for name in ("made_up_one", "made_up_two"):
        (tmp_path / f"{name}.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    one, both = fresh("made_up_one"), fresh("made_up_one", "made_up_two")
    (tmp_path / "made_up_two.py").write_text("a = 2\n")
    assert fresh("made_up_one") == one
    assert fresh("made_up_one", "made_up_two") != both
    implementation.cache_clear()
