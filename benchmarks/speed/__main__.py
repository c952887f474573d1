"""Measure speed as ratios and write them as JSON; finished rows are kept, so it can be stopped and resumed.

    python -m benchmarks.speed [--peers PYTHON] [--only NAME] [--rounds 5] [--again]
    python -m benchmarks.speed --scale 0.02 --rounds 1 --out FILE
    python -m benchmarks.speed --readme benchmarks/RESULTS.md

Every run of a side is a process of its own with one thread; sides run in turn, round by round, and medians are
compared. Importing, loading and warming up are not timed. PYTHON is an interpreter that has the extra ``bench``. All
inputs are generated; about three gigabytes of temporary files, and hours. ``--scale`` shrinks them to see if everything
runs: such figures mean nothing, and go into another file.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.detection.table import put_into
from benchmarks.speed.bench import Bench
from benchmarks.speed.results import fill, read
from benchmarks.speed.rows import BY_NAME
from benchmarks.speed.table import render
from benchmarks.speed.trials import TRIALS

RESULTS = Path("benchmarks/results/speed.json")
PAGE = Path("benchmarks/RESULTS.md")


def main(words: list[str] | None = None) -> None:
    """Measure what is missing, and put the table where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", action="append", help="measure this row alone; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side, of which the median counts")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--again", action="store_true", help="measure finished rows too")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter that runs the peers")
    parser.add_argument("--scratch", type=Path, help="folder for generated inputs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, help="only put the table of what was measured into this file")
    args = parser.parse_args(words)
    if strange := [name for name in args.only or () if name not in BY_NAME]:
        parser.error(f"--only: expected some of {', '.join(BY_NAME)}, got {', '.join(strange)}")
    if args.scale != 1 and args.out == RESULTS:
        parser.error("--scale: expected another --out, these figures are no results")
    if args.rounds < 1 or not 0 < args.scale <= 1:
        parser.error("expected --rounds of at least 1, and a --scale above 0 and at most 1")
    if not shutil.which(args.peers):
        parser.error(f"--peers: expected a Python interpreter, got {args.peers}: name one, or leave it out")
    if not args.readme:
        wanted = [trial for trial in TRIALS if not args.only or set(args.only) & set(trial.rows)]
        with tempfile.TemporaryDirectory(prefix="speed-", dir=args.scratch) as scratch:
            bench = Bench(Path(scratch), args.rounds, args.scale, args.peers)
            fill(wanted, args.out, bench, again=args.again)
    if args.readme or args.out == RESULTS:
        put_into(args.readme or PAGE, {"speed": render(read(args.out))}, "speed")


if __name__ == "__main__":
    main()
