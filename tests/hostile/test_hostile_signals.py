"""A scan that is told to stop: no verdict, no traceback, nothing left, and an exit code that says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.book import state_of
from tests.toys import write_toys

#: Seconds after which the work has surely begun, and is surely not done: reading, and then the training of the probe.
MOMENTS = {"early": 0.0, "later": 4.0}


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "early"),
        (signal.SIGINT, "later"),
        (signal.SIGTERM, "early"),
        pytest.param(signal.SIGTERM, "later", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "early", marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_scan_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    """Exit code 128 + the signal; beside ``--out`` there is nothing, and its processes are gone."""
    data = tmp_path / "data"
    write_toys(data, each=150)
    before = state_of(data)
    words = [sys.executable, "-m", "sanitizer.cli", "scan", str(data), "--out", str(tmp_path / "out")]
    running = subprocess.Popen(
        [*words, "--budget", "thorough", "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)] and None,
    )  # fmt: skip
    _wait_for_work(running, tmp_path)
    time.sleep(MOMENTS[moment])
    assert running.poll() is None
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert out == ""
    assert "Traceback" not in err, err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert state_of(data) == before
    assert _is_gone(running.pid)


def _wait_for_work(running: subprocess.Popen[str], folder: Path) -> None:
    """Until the folder of the verdict to come is there."""
    patience = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < patience:
        if any(path.name.startswith(".partial-") for path in folder.iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError(running.communicate(timeout=5))


def _is_gone(session: int) -> bool:
    """Whether nobody of a session is left; helpers that notice the end of their parent take a moment."""
    patience = time.monotonic() + 5
    while time.monotonic() < patience:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
