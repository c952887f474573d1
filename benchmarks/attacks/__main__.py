"""Poison, train, ask: one cell for each attack, setting, victim and seed; finished cells are kept.

    python -m benchmarks.attacks --data FOLDER --weights FOLDER [--only badnets] [--seeds 0,1] [--device auto]

FOLDER holds the data sets as Parquet files (``cifar10/train.parquet``, ``cifar10/test.parquet``), the other one the
checkpoints of frozen networks. A victim sees the files as they were written and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.attacks.table import render
from benchmarks.attacks.trials import TRIALS, Trial
from benchmarks.detection.table import put_into
from benchmarks.places import Places


def measure(trial: Trial, seed: int, data: Path, weights: Path, device: str, cache: Path | None) -> dict[str, Any]:
    """Poison, then train one victim on what was written, and one on the same set unpoisoned."""
    from sanitizer import registry
    from sanitizer.attacks.poisoned import readable
    from sanitizer.evaluation.success import Victim, attack_of, grade, lesson_of, read_tests, teach, unpoisoned
    from sanitizer.sources.base import open_source
    from sanitizer.store import Store

    located = Places(data, weights).located
    started = time.monotonic()
    home = data / trial.data
    with tempfile.TemporaryDirectory() as scratch:
        settings = {name: located(value) for name, value in trial.settings.items()}
        attack = registry.attack(trial.attack)(**{"seed": seed, **settings})
        store = Store.open(str(cache / "store")) if cache else None
        made = attack.poison(
            open_source(str(home / "train.parquet")), Path(scratch) / "set", device=device, store=store
        )
        crafted = time.monotonic()
        victim = Victim(kind=located(trial.victim), epochs=trial.epochs, device=device)
        census = readable(open_source(str(made.data)), _silent())
        kind = victim.learner(census)
        lesson = lesson_of(census, kind.side)
        tests = read_tests(open_source(str(home / "test.parquet")), census.class_names)
        exam = attack_of(made).exam(tests.images, tests.labels, census.class_names)
        found = grade(teach(kind, lesson, seed, victim), kind.side, exam, tests, seed, victim)
        taught = time.monotonic()
        net = _control(trial, seed, kind, victim, lambda: unpoisoned(lesson, census, made), lesson.classes, cache)
        control = grade(net, kind.side, exam, tests, seed, victim)
        counts = made.recipe["counts"]
    return {
        "attack": trial.attack, "data": trial.data, "settings": dict(trial.settings), "victim": trial.victim,
        "epochs": trial.epochs, "seed": seed, "rate": attack.rate, "label_kind": attack.label_kind,
        "goal": trial.goal, "published": trial.published, "counts": counts,
        "success": found.success, "shown": found.shown, "clean_accuracy": found.clean_accuracy,
        "control_success": control.success, "control_accuracy": control.clean_accuracy,
        "aim": exam.goal, "device": device, "format": made.recipe["encoding"]["format"],
        "seconds": {"poisoning": round(crafted - started, 1), "victim": round(taught - crafted, 1)},
    }  # fmt: skip


def _control(trial: Trial, seed: int, kind: Any, victim: Any, lesson: Any, classes: int, cache: Path | None) -> Any:
    """A victim of the unpoisoned set: the same for every attack that draws the same samples, and kept."""
    import safetensors.torch

    from sanitizer.evaluation.success import teach

    shared = "setup" not in trial.settings and ":" not in trial.victim and cache is not None
    name = f"{trial.data}-{trial.settings.get('samples')}-{trial.victim}-{trial.epochs}-{seed}.safetensors"
    if shared and cache and (cache / name).exists():
        net = kind.blank(classes)
        net.load_state_dict(safetensors.torch.load_file(cache / name))
        return net.eval()
    net = teach(kind, lesson(), seed, victim)
    if shared and cache:
        safetensors.torch.save_file({k: v.cpu().contiguous() for k, v in net.state_dict().items()}, cache / name)
    return net


def _silent() -> Any:
    from sanitizer.progress import SILENT

    return SILENT


def main() -> None:
    """Fill in what is missing, one process a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SANITIZER_DATA", "../shared/data")))
    parser.add_argument("--weights", type=Path, default=Path(os.environ.get("SANITIZER_WEIGHTS", "../shared/weights")))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attacks.json"))
    parser.add_argument("--cache", type=Path, help="where controls and unfinished crafting are kept between cells")
    parser.add_argument("--only", default="", help="run only cells whose name contains this")
    parser.add_argument("--seeds", default="", help="run only these seeds, separated by commas")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--readme", type=Path, help="only put the table of what was measured into this file")
    parser.add_argument("--cell", nargs=2, metavar=("TRIAL", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        trial, seed = TRIALS[int(args.cell[0])], int(args.cell[1])
        json.dump(measure(trial, seed, args.data, args.weights, args.device, args.cache), sys.stdout)
        return
    if args.readme:
        put_into(args.readme, {"attacks": render(json.loads(args.out.read_text())["cells"])}, "attacks")
        return
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    wanted = {int(seed) for seed in args.seeds.split(",") if seed}
    for number, trial in enumerate(TRIALS):
        for seed in trial.seeds:
            key = trial.key(seed)
            results = json.loads(args.out.read_text()) if args.out.exists() else {"cells": {}}
            if key in results["cells"] or args.only not in key or (wanted and seed not in wanted):
                continue
            command = [sys.executable, "-m", "benchmarks.attacks", "--cell", str(number), str(seed)]
            command += ["--data", str(args.data), "--weights", str(args.weights), "--device", args.device]
            command += ["--cache", str(args.cache)] if args.cache else []
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            if done.returncode:
                print(f"{key}: failed", flush=True)
                continue
            found = json.loads(done.stdout) | {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
            results = (
                json.loads(args.out.read_text()) if args.out.exists() else {"cells": {}}
            )  # another may have written
            results["cells"][key] = found
            args.out.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{key}: success {found['success']:.3f} (control {found['control_success']:.3f}), "
                  f"accuracy {found['clean_accuracy']:.3f} ({found['control_accuracy']:.3f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
