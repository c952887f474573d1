"""Scanning again, with a store: the same is recalled, and whatever changed is computed anew."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_scans import SEED, Failing, Misshapen, contents, hurried, name_plugin, poisoned
from toys import write_toys

from detectors.base import Detector
from sanitizer import registry
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.errors import UsageError
from sanitizer.extraction import Extraction
from sanitizer.pipeline import ScanSettings, choose_detectors, decisive, scan
from sanitizer.record import WRITTEN, Verdict


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Every scan here is of toys."""
    with hurried():
        yield


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A poisoned folder with some items that are no samples, and the digests of the planted ones."""
    return poisoned(tmp_path_factory.mktemp("toys") / "data")


@pytest.fixture
def with_plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ``plugin`` the name of a detector."""
    return partial(name_plugin, monkeypatch)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A small set that may be changed."""
    write_toys(tmp_path / "data", each=20, planted=4, seed=SEED)
    return tmp_path / "data"


def settings_with(store: Path, **more: Any) -> ScanSettings:
    """A quick scan that remembers."""
    return ScanSettings(**{"budget": "fast", "device": "cpu", "store": str(store), "detectors": ("lof",), **more})


class ScannedAnew(Exception):
    """Somebody looked at the images."""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From ``idle()`` on, nothing may be embedded, scored or judged."""

    def refuse(*anything: Any, **more: Any) -> Any:
        raise ScannedAnew

    def stop() -> None:
        monkeypatch.setattr(Extraction, "__call__", refuse)
        monkeypatch.setattr(Detector, "score", refuse)

    return stop


def test_the_same_again_is_recalled(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Nothing is computed, every file is the same, and it says so; wherever store and output lie."""
    first = scan(mine, tmp_path / "one", settings_with(tmp_path / "store"))
    idle()
    again = scan(mine, tmp_path / "two", settings_with(tmp_path / "store"))
    assert (first.recalled, again.recalled) == (False, True)
    assert again.digest == first.digest
    assert again.exit_code == first.exit_code
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    (tmp_path / "store").rename(tmp_path / "moved")
    assert scan(mine, tmp_path / "one", settings_with(tmp_path / "moved")).recalled
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "two", settings_with(tmp_path / "another"))
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "two", settings_with(Path("none")))


def renamed(root: Path) -> None:
    """A file has another name."""
    file = sorted((root / "bar").iterdir())[0]
    file.rename(file.with_name("other.png"))


def relabelled(root: Path) -> None:
    """A file lies in another class."""
    file = sorted((root / "bar").iterdir())[0]
    file.rename(root / "box" / "other.png")


def one_byte_more(root: Path) -> None:
    """Behind the image: the pixels are the same."""
    with sorted((root / "bar").iterdir())[0].open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [renamed, relabelled, one_byte_more], ids=lambda change: change.__name__)
def test_changed_data_is_scanned_anew(mine: Path, tmp_path: Path, idle: Any, change: Any) -> None:
    """However little changed; and is recalled when it is what it was."""
    scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    shutil.copytree(mine, tmp_path / "kept")
    change(mine)
    idle()
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    shutil.rmtree(mine)
    (tmp_path / "kept").rename(mine)
    assert scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store")).recalled


def test_other_settings_are_another_scan(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Each of them; where it would be computed too."""
    scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store"))
    idle()
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"max_drop": 0.3},
        {"detectors": ("lof", "spectral")},
        {"detectors": ("spectral",)},
        {"budget": "standard"},
        {"device": "auto"},
        {"model": "torchvision:resnet18"},
        {"reference": "torchvision:resnet18"},
        {"trusted": str(mine)},
    ]
    for other in others:
        with pytest.raises(ScannedAnew):
            scan(mine, tmp_path / "other", settings_with(tmp_path / "store", **other))
    assert scan(mine, tmp_path / "verdict", settings_with(tmp_path / "store")).recalled


def network(path: Path, seed: int) -> str:
    """A frozen network with random weights."""
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    save_file(CifarResNet(1, 4, 5).state_dict(), path)
    return str(path)


def test_another_checkpoint_under_the_same_name_is_another_scan(mine: Path, tmp_path: Path, idle: Any) -> None:
    """Or another description beside it; the same one elsewhere is the same."""
    store, name = tmp_path / "store", network(tmp_path / "a" / "net.safetensors", 0)
    (tmp_path / "a" / "config.json").write_text("{}")
    scan(mine, tmp_path / "verdict", settings_with(store, model=name))
    idle()
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    moved = settings_with(store, model=str(tmp_path / "c" / "net.safetensors"))
    assert scan(mine, tmp_path / "verdict", moved).recalled
    (tmp_path / "c" / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", moved)
    network(tmp_path / "a" / "net.safetensors", 1)
    with pytest.raises(ScannedAnew):
        scan(mine, tmp_path / "verdict", settings_with(store, model=name))


def test_model_and_reference_do_not_change_places(mine: Path, tmp_path: Path) -> None:
    """Two files of one name: which is which decides."""
    a, b = (network(tmp_path / where / "net.safetensors", seed) for seed, where in enumerate("ab"))
    asked = [ScanSettings(model=one, reference=other) for one, other in ((a, b), (b, a))]
    chosen = choose_detectors(("lof",))
    assert decisive(asked[0], chosen, "data") != decisive(asked[1], chosen, "data")


def test_an_incomplete_scan_is_not_remembered(mine: Path, tmp_path: Path, with_plugin: Any) -> None:
    """Nor is one that asked a stranger, whose code may change without notice."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(registry.detector("lof")), "_score", Failing._score)
        assert scan(mine, tmp_path / "verdict", settings_with(store)).incomplete
    assert not scan(mine, tmp_path / "verdict", settings_with(store)).recalled
    with_plugin(Misshapen())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "origin", lambda group, name: "stranger")
        patch.setattr(Misshapen, "_class_scores", lambda self, evidence: np.zeros(len(evidence.classes)))
        for _ in range(2):
            found = scan(mine, tmp_path / "verdict", settings_with(store, detectors=("plugin",)))
            assert (found.incomplete, found.recalled) == ((), False)


def test_a_store_inside_the_source_is_refused(mine: Path, tmp_path: Path) -> None:
    """It would be data of the next scan; nothing is made there, nor in the trusted source."""
    before = contents(mine), sorted(mine.rglob("*"))
    write_toys(tmp_path / "trusted", each=2, planted=0)
    for store in (mine / "store", mine, tmp_path / "trusted" / "store"):
        with pytest.raises(UsageError, match="lies inside the source"):
            scan(mine, tmp_path / "verdict", settings_with(store, trusted=str(tmp_path / "trusted")))
    assert (contents(mine), sorted(mine.rglob("*"))) == before
    assert not (tmp_path / "trusted" / "store").exists()
    assert not (tmp_path / "verdict").exists()


@pytest.mark.parametrize("kind", ["verdicts", "views", "probes"])
def test_a_damaged_store_costs_time_and_nothing_else(mine: Path, tmp_path: Path, kind: str) -> None:
    """Whatever is broken is computed again, to the same files but for the time it took."""
    store = tmp_path / "store"
    first = scan(mine, tmp_path / "one", settings_with(store))
    (shard,) = (store / kind).rglob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    if kind != "verdicts":
        shutil.rmtree(store / "verdicts")
    again = scan(mine, tmp_path / "two", settings_with(store))
    assert not again.recalled
    assert again.digest == first.digest
    assert contents(tmp_path / "one")["verdicts.parquet"] == contents(tmp_path / "two")["verdicts.parquet"]
    assert scan(mine, tmp_path / "two", settings_with(store)).recalled


def test_without_output_a_probe_is_recalled_all_the_same(mine: Path, tmp_path: Path) -> None:
    """Nothing is written but the store; the spaces come from it."""
    asked = settings_with(tmp_path / "store")
    first = scan(mine, settings=asked)
    second = scan(mine, settings=asked)
    assert (first.digest, second.recalled) == (second.digest, False)
    assert "training the probe" in first.summary["timings"]
    assert "training the probe" not in second.summary["timings"]


#: The command line with a probe of a few seconds.
COMMAND = (
    "from sanitizer.cli import main; from sanitizer.embed import probe; probe.BUDGETS['fast'] = (32, 5, 400); main()"
)


@pytest.mark.slow
def test_a_scan_that_is_killed_at_any_moment_goes_on(toys: tuple[Path, set[str]], tmp_path: Path) -> None:
    """SIGKILL, again and again, then to the end: the same verdict, and nothing half-written is taken for one."""

    def start(out: Path, store: Path) -> subprocess.Popen[bytes]:
        words = ["scan", toys[0], "--out", out, "--store", store, "--budget", "fast", "--device", "cpu"]
        return subprocess.Popen([sys.executable, "-c", COMMAND, *map(str, words)], stderr=subprocess.DEVNULL)

    before = time.monotonic()
    assert start(tmp_path / "calm" / "verdict", tmp_path / "calm-store").wait() == 1
    took = time.monotonic() - before
    calm = Verdict.read(tmp_path / "calm" / "verdict")
    out, store = tmp_path / "rough" / "verdict", tmp_path / "store"
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        running = start(out, store)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(took * share)
        running.kill()
        running.wait()
        for found in out.parent.glob("*"):
            assert found.name == "verdict" or found.name.startswith(".partial-")
        if out.exists():
            assert Verdict.read(out).digest == calm.digest
    assert start(out, store).wait() == 1
    assert Verdict.read(out).digest == calm.digest
    assert {path.name for path in out.iterdir()} == WRITTEN
