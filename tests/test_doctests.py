"""The examples in docstrings are run: what they show is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import benchmarks
import detectors
import sanitizer

PACKAGES = (sanitizer, detectors, benchmarks)
MODULES = sorted(
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["sanitizer", *MODULES])
def test_examples_hold(name: str) -> None:
    """Every example of every public and private function."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    """Or the test above would promise nothing."""
    examples = sum(
        len(test.examples) for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))
    )
    assert examples > 20
