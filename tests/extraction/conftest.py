"""A quick probe, a store, a toy set, a small checkpoint, and what the probe gives of the set."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toy_extraction import EPOCHS, extracted
from toys import write_toys

from sanitizer.embed import probe
from sanitizer.embed.cifar_resnet import CifarResNet
from sanitizer.embed.probe import ProbePlan
from sanitizer.extraction import Extracted
from sanitizer.nets import Recipe
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store


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


@pytest.fixture(scope="module")
def plain(census: Census) -> Extracted:
    """What a probe sees without a store."""
    return extracted(census)[0]
