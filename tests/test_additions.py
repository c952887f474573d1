"""Additions to a fitted set are judged as their nearest fitted neighbours of the same label were, at their own cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import save_file
from toy_hooks import made, toys
from toy_scans import hurried

from sanitizer import Sanitizer
from sanitizer.additions import Reference, reference
from sanitizer.embed import probe
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of all fits here."""
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def fitted(store: str) -> Iterator[Sanitizer]:
    """On toys with planted samples."""
    with hurried():
        yield Sanitizer(budget="fast", device="cpu", store=store).fit(made(*toys()))


@pytest.fixture
def nothing_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any training is an error."""
    monkeypatch.setattr(probe, "train_probe", lambda *_, **__: pytest.fail("a probe was trained"))


def kinds_of(seed: int) -> tuple[Any, np.ndarray]:
    """Toys that were not fitted, and which of them are planted (the first of every draw are not)."""
    contents, labels = toys(seed=seed)
    clean = set(toys(seed=seed, planted=0)[0])
    return made(contents, labels), np.array([content not in clean for content in contents])


def test_poison_like_the_fitted_one_is_recognised(fitted: Sanitizer, nothing_trained: None) -> None:
    """Among new images: most of it, and hardly a clean one; all are marked as not fitted."""
    rows, planted = kinds_of(seed=7)
    mapped = rows.map(fitted, batched=True)
    suspicious = np.array(mapped["suspicious"][:])
    assert planted.sum() >= 8
    assert set(mapped["kind"][:]) == {"unseen"}
    assert suspicious[planted].mean() >= 0.8
    assert suspicious[~planted].mean() <= 0.02
    scores = np.array(mapped["poison_score"][:])
    assert np.isfinite(scores).all()
    assert np.median(scores[planted]) > np.quantile(scores[~planted], 0.95)


def test_what_is_suspicious_is_not_kept(fitted: Sanitizer, nothing_trained: None) -> None:
    """Unseen rows are kept unless they look like what was flagged; nothing is lost."""
    rows, _ = kinds_of(seed=7)
    clean, quarantined = fitted.split(rows)
    assert len(clean) + len(quarantined) == len(rows)
    assert len(quarantined) == sum(rows.map(fitted, batched=True)["suspicious"][:]) > 0


def test_an_addition_is_judged_alone_or_among_others(fitted: Sanitizer, nothing_trained: None) -> None:
    """Row by row or in batches of any size."""
    rows = kinds_of(seed=7)[0].select(range(30))
    one, many = (rows.map(fitted, batched=True, batch_size=size) for size in (1, 30))
    assert one["suspicious"][:] == many["suspicious"][:]
    np.testing.assert_allclose(one["poison_score"][:], many["poison_score"][:], rtol=1e-3)


def test_without_a_store_nothing_is_known_of_additions(store: str, fitted: Sanitizer) -> None:
    """And the score says so."""
    assert reference(store, fitted.verdict.digest) is not None
    assert reference("none", fitted.verdict.digest) is None
    assert reference(store, "0" * 64) is None
    with hurried():
        alone = Sanitizer(budget="fast", device="cpu", store="none").fit(made(*toys(each=12, planted=0)))
    said = alone(kinds_of(seed=7)[0][:4])
    assert said["kind"] == ["unseen"] * 4
    assert np.isnan(said["poison_score"]).all()


def test_the_probe_is_made_once_in_a_process(
    fitted: Sanitizer, nothing_trained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches there are."""
    made_again, known = [], probe.trained_again
    monkeypatch.setattr(probe, "trained_again", lambda *given: made_again.append(1) or known(*given))
    reference.cache_clear()
    kinds_of(seed=7)[0].map(fitted, batched=True, batch_size=16, load_from_cache_file=False)
    assert len(made_again) == 1


@pytest.mark.parametrize(
    "metadata",
    [{}, {"about": "{}", "weights": b""}, {"about": "{}", "weights": b"no tensors"}, {"about": "{", "weights": b""}],
    ids=["nothing said", "no features", "no tensors", "no JSON"],
)
def test_what_somebody_else_left_in_the_store_is_no_reference(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Whole, but nothing that we wrote."""
    kept = Store.open(str(tmp_path))
    assert kept is not None
    kept.shelf("fits", verdict="ab").put(pa.table({"value": [1]}).replace_schema_metadata(metadata))
    assert reference(str(tmp_path), "ab") is None


def test_a_frozen_network_looks_at_additions_too(tmp_path: Path, store: str) -> None:
    """The one that was named at fit."""
    network = tmp_path / "tiny.safetensors"
    save_file(CifarResNet(1, 4, 5).state_dict(), network)
    san = Sanitizer(model=str(network), device="cpu", store=store, detectors=["lof"]).fit(made(*toys(planted=0)))
    said = san(kinds_of(seed=7)[0][:8])
    assert said["kind"] == ["unseen"] * 8
    assert np.isfinite(said["poison_score"]).all()


def test_a_scan_of_trusted_samples_is_no_reference(tmp_path: Path, store: str) -> None:
    """What was compared with is not reported on, so its rows have no verdict to hand on."""
    contents, labels = toys(each=20, planted=0)
    trusted = made(*toys(each=20, planted=0, seed=9))
    (tmp_path / "trusted").mkdir()
    trusted.to_parquet(str(tmp_path / "trusted" / "part.parquet"))
    settings = ScanSettings(
        budget="fast", device="cpu", store=store, trusted=str(tmp_path / "trusted" / "part.parquet"), detectors=("lof",)
    )
    with hurried():
        verdict = scan(made(contents, labels), tmp_path / "verdict", settings)
    assert reference(store, verdict.digest) is None


def known(flagged: list[int], *, scores: list[float] | None = None) -> Reference:
    """Ten fitted samples of label 0 on a line at 0, 1, 2, ..., some of them flagged, and one of label 1."""
    where = np.r_[np.arange(10.0), 100.0][:, None].astype(np.float32)
    marks = np.isin(np.arange(11), flagged)
    worth = np.array(scores or marks * 5.0, np.float32)
    return Reference({"kind": "probe"}, {}, where, np.array([0] * 10 + [1], np.int32), marks, worth)


def test_neighbours_of_the_same_label_decide() -> None:
    """More than half of the eight nearest; half is not enough, and other labels have no say."""
    near = np.array([-1.0], np.float32)
    assert known([0, 1, 2, 3, 4])._by_neighbours(near, 0) == (True, 5.0)
    assert known([0, 1, 2, 3])._by_neighbours(near, 0)[0] is False
    assert known([5, 6, 7, 8, 9])._by_neighbours(near, 0)[0] is False
    assert known([5, 6, 7, 8, 9])._by_neighbours(np.array([12.0], np.float32), 0)[0] is True
    assert known([10])._by_neighbours(near, 1) == (True, 5.0)
    suspicious, score = known([0])._by_neighbours(near, 2)
    assert (suspicious, math.isnan(score)) == (False, True)
