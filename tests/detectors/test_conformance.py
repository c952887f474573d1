"""Every detector keeps every rule of the kit."""

import pytest

from detectors import density
from detectors.base import Detector
from detectors.checks import Check, checks_for


def every_detector() -> list[Detector]:
    """The detectors that the rules are held against, with their default settings."""
    return [
        density.KDistance(),
        density.GradientDensity(),
        density.LocalOutlierFactor(),
        density.SLOF(),
        density.DAO(),
        density.Tightness(),
    ]


def every_check() -> list[object]:
    """One pytest parameter for each rule and detector."""
    checks = [check for detector in every_detector() for check in checks_for(detector)]
    return [pytest.param(check, id=f"{check.detector!r}-{check.name}") for check in checks]


@pytest.mark.parametrize("check", every_check())
def test_rule(check: Check) -> None:
    """The rule in the test's name holds for the detector in the test's name."""
    check()
