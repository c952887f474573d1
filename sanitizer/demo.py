"""The demo: real digits from scikit-learn, a real attack, a real scan, and the truth beside the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sanitizer import registry
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.progress import SILENT, Progress
from sanitizer.record import Verdict
from sanitizer.sources.base import open_source
from sanitizer.sources.encode import encode
from sanitizer.writing import whole_folder

ATTACK, RATE, TARGET = "badnets", 0.03, "0"
#: An earlier demo, and nothing else, gives way to a new one.
PARTS = frozenset({"digits", "poisoned", "verdict"})


@dataclass(frozen=True)
class Outcome:
    """What was planted, and what was found of it."""

    verdict: Verdict
    folder: Path
    data: Path  # what was scanned
    attack: str
    samples: int
    poisoned: int
    found: int
    false_alarms: int


def run_demo(to: Path, *, seed: int = 0, progress: Progress = SILENT) -> Outcome:
    """Make ``to`` anew: the digits, their poisoned copy, the verdict."""
    with whole_folder(to, replacing=PARTS):
        pass  # an empty folder, or a refusal to touch what is not ours
    write_digits(to / "digits")
    attack = registry.attack(ATTACK)(rate=RATE, target=TARGET, seed=seed)
    made = attack.poison(open_source(str(to / "digits")), to / "poisoned", progress)
    verdict = scan(made.data, to / "verdict", ScanSettings(seed=seed), progress)
    truth = {row["id"]: row["is_poison"] for row in made.truth().to_pylist()}
    flagged = [truth[name] for name in verdict.suspicious()["id"].to_pylist()]
    return Outcome(
        verdict, to / "verdict", made.data, ATTACK, len(truth),
        sum(truth.values()), sum(flagged), len(flagged) - sum(flagged),
    )  # fmt: skip


def write_digits(destination: Path) -> None:
    """scikit-learn's 1,797 handwritten digits, 8x8, as ``destination/<digit>/<number>.png``."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.repeat((digits.images / 16 * 255).round().astype(np.uint8)[..., None], 3, axis=3)
    with whole_folder(destination) as folder:
        for number, (image, label) in enumerate(zip(images, digits.target, strict=True)):
            home = folder / str(label)
            home.mkdir(exist_ok=True)
            (home / f"{number:04d}.png").write_bytes(encode(image, "PNG"))
