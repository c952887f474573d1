"""Dagster: `model` is trained only after the check of `training_images` has passed. `dagster dev -f definitions.py`"""

import subprocess
import sys

import dagster as dg

import sanitizer

DATA = "data/train"


@dg.asset
def training_images() -> None:
    """The images to train on; download or unpack them here."""


@dg.asset_check(asset=training_images, blocking=True)
def within_policy() -> dg.AssetCheckResult:
    """Scans the images; the verdict folder, with report.html, stays for whoever wants to know why."""
    outcome = sanitizer.gate(DATA, "sanitizer.toml", out="verdict")
    return dg.AssetCheckResult(
        passed=outcome.ok,
        severity=dg.AssetCheckSeverity.ERROR,  # a warning would not block
        description=outcome.answer,
        metadata={
            "code": outcome.code,  # 1: above the policy, 2: nothing can vouch for the data
            "flagged": outcome.flagged,
            "reasons": list(outcome.reasons),
            "report": dg.MetadataValue.path("verdict/report.html"),
        },
    )


@dg.asset(deps=[training_images])
def model() -> None:
    """What is trained on them."""
    subprocess.run([sys.executable, "train.py", DATA], check=True)


defs = dg.Definitions(assets=[training_images, model], asset_checks=[within_policy])
