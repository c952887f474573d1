"""The registry: every name leads to what it names, strangers never take ours, nothing loads unasked."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detectors.base import Detector
from sanitizer import registry
from sanitizer.attacks.base import Attack
from sanitizer.errors import MissingDependency, UsageError
from sanitizer.registry import ATTACKS, DETECTORS

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def stranger(name: str, value: str, group: str = DETECTORS, *, distribution: str = "stranger") -> EntryPoint:
    """An entry point of somebody else's package."""
    point = EntryPoint(name, value, group)
    vars(point).update(dist=SimpleNamespace(name=distribution))
    return point


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs entry points beside ours, before and after them."""

    def beside(*points: EntryPoint) -> None:
        def found(*, group: str) -> list[EntryPoint]:
            wanted = [point for point in points if point.group == group]
            return [*wanted, *entry_points(group=group), *wanted]

        monkeypatch.setattr(registry, "entry_points", found)

    return beside


@pytest.mark.parametrize("group", [DETECTORS, ATTACKS])
def test_our_names_are_those_of_the_project_file(group: str) -> None:
    """Sorted; an installation that lags behind is told by this."""
    assert registry.names(group, own=True) == sorted(PROJECT["entry-points"][group])


@pytest.mark.parametrize("name", registry.names(DETECTORS, own=True))
def test_every_detector_of_ours_loads(name: str) -> None:
    """With default settings, a sentence for people and a family that it finds."""
    made = registry.detector(name)
    assert isinstance(made, Detector)
    assert made.says.endswith(".")
    assert made.sees
    assert registry.origin(DETECTORS, name) == registry.DISTRIBUTION


@pytest.mark.parametrize("name", registry.names(ATTACKS, own=True))
def test_every_attack_of_ours_loads(name: str) -> None:
    """As a class that knows its own name."""
    kind = registry.attack(name)
    assert issubclass(kind, Attack)
    assert kind.name == name
    assert kind.says
    assert kind.paper


@pytest.mark.parametrize(("call", "kind"), [(registry.detector, "detector"), (registry.attack, "attack")])
@pytest.mark.parametrize("name", ["nonesuch", "", "x" * 200, "__import__"])
def test_an_unknown_name_gets_the_command_that_lists_them(call: Any, kind: str, name: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=f"expected the name of a {kind}, got {name!r}") as caught:
        call(name)
    assert str(caught.value).endswith(f": see `sanitizer {kind}s`")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "name", "meant"),
    [
        (registry.detector, "LOF", "lof"),
        (registry.detector, "spectral_signature", "spectral"),
        (registry.attack, "badnet", "badnets"),
        (registry.attack, "adaptive-blend", "adaptive_blend"),
    ],
)
def test_a_mistyped_name_gets_the_one_that_was_meant(call: Any, name: str, meant: str) -> None:
    """The nearest of the known ones."""
    with pytest.raises(UsageError, match=rf"try [\w ]*\b{meant}\b"):
        call(name)


def test_ours_stays_where_a_stranger_takes_its_name(install: Any) -> None:
    """Whoever is listed first or last."""
    install(stranger("lof", "os:getcwd"), stranger("mine", "detectors.density:LocalOutlierFactor"))
    assert type(registry.detector("lof")).__name__ == "LocalOutlierFactor"
    assert registry.origin(DETECTORS, "lof") == registry.DISTRIBUTION
    assert registry.origin(DETECTORS, "mine") == "stranger"


def test_a_stranger_is_listed_and_none_of_ours(install: Any) -> None:
    """Listing does not load it."""
    install(stranger("mine", "no_such_module:Nothing"))
    assert "mine" in registry.names(DETECTORS)
    assert "mine" not in registry.names(DETECTORS, own=True)


def test_a_plugin_that_is_no_detector_is_refused(install: Any) -> None:
    """With what it turned out to be."""
    install(stranger("mine", "builtins:dict"))
    with pytest.raises(UsageError, match=r"expected a detectors\.base\.Detector from plugin 'mine', got dict"):
        registry.detector("mine")


@pytest.mark.parametrize("value", ["no_such_module:Thing", "json:NoSuchThing"], ids=["module", "attribute"])
def test_a_plugin_that_cannot_be_imported_is_named(install: Any, value: str) -> None:
    """Whether its module is missing or what the module should hold."""
    install(stranger("mine", value))
    with pytest.raises(MissingDependency, match="plugin 'mine' cannot be imported"):
        registry.detector("mine")


def test_a_folder_called_detectors_is_told_from_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another project's package of that name is named, with the way out."""
    monkeypatch.setitem(sys.modules, "detectors", SimpleNamespace(__file__="/elsewhere/detectors/__init__.py"))
    with pytest.raises(MissingDependency, match="/elsewhere/detectors") as caught:
        registry.require_own_detectors()
    assert "uninstall" in str(caught.value)


def test_listing_names_imports_nothing_heavy() -> None:
    """Names come from metadata alone."""
    code = (
        "import sys\nfrom sanitizer import registry\n"
        "registry.names(registry.DETECTORS), registry.names(registry.ATTACKS)\n"
        "print([name for name in ('torch', 'faiss', 'PIL', 'numpy', 'detectors.base') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
