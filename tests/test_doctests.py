"""The examples in docstrings are run: what they show is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import benchmarks
import detectors
import sanitizer
from sanitizer.errors import MissingDependency

PACKAGES = (sanitizer, detectors, benchmarks)
MODULES = sorted(
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)


#: Modules that cannot be imported without the extra of their own name.
EXTRAS = {f"sanitizer.integrations.{extra}": extra for extra in ("lightning", "transformers")}


def imported(name: str) -> ModuleType:
    """The module; a test is skipped where it wants an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except MissingDependency:
        if name not in EXTRAS:
            raise
        pytest.skip(f"the extra {EXTRAS[name]!r} is not installed")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other people's libraries
@pytest.mark.parametrize("name", ["sanitizer", *MODULES])
def test_examples_hold(name: str) -> None:
    """Every example of every public and private function."""
    assert doctest.testmod(imported(name)).failed == 0


def test_there_are_examples() -> None:
    """Or the test above would promise nothing."""
    modules = [importlib.import_module(name) for name in MODULES if name not in EXTRAS]
    assert sum(len(test.examples) for module in modules for test in doctest.DocTestFinder().find(module)) > 20
