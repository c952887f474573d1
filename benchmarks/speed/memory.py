"""How much memory a process takes at its peak, as Linux counts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
#: Seconds between two looks at what no counter of the kernel keeps the highest value of.
_PERIOD = 0.005


class Peak:
    """The highest value so far, in bytes."""

    def __init__(self, start: int) -> None:
        self.start = self.highest = start


@contextmanager
def resident_peak() -> Iterator[Peak]:
    """Of all memory of the process: the kernel keeps the highest value; where it cannot be reset, setting up counts."""
    peak = Peak(counted("VmRSS"))
    with suppress(OSError), Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")
    yield peak
    peak.highest = counted("VmHWM")


@contextmanager
def own_peak() -> Iterator[Peak]:
    """Of memory that no file backs: what the system could not page out to where it came from."""
    peak, done = Peak(counted("RssAnon")), threading.Event()

    def watch() -> None:
        while not done.wait(_PERIOD):
            peak.highest = max(peak.highest, counted("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield peak
    done.set()
    watcher.join()


def counted(name: str) -> int:
    """One of the kernel's counters for this process, in bytes; 0 where there is none."""
    with suppress(OSError), _STATUS.open() as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
