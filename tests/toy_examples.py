"""``sanitizer`` as the recipes call it, but for the scan: that one goes by names, so that recipes run in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sanitizer import cli, pipeline
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census
from tests.toy_verdicts import write_verdict

PLANTED = "planted"


def scan_by_name(source: Any, out: Path, *settings: Any) -> None:
    """Flags what is called planted."""
    names = [sample.id for sample in take_census(open_source(str(source))).samples]
    write_verdict(Path(source), Path(out), {name: "planted" for name in names if PLANTED in name})


if __name__ == "__main__":
    pipeline.scan = scan_by_name
    cli.main()
