"""Build and open the report of verdicts of all sizes.

    python -m benchmarks.page VERDICT [--rows 1000,50000,1000000]

VERDICT is the folder of a real scan; its rows are repeated, under new names, until there are enough, with their scores,
reasons and flags. Pictures stay those of its gallery. Chromium, its driver and selenium (extra ``dev``) are needed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.pictures.__main__ import opened
from sanitizer.actions.report import write_report
from sanitizer.record import GALLERY, REPORT, Verdict

TIMED = "const t = performance.getEntriesByType('navigation')[0]; return [t.domContentLoadedEventEnd, t.loadEventEnd];"


def main() -> None:
    """One row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verdict", type=Path)
    parser.add_argument("--rows", default="1000,50000,1000000")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/page.json"))
    args = parser.parse_args()
    found = Verdict.read(args.verdict)
    measured = []
    for rows in map(int, args.rows.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            repeated(found, rows).write(folder)
            shutil.copy(args.verdict / GALLERY, folder / GALLERY)
            measured.append({"rows": rows, **built(folder), **looked_at(folder / REPORT)})
        print(measured[-1], flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    args.out.write_text(json.dumps({"machine": machine, "pages": measured}, indent=1) + "\n")


def repeated(verdict: Verdict, rows: int) -> Verdict:
    """The same verdict on a set of so many samples; the first ones keep their names, for they have pictures."""
    table = verdict.table
    places = np.arange(rows) % table.num_rows
    longer = table.take(pa.array(places))
    names = table["id"].to_pylist()
    ids = [names[place] if number < len(names) else f"{number}/{names[place]}" for number, place in enumerate(places)]
    longer = longer.set_column(longer.schema.get_field_index("id"), "id", pa.array(ids))
    counts = verdict.summary["counts"] | {"scanned": rows}
    answer = verdict.summary["answer"] | {"planted": longer.filter(longer["suspicious"]).num_rows}
    return replace(verdict, table=longer, summary={**verdict.summary, "counts": counts, "answer": answer})


def built(folder: Path) -> dict[str, Any]:
    """The page from the folder alone, as `sanitizer report` does it."""
    start = time.perf_counter()
    write_report(folder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"build_s": round(seconds, 2), "mb": round((folder / REPORT).stat().st_size / 2**20, 2), "peak_mb": peak}


def looked_at(page: Path) -> dict[str, Any]:
    """A fresh browser opens it; what it complained of is counted."""
    browser = opened(page)
    try:
        ready, loaded = browser.execute_script(TIMED)
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        return {"ready_ms": round(ready), "loaded_ms": round(loaded), "console_errors": len(severe)}
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
