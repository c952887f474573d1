"""Our way, from images on: workloads of reading, networks and whole scans."""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.worker import Answer, Work

#: Networks that no checkpoint of ours can hold: they are handed to the scan instead of one.
UNNAMED = "small_resnet18"


def whole_scan(folder: Path, *, source: str, kind: str | None = None) -> Work:
    """From files to a verdict folder, with nothing kept from earlier; by a frozen network, or by a probe."""
    from sanitizer.pipeline import ScanSettings, scan

    if kind == UNNAMED:
        _hand_over(kind)
    model = _model(folder, kind) if kind else "probe"
    settings = ScanSettings(model=model, store="none", device="cpu")
    warm = settings if kind else replace(settings, budget="fast")

    def run(what: str, settings: ScanSettings) -> Answer:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:  # nothing may be written into a source
            verdict = scan(str(folder / what), Path(scratch) / "verdict", settings)
        timings = verdict.summary["timings"]
        return {"stages": np.array(list(timings)), "seconds": np.array(list(timings.values()))}

    run("few.parquet", warm)
    return lambda: run(source, settings)


def forward_pass(folder: Path, *, kind: str) -> Work:
    """The network over images that lie in memory, batch by batch as in a scan: nothing can be spared of this."""
    backbone = _backbone(folder, kind)
    images = np.load(folder / "images.npy")
    backbone.embed(images[: backbone.batch])
    return lambda: {"features": backbone.embed(images), "precision": np.array(backbone.precision)}


def training(folder: Path) -> Work:
    """The training that a scan with a probe cannot do without."""
    import torch

    from sanitizer.embed.probe import plan_probe, train_probe

    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    keys = np.random.default_rng(1).integers(0, 2**63, len(labels), dtype=np.uint64)

    def train(count: int, budget: str) -> Answer:
        plan = plan_probe(count, images.shape[1], budget=budget, seed=0)
        classes = int(labels.max()) + 1
        found = train_probe(images[:count], labels[:count], keys[:count], classes, plan, device=torch.device("cpu"))
        return {"loss": found.loss.mean(axis=0)}

    train(min(200, len(labels)), "fast")
    return lambda: train(len(labels), "standard")


def probe_forward(folder: Path, *, residual: bool) -> Work:
    """A probe's forward pass over the images, bare or with the evidence that is read off it."""
    import torch

    from sanitizer.embed.probe import embed
    from sanitizer.nets import autocast, build_net

    images = torch.from_numpy(np.load(folder / "images.npy")).permute(0, 3, 1, 2)
    labels, device, batch = np.load(folder / "labels.npy"), torch.device("cpu"), 1024
    net = build_net(int(labels.max()) + 1, images, width=16, stem_stride=1, seed=0).eval()
    net = net.to(memory_format=torch.channels_last)

    def bare(images: torch.Tensor) -> Answer:
        with torch.inference_mode(), autocast(device):
            for start in range(0, len(images), batch):
                net(net.normalise(images[start : start + batch].contiguous(memory_format=torch.channels_last)))
        return {}

    def read_off(images: torch.Tensor) -> Answer:
        feature, answers = embed(net, images, labels[: len(images)], device=device, batch=batch)
        return {"feature": feature[:1], "residual": answers[:1]}

    work = read_off if residual else bare
    work(images[:batch])
    return lambda: work(images)


def read_folder(folder: Path, *, side: int, decoding: str = "exact") -> Work:
    """A folder read as a scan by a frozen network reads it: found, digested, decoded, fitted; on one core."""
    from sanitizer.sources.base import open_source
    from sanitizer.sources.census import take_census
    from sanitizer.sources.decode import Limits

    limits = Limits(enough=side if decoding == "scaled" else None)

    def read() -> Answer:
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
        shown = Shown(side)
        census = take_census(open_source(str(folder / "images")), limits=limits, onlookers=[shown])
        assert len(census.samples) == shown.images  # no two are the same
        return {"images": np.array(shown.images)}

    return read


@dataclass
class Shown:
    """Counts the images that it is shown."""

    side: int
    images: int = 0
    needs_every_core = False

    def see(self, digest: str, view: np.ndarray) -> None:  # noqa: ARG002 - as networks are shown them
        """One image."""
        assert view.shape == (self.side, self.side, 3)
        self.images += 1

    def seen_all(self) -> None:
        """There are no more."""


def flags(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whom a scan by these features would flag, and its scores."""
    import torch

    from detectors.base import MissingEvidence
    from sanitizer.embed.head import cross_fitted_residual
    from sanitizer.evidence import build_evidence
    from sanitizer.pipeline import choose_detectors
    from sanitizer.verdict import Calibration, Opinion, judge

    keys = np.random.default_rng(1).integers(0, 2**63, len(labels), dtype=np.uint64)
    names = tuple(f"class{label}" for label in np.unique(labels))
    residual = cross_fitted_residual(rows, labels, keys, len(names), seed=0, device=torch.device("cpu"))
    chosen = choose_detectors(("auto",))
    spaces = {"feature": rows, "reference": rows, "residual": residual}
    evidence = build_evidence(spaces, labels, names, keys, chosen.values())
    heard = {}
    for name, detector in chosen.items():
        try:
            heard[name] = Opinion(detector, *detector.opinion(evidence))
        except MissingEvidence:
            continue
    judgement = judge(evidence, heard, Calibration())
    return judgement.suspicious, judgement.score


def _backbone(folder: Path, kind: str) -> Any:
    import torch

    from sanitizer.embed.backbone import open_backbone

    if kind == UNNAMED:
        _hand_over(kind)
    return open_backbone(_model(folder, kind), device=torch.device("cpu"))


def _model(folder: Path, kind: str) -> str:
    return kind if kind == UNNAMED else str(folder / "network.safetensors")


def _hand_over(kind: str) -> None:
    """Have this process open a drawn network wherever it opens a model of that name."""
    from benchmarks.speed.inputs import drawn_network
    from sanitizer.embed import backbone
    from sanitizer.embed.network import IMAGENET_MEAN, IMAGENET_STD, headless

    def handed(name: str) -> Any:
        net = copy.deepcopy(drawn_network(name))  # whoever opens a network changes it in place
        return headless(net, name, "fc", side=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    drawn_network(kind)
    backbone.open_network = handed
