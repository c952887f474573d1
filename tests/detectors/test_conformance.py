"""Every detector keeps every rule of the kit."""

import pytest

from detectors.base import Detector
from detectors.checks import Check, checks_for
from sanitizer import registry


def every_detector() -> list[Detector]:
    """All detectors of ours, with their default settings."""
    return [registry.detector(name) for name in registry.names(registry.DETECTORS, own=True)]


def every_check() -> list[object]:
    """One pytest parameter for each rule and detector."""
    checks = [check for detector in every_detector() for check in checks_for(detector)]
    return [pytest.param(check, id=f"{check.detector!r}-{check.name}") for check in checks]


@pytest.mark.parametrize("check", every_check())
def test_rule(check: Check) -> None:
    """The rule in the test's name holds for the detector in the test's name."""
    check()
