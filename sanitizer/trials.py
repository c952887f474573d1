"""Trials: each part of a scan done to a little, with a clock beside it. What comes out are seconds for all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Evidence, Graph, Neighbors
from sanitizer.evidence import GRADIENT_SPARE, NEIGHBORS
from sanitizer.index import nearest

if TYPE_CHECKING:
    import torch

    from sanitizer.embed.backbone import Backbone
    from sanitizer.embed.probe import ProbePlan

#: Training steps: the first ones are slower than all that follow.
WARM_UP, MEASURED = 2, 4
#: Seconds after which a training trial is content with the steps it has.
PATIENCE = 6.0
#: A pass without gradients takes about this part of a training step.
FORWARD = 1 / 3
#: Rows that a trained probe, or a look at the pixels, is tried on; first with a few, which are slower.
LOOKED_ROWS, FIRST_ROWS = 256, 32
#: Rows that a head is fitted on.
HEAD_ROWS = 2000
#: Rows that ask for neighbours, and among how many.
ASKING_ROWS, SEARCHED_ROWS = 512, 8192
#: Rows of a class that detectors are asked about; what they do for all of them is the difference of two sets.
CLASS_ROWS, FEW_CLASSES, MORE_CLASSES = 512, 2, 4
#: Wider features are tried at this width: what is done to them grows with its square.
WIDEST = 512
FEATURES = ("feature", "reference")


def training_seconds(n: int, classes: int, plan: ProbePlan, device: torch.device, *, done: int = 0) -> float:
    """Training a probe on ``n`` images from epoch ``done`` on, and reading the evidence off it."""
    from sanitizer.embed.probe import train_probe

    rng = np.random.default_rng(0)
    few = min(n, (WARM_UP + MEASURED) * plan.recipe.batch_size)
    pixels = rng.integers(0, 256, (few, plan.side, plan.side, 3), np.uint8)
    clock = _Clock(few)
    once = replace(plan, recipe=replace(plan.recipe, epochs=1))
    with suppress(_Enough):
        labels, keys = rng.integers(0, classes, few), rng.integers(0, 2**63, few).astype(np.uint64)
        train_probe(pixels, labels, keys, classes, once, device=device, on_batch=clock.tick)
    return clock.seconds_each() * n * (plan.recipe.epochs - done + FORWARD)


def look_seconds(
    name: str, wanted: frozenset[str], n: int, classes: int, plan: ProbePlan, device: torch.device
) -> tuple[float, dict[str, NDArray[np.floating]]]:
    """A trained probe's look at ``n`` images, and what such rows are like."""
    import torch

    from sanitizer.embed.views import LOOKS, Looking
    from sanitizer.nets import build_net

    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (LOOKED_ROWS, 3, plan.side, plan.side), np.uint8))
    net = build_net(classes, images, width=plan.width, stem_stride=plan.stem_stride, seed=0).to(device).eval()
    keys = rng.integers(0, 2**63, LOOKED_ROWS).astype(np.uint64)
    looking = Looking(net=net, images=images, keys=keys, seed=0, device=device)
    LOOKS[name].views(replace(looking, images=images[:FIRST_ROWS], keys=keys[:FIRST_ROWS]), wanted)
    passed: list[int] = []  # rows: some looks try out a few samples before they begin
    net.head.register_forward_hook(lambda head, inputs, output: passed.append(len(output)))
    start = time.perf_counter()
    rows = LOOKS[name].views(looking, wanted)
    return (time.perf_counter() - start) / sum(passed) * n * LOOKS[name].passes, rows


def pixel_seconds(
    space: str, n: int, classes: int, side: int, device: torch.device
) -> tuple[float, NDArray[np.floating]]:
    """A look without a model at ``n`` images, and what such rows are like."""
    from sanitizer.embed.spaces import VIEWS

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (LOOKED_ROWS, side, side, 3), np.uint8)
    labels, keys = rng.integers(0, classes, LOOKED_ROWS), rng.integers(0, 2**63, LOOKED_ROWS).astype(np.uint64)
    VIEWS[space](pixels[:FIRST_ROWS], labels[:FIRST_ROWS], keys[:FIRST_ROWS], device)
    start = time.perf_counter()
    rows = VIEWS[space](pixels, labels, keys, device)
    return (time.perf_counter() - start) / LOOKED_ROWS * n, rows


class _Enough(Exception):
    """The clock has seen what it wanted to see."""


class _Clock:
    """Stops a training run after its first epoch, or when patience ends."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.ticks: list[tuple[float, int]] = [(time.perf_counter(), 0)]  # when, how many samples by then

    def tick(self, count: int) -> None:
        seen = self.ticks[-1][1] + count
        self.ticks.append((time.perf_counter(), seen))
        late = self.ticks[-1][0] - self.ticks[0][0] > PATIENCE
        if seen >= self.most or (late and len(self.ticks) > 2):
            raise _Enough

    def seconds_each(self) -> float:
        start = self.ticks[min(WARM_UP, len(self.ticks) - 2)]
        end = self.ticks[-1]
        return (end[0] - start[0]) / max(1, end[1] - start[1])


def embedding_seconds(rows: int, backbone: Backbone) -> float:
    """A frozen network's pass over ``rows`` images, and what its first batch takes longer."""
    images = np.random.default_rng(0).integers(0, 256, (backbone.batch, backbone.side, backbone.side, 3), np.uint8)
    first = _seconds(partial(backbone.embed, images))
    if first > PATIENCE:
        return first * -(-rows // backbone.batch)
    each = _seconds(partial(backbone.embed, images))
    return max(0.0, first - each) + each * -(-rows // backbone.batch)


def head_seconds(n: int, width: int, classes: int, device: torch.device) -> float:
    """Fitting a cross-fitted linear head."""
    from sanitizer.embed.head import cross_fitted_residual

    few, narrow = min(n, HEAD_ROWS), min(width, WIDEST)
    rng = np.random.default_rng(0)
    labels, keys = rng.integers(0, classes, few), rng.integers(0, 2**63, few).astype(np.uint64)
    rows = rng.normal(size=(few, narrow)).astype(np.float32)
    rows[:, 0] += labels  # something to learn, or the fit would not move
    fit = partial(cross_fitted_residual, rows, labels, keys, classes, seed=0, device=device)
    return _seconds(fit) * n / few * width / narrow


def search_seconds(names: Iterable[str], sizes: Sequence[int], width: int, classes: int, device: str) -> float:
    """The neighbour graphs with these names, for classes of these sizes."""
    n = sum(sizes)
    usual = round(sum(size**2 for size in sizes) / max(1, n))  # in a class as large as a sample sees it, on average
    total, _ = _search(16, 4, classes, "feature", device)  # engines are loaded on first use
    for name in names:
        graph = Graph.parse(name)
        among = usual if graph.within_class else n
        among = min(among, graph.reference or among)
        few = min(among, SEARCHED_ROWS)
        seconds, asking = _search(few, width, classes, graph.space, device)
        total += seconds * n / asking * among / few
    return total


def _search(among: int, width: int, classes: int, space: str, device: str) -> tuple[float, int]:
    """Seconds of one search among so many rows, and how many of them asked."""
    from sanitizer.embed import gradients

    rng = np.random.default_rng(0)
    asking = min(among, ASKING_ROWS)
    groups = [(np.arange(asking), np.arange(among))]
    search = partial(nearest, groups=groups, k=NEIGHBORS, device=device)
    feature = rng.normal(size=(among, width)).astype(np.float32)
    if space != "gradient":
        return _seconds(partial(search, feature)), asking
    residual = rng.normal(size=(among, classes)).astype(np.float32)
    exact = partial(gradients.squared_distances, residual, feature)
    sketched = gradients.sketch(residual, feature)
    return _seconds(partial(search, sketched, exact=exact, spare=GRADIENT_SPARE)), asking


def detector_seconds(
    detectors: Mapping[str, Detector], sizes: Sequence[int], widths: Mapping[str, int], classes: int
) -> float:
    """Scores and class evidence of all detectors that these spaces suffice for."""
    n = sum(sizes)
    usual = round(sum(size**2 for size in sizes) / max(1, n))
    rows = max(2, min(usual, CLASS_ROWS))
    narrow = {name: min(width, WIDEST) if name in FEATURES else width for name, width in widths.items()}
    some, more = (
        _seconds(partial(_ask, detectors, _made_up(detectors, count, rows, narrow, labelled=classes > 0)))
        for count in (FEW_CLASSES, MORE_CLASSES)
    )
    each = max(0.0, (more - some) / (MORE_CLASSES - FEW_CLASSES))
    scale = max((width / narrow[name]) ** 2 for name, width in widths.items())
    return float(scale * max(some / FEW_CLASSES, more + each * (n / rows - MORE_CLASSES)))


def _ask(detectors: Mapping[str, Detector], evidence: Evidence) -> None:
    for detector in detectors.values():
        with suppress(Exception):  # also whatever a plugin raises: the scan will say so, not the plan
            detector.score(evidence)
            detector.class_scores(evidence)


def _made_up(
    detectors: Mapping[str, Detector], count: int, rows: int, widths: Mapping[str, int], *, labelled: bool
) -> Evidence:
    """Noise in ``count`` classes of ``rows`` samples, with whatever graphs are asked for."""
    rng = np.random.default_rng(0)
    n = count * rows
    spaces: dict[str, NDArray[np.floating]] = {
        name: rng.normal(size=(n, width)).astype(np.float32) for name, width in widths.items()
    }
    if "residual" in spaces:
        spaces["residual"] = -np.abs(spaces["residual"]) / 100
    if "loss" in spaces:
        spaces["loss"] = np.abs(spaces["loss"])
    labels = np.repeat(np.arange(count), rows) if labelled else np.full(n, -1)
    distances = np.sort(1 + rng.random((n, NEIGHBORS), dtype=np.float32), axis=1)
    near = Neighbors(distances, rng.integers(0, n, (n, NEIGHBORS)))
    graphs = {name: near for detector in detectors.values() for name in detector.neighbors}
    keys = rng.integers(0, 2**63, n).astype(np.uint64)
    return Evidence(labels, [str(label) for label in range(count)], keys, spaces, graphs)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
