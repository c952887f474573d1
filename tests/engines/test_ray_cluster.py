"""``--engine ray`` on Ray: several nodes on one machine, workers that are killed, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from toy_engines import TOTAL, checkpoint, parquet, settings
from toy_scans import poisoned

from sanitizer.engines import mapped, references
from sanitizer.engines.careful import RETRIES, ClusterError
from sanitizer.engines.cluster import ADDRESS
from sanitizer.pipeline import scan
from sanitizer.record import Verdict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray leaves sockets and processes to the collector, and warns of its future
]

WORKER = "MapWorker"
PATIENCE = 300.0
QUICK = {"detectors": ("k_distance", "spectral", "gradient_density", "recurring_pattern")}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen network."""
    return checkpoint(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same toys in two layouts, each with items that are refused and that cannot be read."""
    root = tmp_path_factory.mktemp("set")
    return {"folder": poisoned(root / "folder")[0], "parquet": parquet(root / "set.parquet")}


@pytest.fixture(scope="module")
def local(sources: dict[str, Path], network: Path) -> dict[str, Verdict]:
    """What one process says."""
    return {name: scan(source, None, settings(network, "local", **QUICK)) for name, source in sources.items()}


@pytest.fixture(scope="module", params=[2, 3])
def nodes(request: pytest.FixtureRequest) -> Iterator[int]:
    """A cluster of so many nodes with one processor each, which ``RAY_ADDRESS`` names."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'dataset-sanitizer[ray]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        folder = tempfile.mkdtemp(prefix="nodes-")  # a short path: sockets lie in it
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()  # where the address of a cluster is kept, which nobody makes on a new machine
        head = {"num_cpus": 1, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(request.param - 1):
            made.add_node(num_cpus=1)
        patch.setenv(ADDRESS, made.address)
        patch.setattr(references, "BLOCK_ITEMS", 16)  # more blocks than workers
        try:
            yield request.param
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_the_verdict_is_that_of_one_process(
    nodes: int, layout: str, sources: dict[str, Path], local: dict[str, Verdict], network: Path
) -> None:
    """However many nodes there are; hostile items are counted and nothing is missing."""
    verdict = scan(sources[layout], None, settings(network, **QUICK))
    assert verdict.digest == local[layout].digest
    assert verdict.counts["scanned"] == TOTAL
    assert verdict.counts["unreadable"] == verdict.counts["refused"] == 1
    assert verdict.incomplete == ()


def test_a_killed_worker_loses_nothing(
    nodes: int, sources: dict[str, Path], local: dict[str, Verdict], network: Path
) -> None:
    """SIGKILL while it works on a block: somebody does the block again."""
    with killing() as killed:
        verdict = scan(sources["folder"], None, settings(network, **QUICK))
    assert killed
    assert verdict.digest == local["folder"].digest
    assert verdict.incomplete == ()


def test_workers_that_always_die_end_the_scan(
    nodes: int,
    sources: dict[str, Path],
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With one line that names the items, and no other; it does not go on for ever."""

    class Dies:
        def __init__(self, **told: Any) -> None:
            pass

        def __call__(self, block: pa.Table) -> pa.Table:
            os.kill(os.getpid(), signal.SIGKILL)
            return block

    monkeypatch.setattr(mapped, "Looking", Dies)
    with pytest.raises(ClusterError, match=f"{RETRIES + 1} of them died over the items from") as caught:
        scan(sources["folder"], None, settings(network, **QUICK))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_a_local_instance_is_quiet_and_leaves_nothing(
    sources: dict[str, Path], local: dict[str, Verdict], network: Path, tmp_path: Path
) -> None:
    """Where no cluster is named, Ray runs as long as the scan: no process, no folder, no word of Ray's own stays."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'dataset-sanitizer[ray]'")
    there = set(Path(tempfile.gettempdir()).glob("ray*"))
    words = ["scan", sources["parquet"], "--out", tmp_path / "out", "--model", network, "--device", "cpu"]
    words += ["--engine", "ray", "--store", "none", "--quiet", "--detectors", ",".join(QUICK["detectors"])]
    env = {name: value for name, value in os.environ.items() if name != ADDRESS}
    told = subprocess.run(
        [sys.executable, "-m", "sanitizer.cli", *map(str, words)], env=env, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (1, "", "")
    assert Verdict.read(tmp_path / "out").digest == local["parquet"].digest
    assert set(Path(tempfile.gettempdir()).glob("ray*")) == there
    assert not [pid for pid, words in processes().items() if str(network) in words or str(tmp_path) in words]


@contextlib.contextmanager
def killing() -> Iterator[list[int]]:
    """Kill, once, the first worker of ours that is seen at work."""
    killed: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        while not killed and not ended.is_set() and time.monotonic() < deadline:
            busy = [pid for pid, words in processes().items() if f"ray::{WORKER}" in words and ".submit" in words]
            for pid in busy[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def processes() -> dict[int, str]:
    """What runs below this very process, and the words that it runs by."""
    parents, words = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
                words[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
    ours = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= grown
    return {pid: words[pid] for pid in ours if pid in words and pid != os.getpid()}
