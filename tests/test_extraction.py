"""Extraction: which network looks, what the store spares it, and that the spaces are the same either way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toys import toy_images, write_toys

from sanitizer import extraction as room
from sanitizer.embed import probe, spaces, views
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.embed.probe import ProbePlan
from sanitizer.errors import SourceError, UsageError
from sanitizer.extraction import Extracted, Extraction
from sanitizer.nets import Recipe
from sanitizer.progress import Advance
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store

CPU = torch.device("cpu")
EPOCHS = 4
TRAINING = "training the probe"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Four epochs are enough to be interrupted in."""

    def plan(n: int, native_side: int, *, budget: str, seed: int) -> ProbePlan:
        recipe = Recipe(epochs=EPOCHS, batch_size=16, peak_rate=0.05, max_shift=1, seed=seed)
        return ProbePlan(side=native_side, width=4, stem_stride=1, recipe=recipe)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "plan_probe", plan)
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh one."""
    found = Store.open(str(tmp_path / "store"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images."""
    root = tmp_path_factory.mktemp("toys") / "data"
    write_toys(root, each=16, planted=4)
    return root


@pytest.fixture(scope="module")
def census(toys: Path) -> Census:
    """All of them."""
    return take_census(open_source(str(toys)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen network with random weights."""
    torch.manual_seed(0)
    net = CifarResNet(1, 4, 5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_file(net.state_dict(), path)
    return path


class Watching:
    """Counts the steps of every stage; raises when a stage has gone so far."""

    def __init__(self, stops_at: dict[str, int] | None = None) -> None:
        self.steps: Counter[str] = Counter()
        self.stops_at = stops_at or {}

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """Count, and perhaps raise."""
        self.steps[name] += 0

        def advance(count: int) -> None:
            self.steps[name] += count
            if self.steps[name] >= self.stops_at.get(name, 10**9):
                raise KeyboardInterrupt

        yield advance


def extracted(census: Census, store: Store | None = None, **settings: Any) -> tuple[Extracted, Counter[str]]:
    """The spaces, and the steps that they took."""
    watching = Watching()
    return Extraction(device=CPU, store=store, progress=watching, **settings)(census), watching.steps


def assert_same(one: Extracted, other: Extracted) -> None:
    """Bit for bit, and the same things said about the networks."""
    assert list(one.spaces) == list(other.spaces)
    for name, space in one.spaces.items():
        assert space.dtype == other.spaces[name].dtype
        np.testing.assert_array_equal(space, other.spaces[name])
    assert (one.model, one.reference, one.side) == (other.model, other.reference, other.side)


# The probe


@pytest.fixture(scope="module")
def plain(census: Census) -> Extracted:
    """What a probe sees without a store."""
    return extracted(census)[0]


def test_a_probe_is_trained_once(census: Census, store: Store, plain: Extracted) -> None:
    """The second time its spaces come from the store, as they were, and no state of the run is left."""
    n = len(census.samples)
    first, steps = extracted(census, store)
    assert steps[TRAINING] == n * (EPOCHS + 1)
    second, steps = extracted(census, store)
    assert TRAINING not in steps
    assert_same(first, plain)
    assert_same(second, plain)
    assert list((store.root / "checkpoints").rglob("*.arrow")) == []


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 4])
def test_an_interrupted_probe_goes_on(census: Census, store: Store, plain: Extracted, epoch: int) -> None:
    """Stopped in the middle of any epoch, or of the pass that follows, it ends like one that was not."""
    n = len(census.samples)
    stopping = Watching({TRAINING: n * epoch + n // 2})
    with pytest.raises(KeyboardInterrupt):
        Extraction(device=CPU, store=store, progress=stopping)(census)
    kept = min(epoch, EPOCHS - 1)
    batches: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watching, "stage", counting_batches(batches))
        again, _ = extracted(census, store)
    assert_same(again, plain)
    assert sum(batches) == n * (EPOCHS + 1)  # what was spared counts as done
    assert len(batches) == (1 if kept else 0) + (EPOCHS - kept) * -(-n // 16) + 1
    assert list((store.root / "checkpoints").rglob("*.arrow")) == []
    assert TRAINING not in extracted(census, store)[1]


def counting_batches(batches: list[int]) -> Callable[..., Any]:
    """Notes every step of the training."""

    @contextmanager
    def stage(self: Watching, name: str, total: int | None) -> Iterator[Advance]:
        yield batches.append if name == TRAINING else lambda count: None

    return stage


def test_a_probe_may_be_interrupted_again_and_again(census: Census, store: Store, plain: Extracted) -> None:
    """Each time it comes an epoch further."""
    n = len(census.samples)
    for epoch in range(EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            Extraction(device=CPU, store=store, progress=Watching({TRAINING: n * epoch + n + 1}))(census)
    found, steps = extracted(census, store)
    assert_same(found, plain)
    assert steps[TRAINING] == n * (EPOCHS + 1)


def test_a_broken_checkpoint_is_a_new_start(census: Census, store: Store, plain: Extracted) -> None:
    """Nothing of it is used."""
    with pytest.raises(KeyboardInterrupt):
        Extraction(device=CPU, store=store, progress=Watching({TRAINING: 150}))(census)
    (shard,) = (store.root / "checkpoints").rglob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert_same(extracted(census, store)[0], plain)


def test_names_of_files_do_not_matter_to_a_probe_contents_and_labels_do(
    census: Census, store: Store, tmp_path: Path
) -> None:
    """A set renamed is the same set; one image or label changed is another."""
    extracted(census, store)
    written(tmp_path / "renamed", lambda number: f"n{99 - number}.png")
    renamed = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING not in extracted(renamed, store)[1]
    file = next((tmp_path / "renamed" / "bar").iterdir())
    file.rename(tmp_path / "renamed" / "dot" / "relabelled.png")
    relabelled = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING in extracted(relabelled, store)[1]
    (tmp_path / "renamed" / "dot" / "relabelled.png").unlink()
    fewer = take_census(open_source(str(tmp_path / "renamed")))
    assert TRAINING in extracted(fewer, store)[1]


def written(root: Path, name: Callable[[int], str]) -> None:
    """The toys under other names."""
    for number, (kind, content, _) in enumerate(toy_images(each=16, planted=4)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        (root / kind / name(number)).write_bytes(content)


def test_another_seed_code_or_library_is_another_probe(
    census: Census, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the first is used."""
    extracted(census, store)
    assert TRAINING in extracted(census, store, seed=1)[1]
    for name in ("implementation", "version_of", "_in_bf16"):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, lambda *anything: "other")
            assert TRAINING in extracted(census, store)[1]
    assert TRAINING not in extracted(census, store)[1]


# What a probe says besides

LAYERS, DROPOUT = "view layers", "view dropout"
ASKED = frozenset({"batchnorm", "channels", "dropout"})


@pytest.fixture(scope="module")
def asked(census: Census) -> Extracted:
    """What a probe says without a store where it is asked for more."""
    return extracted(census, wanted=ASKED)[0]


def test_nobody_looks_where_nothing_is_wanted(census: Census, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spaces that every scan has cost no look; another scan may want them all the same."""
    monkeypatch.setattr(views, "Looking", lambda **settings: pytest.fail("somebody looked"))
    for wanted in (frozenset(), frozenset({"feature", "residual", "loss", "reference", "tea leaves"})):
        found, steps = extracted(census, store, wanted=wanted)
        assert list(found.spaces) == ["feature", "residual", "loss"]
        assert not [stage for stage in steps if stage.startswith("view")]


def test_a_probe_that_is_asked_for_more_stays_what_it_is(census: Census, plain: Extracted, asked: Extracted) -> None:
    """What was wanted comes beside the rest, a row a sample, and nothing else."""
    assert asked.spaces.keys() == plain.spaces.keys() | ASKED
    assert_same(replace(asked, spaces={name: asked.spaces[name] for name in plain.spaces}), plain)
    assert {len(space) for space in asked.spaces.values()} == {len(census.samples)}


def test_a_probe_says_everything_once(census: Census, store: Store, asked: Extracted) -> None:
    """The second time it comes from the store, as it was; nothing is trained, looked at or decoded."""
    first, steps = extracted(census, store, wanted=ASKED)
    assert (steps[LAYERS], steps[DROPOUT]) == (len(census.samples), 4 * len(census.samples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Census, "views", lambda *anything: pytest.fail("it was decoded"))
        second, steps = extracted(census, store, wanted=ASKED)
    assert not steps
    assert_same(first, asked)
    assert_same(second, asked)


def test_a_kept_probe_is_asked_without_training(census: Census, store: Store, asked: Extracted) -> None:
    """Its weights are enough, and only what is missing is looked at."""
    extracted(census, store)
    found, steps = extracted(census, store, wanted=frozenset({"batchnorm"}))
    assert steps.keys() == {LAYERS}
    np.testing.assert_array_equal(found.spaces["batchnorm"], asked.spaces["batchnorm"])
    found, steps = extracted(census, store, wanted=ASKED)
    assert steps.keys() == {LAYERS, DROPOUT}
    assert_same(found, asked)


def test_other_code_looks_again(census: Census, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not see is not taken for what it would."""
    known = room.implementation
    extracted(census, store, wanted=ASKED)
    monkeypatch.setattr(room, "implementation", lambda *code: known(*code) + str("sanitizer.embed.views" in code))
    assert extracted(census, store, wanted=ASKED)[1][LAYERS] == len(census.samples)


def test_many_passes_need_a_budget(census: Census, checkpoint: Path) -> None:
    """Without it, it is said who would have computed the space; a frozen network cannot, whatever the budget."""
    wanted = frozenset({"superposition"})
    found, _ = extracted(census, wanted=wanted)
    assert "superposition" not in found.spaces
    assert found.left_out == {"superposition": "--budget thorough"}
    found, _ = extracted(census, wanted=wanted, budget="thorough")
    assert found.spaces["superposition"].shape == (len(census.samples), 1)
    assert found.left_out == {}
    frozen, _ = extracted(census, wanted=wanted | ASKED, model=str(checkpoint))
    assert frozen.spaces.keys() == {"feature", "reference", "residual"}
    assert frozen.left_out == {}


# What pixels say without a model


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A space of mean colours, and how often it was computed."""
    calls: Counter[str] = Counter()

    def mean_colour(pixels: np.ndarray, labels: np.ndarray, keys: np.ndarray, device: Any) -> np.ndarray:
        calls["mean_colour"] += 1
        assert len(pixels) == len(labels) == len(keys)
        assert (pixels.dtype, labels.dtype, keys.dtype) == (np.uint8, np.int64, np.uint64)
        return np.asarray(pixels.mean(axis=(1, 2)), np.float32)

    monkeypatch.setattr(spaces, "VIEWS", {"mean_colour": mean_colour})
    return calls


COLOURS = frozenset({"mean_colour"})


def test_pixels_need_no_model(
    census: Census, store: Store, checkpoint: Path, colours: Counter[str], plain: Extracted
) -> None:
    """The same beside a probe, a frozen network and a reference; computed once for a set, and only where wanted."""
    assert_same(extracted(census, store)[0], plain)
    assert not colours
    expected = census.views(census.native_side()).mean(axis=(1, 2)).astype(np.float32)
    networks: list[dict[str, Any]] = [{}, {"model": str(checkpoint)}, {"reference": str(checkpoint)}]
    for settings in networks:
        found, steps = extracted(census, store, wanted=COLOURS, **settings)
        np.testing.assert_array_equal(found.spaces["mean_colour"], expected)
        assert colours["mean_colour"] == 1
    assert "view mean_colour" not in steps
    assert extracted(census, wanted=COLOURS)[1]["view mean_colour"] == len(census.samples)
    fewer = replace(census, samples=census.samples[3:])
    assert extracted(fewer, store, wanted=COLOURS)[1]["view mean_colour"] == len(fewer.samples)


def test_large_images_are_looked_at_small(
    census: Census, colours: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no more than the side that all of these spaces are made for."""
    monkeypatch.setattr(room, "PIXEL_SIDE", 4)
    found, _ = extracted(census, wanted=COLOURS)
    np.testing.assert_allclose(found.spaces["mean_colour"], census.views(4).mean(axis=(1, 2)), rtol=1e-5)


def test_without_labels_pixels_are_not_asked(checkpoint: Path, tmp_path: Path, colours: Counter[str]) -> None:
    """The spaces compare classes."""
    for number, (_, content, _) in enumerate(toy_images(each=4, planted=0)):
        (tmp_path / f"{number}.png").write_bytes(content)
    census = take_census(open_source(str(tmp_path)))
    found, _ = extracted(census, model=str(checkpoint), wanted=COLOURS)
    assert list(found.spaces) == ["feature", "reference"]
    assert not colours


# Frozen networks


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
