"""What the ``datasets`` library caches by: equal sanitizers are equal everywhere, and whatever counts changes them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import dill
import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets.fingerprint import Hasher
from safetensors.torch import save_file
from toy_hooks import EACH, expected, few, fit_few, fitted, fitted_few, made, poisoned, readable, said, same, toys

from sanitizer import Sanitizer, hooks
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.hooked.fitted import Fitted
from sanitizer.hooked.lookup import Lookup

MANY = 50_000


@pytest.fixture
def network(tmp_path: Path) -> Any:
    """Writes a network with other weights under the same name."""

    def write(seed: int) -> str:
        torch.manual_seed(seed)
        save_file(CifarResNet(1, 4, 5).state_dict(), tmp_path / "net.safetensors")
        return str(tmp_path / "net.safetensors")

    return write


def test_it_is_the_same_before_and_after_it_is_asked() -> None:
    """And as a copy, by pickle or by dill."""
    san = fitted_few()
    before = Hasher.hash(san), Hasher.hash(san.keep)
    few().map(san, batched=True)
    assert san.verdict.counts
    assert (Hasher.hash(san), Hasher.hash(san.keep)) == before
    for copy in (pickle.loads(pickle.dumps(san)), dill.loads(dill.dumps(san))):  # noqa: S301 - made on this line
        assert copy == san
        assert Hasher.hash(copy) == before[0]


def test_fitting_the_same_again_changes_nothing() -> None:
    """Without a store: scanned twice."""
    again = fit_few()
    assert again == fitted_few()
    assert Hasher.hash(again) == Hasher.hash(fitted_few())


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"max_drop": 0.3}, {"unseen": "drop"}, {"detectors": ["k_distance"]}, {"label_column": "label"}],
    ids=str,
)
def test_every_parameter_counts(settings: dict[str, Any]) -> None:
    """Even one that happens to change no verdict."""
    assert Hasher.hash(fit_few(**settings)) != Hasher.hash(fitted_few())


def test_the_data_count() -> None:
    """One image, or one label."""
    contents, labels = toys(each=EACH, planted=0)
    other = [*contents[:-1], toys(each=1, planted=0, seed=9)[0][-1]]
    changed = [made(other, labels), made(contents, [*labels[:-1], "bar"])]
    assert len({Hasher.hash(fitted_few()), *(Hasher.hash(fit_few(data)) for data in changed)}) == 3


@pytest.mark.parametrize("role", ["model", "reference"])
def test_the_contents_of_networks_count(network: Any, role: str) -> None:
    """Not only their names."""
    hashes = [Hasher.hash(fit_few(**{role: network(seed)})) for seed in (0, 1, 0)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_our_own_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would not notice that it changed."""
    monkeypatch.setattr(hooks, "implementation", lambda *modules: "another")
    assert Hasher.hash(fit_few()) != Hasher.hash(fitted_few())


def of_many() -> Sanitizer:
    """A sanitizer that knows of as many rows as CIFAR-10 has."""
    rng = np.random.default_rng(0)
    digests = [rng.bytes(32).hex() for _ in range(MANY)]
    table = pa.table(
        {
            "digest": digests,
            "view_digest": digests[::-1],
            "label": pa.array(rng.integers(0, 10, MANY), pa.int32()),
            "suspicious": rng.random(MANY) < 0.01,
            "kind": np.where(rng.random(MANY) < 0.01, "planted", ""),
            "score": rng.random(MANY),
        }
    )
    made = pickle.loads(pickle.dumps(fitted_few()))  # noqa: S301 - made on this line
    known = made._known()
    assert isinstance(known, Fitted)
    made._set(_fitted=replace(known, table=Lookup.packed(table)))
    return made


def test_it_is_small_and_hashed_in_no_time() -> None:
    """Every process gets a copy, every call of the library hashes it."""
    made = of_many()
    assert len(pickle.dumps(made)) < 5e6
    assert len(pickle.dumps(fitted_few())) < 10_000
    times = []
    for _ in range(3):
        start = time.process_time()
        Hasher.hash(made)
        times.append(time.process_time() - start)
    assert min(times) < 0.2


def test_a_second_map_is_served_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a parameter changes."""
    asked = []
    judged = Fitted.judged
    monkeypatch.setattr(Fitted, "judged", lambda self, *more: asked.append(1) or judged(self, *more))
    few().save_to_disk(str(tmp_path / "data"))

    def mapped(san: Sanitizer) -> tuple[int, datasets.Dataset]:
        asked.clear()
        found = datasets.load_from_disk(str(tmp_path / "data")).map(san, batched=True)
        return len(asked), found

    first, again, other = mapped(fitted_few()), mapped(fit_few()), mapped(fit_few(unseen="drop"))
    assert (first[0], again[0], other[0]) == (1, 0, 1)
    assert same(said(first[1]), said(again[1]))
    assert len(list((tmp_path / "data").glob("cache-*.arrow"))) == 2


SPAWNED = """
import json, sys
import datasets, multiprocess
from datasets.fingerprint import Hasher
from sanitizer import Sanitizer

if __name__ == "__main__":
    multiprocess.set_start_method("spawn")
    datasets.disable_progress_bars()
    data = datasets.load_from_disk(sys.argv[1])
    san = Sanitizer(budget="fast", device="cpu", detectors="lof", store=sys.argv[2]).fit(data)
    found = data.map(san, batched=True, with_indices=True, with_rank=True, num_proc=1)
    told = [found["suspicious"][:], found["poison_score"][:], found["kind"][:]]
    print(json.dumps({"recalled": san.verdict.recalled, "hash": Hasher.hash(san), "told": told}))
"""


def test_another_process_recalls_and_spawns_and_agrees(tmp_path: Path) -> None:
    """With another seed for hashes, it scans nothing, fits an equal sanitizer, and sends it to spawned processes."""
    san = fit_few(store=str(tmp_path / "store"))
    assert fit_few(store=str(tmp_path / "store")).verdict.recalled
    few().save_to_disk(str(tmp_path / "data"))
    (tmp_path / "spawned.py").write_text(SPAWNED)
    done = subprocess.run(
        [sys.executable, "spawned.py", str(tmp_path / "data"), str(tmp_path / "store")],
        env={**os.environ, "PYTHONHASHSEED": "12345"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["recalled"], told["hash"]) == (True, Hasher.hash(san))
    found = san(few()[:])
    assert told["told"] == [found["suspicious"], found["poison_score"].tolist(), found["kind"]]


def test_forked_processes_agree() -> None:
    """Four of them, each with its part of the rows."""
    found = readable().map(fitted(), batched=True, batch_size=16, with_indices=True, with_rank=True, num_proc=4)
    assert same(said(found), expected()[:-1])
    assert found.features == fitted().features(poisoned().features)
