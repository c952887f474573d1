"""The import law and the house rules that a machine can hold, by reading the source: no module is imported for it."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rooms import OUTSIDE, ROOMS

ROOT = Path(__file__).parent.parent
PACKAGES = ("sanitizer", "detectors")
MODULES = sorted(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))

LONGEST = 450  # lines of a module
HEAVY = ("torch", "torchvision", "faiss", "PIL", "datasets", "pyarrow")

#: Ways to run what a file says. The exemptions are (module, thing): why it is harmless there.
UNSAFE_MODULES = ("pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
UNSAFE_CALLS = ("eval", "exec", "torch.load", "torch.hub.load", "torch.jit.load", "torch.serialization.load")
EXEMPT = {
    ("detectors/checks.py", "import pickle"): "a detector must travel between processes: bytes made on the same line",
}


@dataclass(frozen=True)
class Import:
    """One name that a module imports, and whether only when somebody asks for it."""

    name: str
    line: int
    lazy: bool


@functools.cache
def tree(path: str) -> ast.Module:
    """A module as it is written."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)


def dotted(path: str) -> str:
    """The name by which a file is imported.

    >>> dotted("sanitizer/embed/__init__.py")
    'sanitizer.embed'
    """
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


OURS = frozenset(map(dotted, MODULES))


def room_of(module: str) -> str | None:
    """The innermost room that a module lies in; the package's own ``__init__`` is a room, not a roof."""
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in ROOMS and (name != "sanitizer" or module == name)), None)


def imports_of(path: str) -> list[Import]:
    """Everything that a module imports, wherever in the file, relative and by ``import_module("name")`` too."""
    return list(_imports(tree(path), path, lazy=False))


def _imports(node: ast.AST, path: str, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _imported(child, path):
            yield Import(name, getattr(child, "lineno", 0), lazy)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _imports(ast.Module([part], []), path, lazy=True)
            for part in child.orelse:
                yield from _imports(ast.Module([part], []), path, lazy=lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, path, lazy=lazy or inside)


def _imported(node: ast.AST, path: str) -> list[str]:
    """The modules that one statement or call imports; ``from package import module`` names the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        home = _home(node, path)
        names = [f"{home}.{alias.name}" for alias in node.names]
        return [name if name in OURS else home for name in names]
    if isinstance(node, ast.Call) and called(node) in ("importlib.import_module", "import_module", "__import__"):
        first = node.args[0] if node.args else None
        return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
    return []


def _home(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    package = Path(path).parent.parts
    kept = package[: len(package) - node.level + 1]
    return ".".join((*kept, node.module) if node.module else kept)


def called(node: ast.Call) -> str:
    """What a call calls, as it is written."""
    return ast.unparse(node.func)


def covered(name: str, allowed: Iterable[str]) -> bool:
    """Whether a list names a module or a package above it; ``sanitizer`` alone means its ``__init__``."""
    return any(name == entry or (entry != "sanitizer" and name.startswith(f"{entry}.")) for entry in allowed)


def refused(found: Import, room: str) -> bool:
    """Whether the law of a room forbids an import."""
    top = found.name.partition(".")[0]
    law = ROOMS[room]
    if covered(found.name, OUTSIDE) or (top in law.never) or covered(found.name, law.never):
        return True
    if room != "sanitizer" and covered(found.name, (room,)):
        return False
    allowed = (*law.may, *law.lazily) if found.lazy else law.may
    return not (top in sys.stdlib_module_names or top == "numpy" or covered(found.name, allowed))


@pytest.mark.parametrize("path", MODULES)
def test_every_module_parses_and_says_what_it_is(path: str) -> None:
    """A file of ours is Python, and its first line says what it is."""
    assert ast.get_docstring(tree(path)), f"{path} has no docstring: say in its first line what it is"


@pytest.mark.parametrize("path", MODULES)
def test_every_module_lies_in_a_room(path: str) -> None:
    """A new module needs a row in the table before it can import anything."""
    assert room_of(dotted(path)), f"{path} belongs to no room: add a row to ROOMS, or find its home"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_imports_only_what_its_room_may(path: str) -> None:
    """The import law."""
    room = room_of(dotted(path))
    assert room, f"{path} belongs to no room"
    broken = [
        f"{path}:{found.line} imports {found.name}{'' if found.lazy else ' at the top'}"
        for found in imports_of(path)
        if refused(found, room)
    ]
    assert not broken, f"the room {room} may not: " + "; ".join(broken)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_is_allowed_what_it_exists_to_be_kept_from(room: str) -> None:
    """The two columns of the table do not contradict each other."""
    law = ROOMS[room]
    assert not [name for name in (*law.may, *law.lazily) if covered(name, law.never)]


def test_no_module_needs_itself() -> None:
    """What is imported at the top of modules goes one way: there is no circle."""
    edges = {
        dotted(path): {found.name for found in imports_of(path) if found.name in OURS and not found.lazy}
        for path in MODULES
    }
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these import each other in a circle: {' <- '.join(error.args[1])}")


def test_only_sources_open_images() -> None:
    """One room meets bytes that nobody vouches for; PIL is how one would meet them elsewhere."""
    users = {path for path in MODULES for found in imports_of(path) if found.name.partition(".")[0] == "PIL"}
    assert users
    assert all(path.startswith("sanitizer/sources/") for path in users), users


def unsafe(path: str) -> set[str]:
    """Everything in a module that could run what a file says."""
    seen = {f"import {found.name}" for found in imports_of(path) if found.name.partition(".")[0] in UNSAFE_MODULES}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            seen |= {called(node)} & set(UNSAFE_CALLS)
            seen |= {"allow_pickle" for word in node.keywords if word.arg == "allow_pickle" and not _is_no(word.value)}
        if isinstance(node, ast.ImportFrom):
            seen |= {f"{node.module}.{alias.name}" for alias in node.names} & set(UNSAFE_CALLS)
    return seen


def _is_no(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", MODULES)
def test_nothing_runs_what_a_file_says(path: str) -> None:
    """No pickle in any disguise, no eval, no exec; an exemption that nothing needs any more has to go."""
    exempt = {thing for where, thing in EXEMPT if where == path}
    assert unsafe(path) == exempt


@pytest.mark.parametrize("path", MODULES)
def test_only_the_command_line_prints(path: str) -> None:
    """A library speaks by return values, errors and logging."""
    prints = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and called(node) == "print"]
    assert path == "sanitizer/cli.py" or not prints, f"{path} prints in line {prints}"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_is_short_and_named_for_what_it_does(path: str) -> None:
    """A long file holds two ideas; a file called utils holds none."""
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert Path(path).stem not in ("utils", "util", "helpers", "misc", "common")


@pytest.mark.parametrize("module", ["sanitizer", "detectors.base", "sanitizer.cli"])
def test_importing_costs_nothing(module: str, tmp_path: Path) -> None:
    """``--help`` and a plugin author's import load no framework."""
    code = f"import json, sys, {module}; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


LAWLESS = {
    "sanitizer.embed": "from sanitizer import index",
    "sanitizer.index": "import faiss",
    "sanitizer.sources": "def read():\n    from torch import nn",
    "sanitizer.attacks": "from ..verdict import judge",
    "sanitizer.actions": "if TYPE_CHECKING:\n    from detectors.base import Detector",
    "sanitizer.verdict": 'importlib.import_module("sanitizer.index")',
    "sanitizer.evidence": "from detectors import density",
    "sanitizer.nets": "from sanitizer.errors import UsageError",
    "sanitizer.record": "from benchmarks import detection",
    "sanitizer.gate": "from sanitizer.pipeline import scan",
    "sanitizer.writing": "import sanitizer",
    "sanitizer.pipeline": "class Scan:\n    import sanitizer.attacks.badnets",
    "detectors": "import sanitizer.errors",
}


@pytest.mark.parametrize("room", LAWLESS)
def test_the_law_notices(room: str) -> None:
    """Each of these breaks the law of its room, each in another way."""
    package = room.replace(".", "/")
    found = list(_imports(ast.parse(LAWLESS[room]), f"{package}/made_up.py", lazy=False))
    assert any(refused(one, room) for one in found)


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("sanitizer.index", "def engine():\n    import faiss"),
        ("sanitizer.gate", "if TYPE_CHECKING:\n    from sanitizer.pipeline import scan"),
        ("sanitizer.evidence", "from detectors.base import Evidence\nfrom sanitizer.embed import gradients"),
        ("sanitizer.sources", "from .base import Sample\nimport pyarrow.parquet"),
        ("sanitizer.cli", "def scan():\n    from sanitizer.attacks.preview import preview"),
        ("detectors", "from detectors import density\nimport scipy.stats\nimport numpy as np"),
    ],
)
def test_the_law_allows(room: str, text: str) -> None:
    """What the table grants is granted."""
    package = room.replace(".", "/")
    found = list(_imports(ast.parse(text), f"{package}/made_up.py", lazy=False))
    assert found
    assert not any(refused(one, room) for one in found)
