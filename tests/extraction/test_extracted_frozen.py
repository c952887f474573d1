"""A frozen network sees every image once; sets without labels, references, and ready-made vectors."""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_extraction import ASKED, CPU, Watching, assert_same, extracted
from toys import toy_images

from sanitizer import extraction as room
from sanitizer.embed import spaces
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.errors import SourceError, UsageError
from sanitizer.extraction import Extracted, Extraction
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store


def test_a_frozen_network_sees_every_image_once(census: Census, store: Store, checkpoint: Path) -> None:
    """The second time none; with a changed image that one."""
    plain, _ = extracted(census, model=str(checkpoint))
    first, steps = extracted(census, store, model=str(checkpoint))
    assert steps["embedding"] == len({sample.digest for sample in census.samples})
    second, steps = extracted(census, store, model=str(checkpoint))
    assert steps["embedding"] == 0
    assert_same(first, plain)
    assert_same(second, plain)
    np.testing.assert_array_equal(plain.spaces["feature"], plain.spaces["reference"])
    fewer = replace(census, samples=census.samples[5:])
    assert extracted(fewer, store, model=str(checkpoint))[1]["embedding"] == 0
    assert steps["fitting the head"] == 0


def test_an_interrupted_network_goes_on(
    census: Census, store: Store, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in finished shards is not seen again."""
    from sanitizer.embed import backbone, kept

    monkeypatch.setattr(kept, "SHARD_ROWS", 8)
    monkeypatch.setitem(backbone.LARGEST_BATCH, "cpu", 8)
    n = len(census.samples)
    stopping = Watching({"embedding": 30})
    with pytest.raises(KeyboardInterrupt):
        Extraction(device=CPU, store=store, progress=stopping, model=str(checkpoint))(census)
    found, steps = extracted(census, store, model=str(checkpoint))
    assert n - 32 <= steps["embedding"] <= n - 16
    assert_same(found, extracted(census, model=str(checkpoint))[0])


def test_other_weights_are_another_network(
    census: Census, store: Store, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same name; and so are other versions of what computes with them."""
    extracted(census, store, model=str(checkpoint))
    torch.manual_seed(5)
    save_file(CifarResNet(1, 4, 5).state_dict(), tmp_path / checkpoint.name)
    other, steps = extracted(census, store, model=str(tmp_path / checkpoint.name))
    assert steps["embedding"] == len(census.samples)
    assert_same(other, extracted(census, model=str(tmp_path / checkpoint.name))[0])
    for name in ("implementation", "version_of", "_in_bf16"):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, lambda *anything: "other")
            assert extracted(census, store, model=str(checkpoint))[1]["embedding"] == len(census.samples)


def test_all_code_that_computes_a_space_is_named() -> None:
    """Every module of ours that a probe's or a backbone's rows pass through names them apart."""
    assert {"sanitizer.nets", "sanitizer.embed.probe", "sanitizer.sources.base"} <= set(room._PROBE_CODE)
    assert {*room._PROBE_CODE, "sanitizer.embed.views"} <= set(room._VIEW_CODE)
    assert {"sanitizer.embed.spaces", "sanitizer.sources.decode"} <= set(room._SPACE_CODE)
    assert {view.__module__ for view in spaces.VIEWS.values()} <= set(room._SPACE_CODE)
    for module in (name for name in room._SPACE_CODE if name.startswith("sanitizer.embed.")):
        source = Path(str(import_module(module).__file__)).read_text()
        assert set(re.findall(r"^from (sanitizer\.[\w.]+) import", source, re.MULTILINE)) <= set(room._SPACE_CODE)
    assert {"sanitizer.embed.inference", "sanitizer.embed.folding", "sanitizer.embed.backbone"} <= set(
        room._BACKBONE_CODE
    )
    assert "sanitizer.sources.decode" in {*room._PROBE_CODE} & {*room._BACKBONE_CODE}


def test_a_reference_beside_a_probe(census: Census, store: Store, checkpoint: Path, plain: Extracted) -> None:
    """It adds its own view and says who it is; the probe stays what it was."""
    found, _ = extracted(census, store, reference=str(checkpoint))
    alone, _ = extracted(census, model=str(checkpoint))
    np.testing.assert_array_equal(found.spaces["reference"], alone.spaces["feature"])
    np.testing.assert_array_equal(found.spaces["feature"], plain.spaces["feature"])
    assert found.reference == alone.model
    assert found.model == plain.model
    assert "loss" in found.spaces


# Sets


def test_a_set_without_labels_has_no_residual_and_no_probe(checkpoint: Path, tmp_path: Path) -> None:
    """The error says what to do instead."""
    for number, (_, content, _) in enumerate(toy_images(each=4, planted=0)):
        (tmp_path / f"{number}.png").write_bytes(content)
    census = take_census(open_source(str(tmp_path)))
    assert list(extracted(census, model=str(checkpoint))[0].spaces) == ["feature", "reference"]
    with pytest.raises(SourceError, match="expected labels"):
        extracted(census)


def test_vectors_are_features_already(tmp_path: Path, store: Store, checkpoint: Path) -> None:
    """With a head where they have labels; nobody else may look at them."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 6)).astype(np.float32)
    np.savez(tmp_path / "v.npz", vectors=rows, labels=np.arange(30) % 2)
    census = take_census(open_source(str(tmp_path / "v.npz")))
    found, _ = extracted(census, store, wanted=ASKED)
    assert list(found.spaces) == ["feature", "reference", "residual"]
    assert found.spaces["feature"].dtype == np.float32
    assert sorted(map(tuple, found.spaces["feature"])) == sorted(map(tuple, rows))
    assert found.model == {"kind": "vectors", "width": 6}
    others: list[dict[str, Any]] = [{"model": str(checkpoint)}, {"reference": str(checkpoint)}]
    for settings in others:
        with pytest.raises(UsageError, match="expected neither for ready-made vectors"):
            extracted(census, **settings)
