"""``--engine ray`` as far as it can be tried without Ray: the same verdict, plain refusals, and no Ray unasked."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from toy_cli import Run, assert_one_line, runner
from toy_engines import checkpoint, in_process, parquet, settings
from toy_scans import poisoned
from toy_textures import textures
from toys import write_toys

from sanitizer.engines import ray as room
from sanitizer.errors import MissingDependency, SourceError, UsageError
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.record import Verdict
from sanitizer.sources.decode import LIMITS
from sanitizer.sources.encode import encode

#: Without the detectors that take longest.
QUICK = {"detectors": ("k_distance", "spectral", "gradient_density", "shared_trait", "recurring_pattern")}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer``."""
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen network."""
    return checkpoint(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toys, an image cut short, a link out of the root."""
    return poisoned(tmp_path_factory.mktemp("set"))[0]


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users who have not installed it."""
    monkeypatch.setitem(sys.modules, "ray", None)


def both(source: Path, asked: dict[str, Any], network: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Verdict, ...]:
    """The verdict of one process, and that of a cluster that is one process as well."""
    monkeypatch.setattr(room, "cluster", in_process)
    return tuple(scan(source, None, settings(network, engine, **asked)) for engine in ("local", "ray"))


@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_the_verdict_is_the_same(
    layout: str, folder: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digest; what cannot be read and what must not be is counted the same."""
    source = folder if layout == "folder" else parquet(tmp_path / "set.parquet")
    local, mapped = both(source, QUICK, network, monkeypatch)
    assert mapped.digest == local.digest
    assert mapped.counts["unreadable"] == mapped.counts["refused"] == 1
    assert mapped.incomplete == ()


def test_so_it_is_beside_a_trusted_set(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with a second network to judge labels by."""
    write_toys(tmp_path / "suspect", seed=1)
    write_toys(tmp_path / "trusted", planted=0, seed=2)
    second = tmp_path / "second"
    second.mkdir()
    asked = QUICK | {"trusted": str(tmp_path / "trusted"), "reference": str(checkpoint(second))}
    local, mapped = both(tmp_path / "suspect", asked, network, monkeypatch)
    assert mapped.digest == local.digest
    assert mapped.summary["reference"] == local.summary["reference"]


def test_large_jpegs_may_be_decoded_small(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers decode as this process would: at the same fraction, recorded the same way."""
    for number, pixels in enumerate(textures(40, side=160)):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        (tmp_path / str(number % 2) / f"{number}.jpg").write_bytes(encode(pixels, "JPEG"))
    local, mapped = both(tmp_path, QUICK | {"decoding": "scaled"}, network, monkeypatch)
    assert mapped.digest == local.digest
    assert mapped.digest != scan(tmp_path, None, settings(network, **QUICK)).digest


def test_the_store_serves_both(folder: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one engine has kept the other need not compute; nothing is looked at twice."""
    from sanitizer.engines.looking import Looking

    looked: list[int] = []
    look = Looking._look

    def counted(self: Looking, waiting: list[Any]) -> None:
        looked.append(len(waiting))
        look(self, waiting)

    monkeypatch.setattr(Looking, "_look", counted)
    asked = QUICK | {"store": str(tmp_path / "store")}
    local, mapped = both(folder, asked, network, monkeypatch)
    assert mapped.digest == local.digest
    assert sum(looked) == 0
    monkeypatch.setattr(room, "cluster", in_process)
    fresh = QUICK | {"store": str(tmp_path / "other")}
    assert scan(folder, None, settings(network, **fresh)).digest == local.digest
    assert sum(looked) > 0
    before = sum(looked)
    assert scan(folder, None, settings(network, **fresh)).digest == local.digest
    assert sum(looked) == before


def test_a_relative_path_is_found_from_elsewhere(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have other working folders: they are told whole paths."""
    monkeypatch.chdir(tmp_path)
    asked = settings(Path(network.name))
    place = room.OnRay(None, asked, "cpu")._place(_Somewhere("set"), LIMITS)  # type: ignore[arg-type]
    assert place.suspect == str(tmp_path / "set")


class _Somewhere:
    def __init__(self, uri: str) -> None:
        self.uri = uri


def test_without_ray_one_line_says_what_to_install(
    run: Run, folder: Path, network: Path, tmp_path: Path, without_ray: None
) -> None:
    """And no verdict folder is begun."""
    words = ("--out", tmp_path / "out", "--model", network, "--device", "cpu", "--engine", "ray")
    assert_one_line(run("scan", folder, *words), "--engine ray", "pip install 'dataset-sanitizer[ray]'")
    assert not (tmp_path / "out").exists()


def test_a_probe_is_trained_on_one_machine(run: Run, folder: Path, tmp_path: Path, without_ray: None) -> None:
    """Said before Ray is even looked for."""
    answer = run("scan", folder, "--out", tmp_path / "out", "--engine", "ray")
    assert_one_line(answer, "expected a frozen network with --engine ray, got the probe", "--model")


def test_a_dataset_in_memory_is_on_no_other_machine(network: Path, without_ray: None) -> None:
    """It says what to do instead."""
    held = Dataset.from_dict({"image": [b"", b""], "label": [0, 1]})
    with pytest.raises(SourceError, match=r"expected a path that every machine can open .* save it as Parquet"):
        scan(held, None, settings(network, image_column="image"))


def test_unknown_engines_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    """Like any word that means nothing; and a plan times this machine, not a cluster."""
    assert_one_line(run("scan", folder, "--out", tmp_path / "out", "--engine", "dask"), "--engine", "local or ray")
    assert_one_line(run("scan", folder, "--plan", "--engine", "ray"), "--plan", "--engine local")
    with pytest.raises(UsageError, match="expected local or ray"):
        ScanSettings(engine="dask")  # type: ignore[arg-type]


def test_a_gate_that_is_given_a_verdict_needs_no_engine(run: Run, folder: Path, tmp_path: Path) -> None:
    """It belongs to a scan."""
    policy = tmp_path / "policy.toml"
    policy.write_text("[gate]\n")
    answer = run("gate", folder, "--policy", policy, "--verdict", tmp_path, "--engine", "ray")
    assert_one_line(answer, "--engine", "beside --verdict")


class _Listens:
    """Sees every import that is tried, and finds nothing."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Only listens."""
        self.heard.append(name)
        return None


def test_ray_is_never_imported_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a local scan, and not to refuse what Ray is not needed for."""
    listens = _Listens()
    monkeypatch.setattr(sys, "meta_path", [listens, *sys.meta_path])
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "set.npz", x=rng.normal(size=(60, 5)).astype(np.float32), y=np.arange(60) % 2)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("sanitizer.engines")]:
            patch.delitem(sys.modules, name)
        scan(tmp_path / "set.npz", None, ScanSettings(device="cpu", detectors=("k_distance",)))
    assert "sanitizer.engines.local" in listens.heard
    assert not [name for name in listens.heard if name.partition(".")[0] == "ray"]


def test_what_is_missing_is_a_dependency(folder: Path, network: Path, without_ray: None) -> None:
    """For users of the library, too."""
    with pytest.raises(MissingDependency, match=r"dataset-sanitizer\[ray\]"):
        scan(folder, None, settings(network))
