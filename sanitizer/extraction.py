"""From a census to spaces: which network looks at the samples, and what the store already knows of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.record import version_of
from sanitizer.sources.census import Census
from sanitizer.store import Shelf, Store, implementation

if TYPE_CHECKING:
    import torch

    from sanitizer.embed.backbone import Backbone
    from sanitizer.embed.probe import ProbePlan

PROBE = "probe"
#: Our own code that decides what a probe's spaces and a backbone's rows are.
_PROBE_CODE = ("sanitizer.nets", "sanitizer.embed.probe", "sanitizer.sources.base", "sanitizer.sources.decode")
_BACKBONE_CODE = (
    *(f"sanitizer.embed.{name}" for name in ("backbone", "folding", "inference", "network")),
    *(f"sanitizer.embed.{name}" for name in ("cifar_resnet", "mobilenet", "timm_nets", "torchvision_nets")),
    "sanitizer.sources.decode",
)


@dataclass(frozen=True)
class Extracted:
    """Row i of every space is sample i of the census."""

    spaces: dict[str, NDArray[Any]]
    model: dict[str, Any]  # who computed ``feature``
    reference: dict[str, Any] | None  # who computed ``reference``, where that is somebody else
    side: int | None  # of the images as they were seen by the model


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract with; calling it does the work."""

    model: str = PROBE
    reference: str | None = None
    budget: str = "standard"
    seed: int = 0
    device: torch.device
    store: Store | None = None
    progress: Progress = SILENT
    timed: Callable[[str], AbstractContextManager[None]] = lambda stage: nullcontext()

    def __call__(self, census: Census) -> Extracted:
        """The spaces of every sample: from the model, and from the reference beside it."""
        self.expect(census)
        if census.holds == "vectors":
            return self._of_vectors(census)
        beside = None if self.reference is None else self._backbone(self.reference)  # first: it may not exist
        found = self._by_probe(census) if self.model == PROBE else self._by_backbone(census)
        if beside is None:
            return found
        spaces = found.spaces | {"reference": self._frozen(census, beside)}
        return Extracted(spaces, found.model, beside.facts(), found.side)

    def expect(self, census: Census) -> None:
        """Refuse, before any work, a set that this model cannot look at."""
        if census.holds == "vectors" and (self.model != PROBE or self.reference is not None):
            raise UsageError("--model, --reference: expected neither for ready-made vectors, they are the features")
        if census.holds == "images" and self.model == PROBE and not census.class_names:
            raise SourceError(
                "expected labels, which a probe learns; this set has none: sort it into class folders, name "
                "--label-column, or name a frozen network with --model"
            )

    def rows_shelf(self, backbone: Backbone) -> Shelf | None:
        """Where the store keeps what this frozen network saw."""
        return self._shelf("rows", _BACKBONE_CODE, model=backbone.facts())

    def probe_shelves(self, census: Census, plan: ProbePlan) -> tuple[Shelf | None, Shelf | None]:
        """Where the store keeps this probe's finished run on this very set, and an interrupted one."""
        key = {"plan": asdict(plan), "set": _identity(census), "classes": len(census.class_names)}
        return self._shelf("probes", _PROBE_CODE, **key), self._shelf("checkpoints", _PROBE_CODE, **key)

    def _of_vectors(self, census: Census) -> Extracted:
        """Vectors are a frozen network's features already; who made them we cannot know."""
        vectors = census.vectors()
        model = {"kind": "vectors", "width": vectors.shape[1]}
        return Extracted(self._with_residual(vectors, census), model, None, None)

    def _by_backbone(self, census: Census) -> Extracted:
        backbone = self._backbone(self.model)
        spaces = self._with_residual(self._frozen(census, backbone), census)
        return Extracted(spaces, backbone.facts(), None, backbone.side)

    def _with_residual(self, feature: NDArray[Any], census: Census) -> dict[str, NDArray[Any]]:
        """Frozen features are their own reference; a linear head adds what the labels look like to them."""
        spaces = {"feature": feature, "reference": feature}
        if census.class_names:
            from sanitizer.embed.head import cross_fitted_residual

            with self.timed("fitting the head"), self.progress.stage("fitting the head", None):
                spaces["residual"] = cross_fitted_residual(
                    feature, census.labels(), census.keys(), len(census.class_names),
                    seed=self.seed, device=self.device,
                )  # fmt: skip
        return spaces

    def _backbone(self, name: str) -> Backbone:
        from sanitizer.embed.backbone import open_backbone

        return open_backbone(name, device=self.device)

    def _frozen(self, census: Census, backbone: Backbone) -> NDArray[np.float16]:
        """Every image through a frozen network, except those that went through it before."""
        from sanitizer.embed.kept import kept_rows

        shelf = self.rows_shelf(backbone)
        digests = [sample.digest for sample in census.samples]

        def compute(rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
            with self.progress.stage("embedding", len(rows)) as advance:
                views = census.each_view(backbone.side, rows)
                for part in _batched(views, backbone.batch):
                    yield np.array([row for row, _ in part]), backbone.embed(np.stack([view for _, view in part]))
                    advance(len(part))

        with self.timed(f"embedding with {backbone.name}"):
            return kept_rows(self.store, shelf, digests, backbone.width, compute)

    def _by_probe(self, census: Census) -> Extracted:
        """The probe's spaces: of an earlier run on the same set, of one that goes on, or of a new one."""
        from sanitizer.embed.kept import kept_probe
        from sanitizer.embed.probe import plan_probe

        plan = plan_probe(len(census.samples), census.native_side(), budget=self.budget, seed=self.seed)
        shelf, checkpoints = self.probe_shelves(census, plan)
        kept = kept_probe(shelf) if shelf else None
        if kept is None:
            kept = self._train(census, plan, shelf, checkpoints)
        spaces, model = kept
        return Extracted(dict(spaces), json.loads(model), None, plan.side)

    def _train(
        self, census: Census, plan: ProbePlan, shelf: Shelf | None, checkpoints: Shelf | None
    ) -> tuple[dict[str, NDArray[Any]], str]:
        from sanitizer.embed.kept import keep_checkpoint, keep_probe, kept_checkpoint, kept_probe
        from sanitizer.embed.probe import train_probe

        with self.timed("decoding"):
            pixels = census.views(plan.side)
        total = len(pixels) * (plan.recipe.epochs + 1)
        with self.timed("training the probe"), self.progress.stage("training the probe", total) as advance:
            found = train_probe(
                pixels, census.labels(), census.keys(), len(census.class_names), plan,
                device=self.device, on_batch=advance,
                resume=kept_checkpoint(checkpoints) if checkpoints else None,
                on_epoch=(lambda state: keep_checkpoint(checkpoints, state)) if checkpoints else None,
            )  # fmt: skip
        model = json.dumps(found.model)
        if shelf and checkpoints:
            keep_probe(shelf, found, model)
            checkpoints.clear()
            kept = kept_probe(shelf)
            assert kept is not None  # it was written on the line before
            return kept
        return {"feature": found.feature, "residual": found.residual, "loss": found.loss}, model

    def _shelf(self, kind: str, code: tuple[str, ...], **key: Any) -> Shelf | None:
        if self.store is None:
            return None
        versions = {name: version_of(name) for name in ("torch", "torchvision", "timm", "pillow")}
        return self.store.shelf(
            kind,
            **key,
            code=implementation(*code),
            versions=versions,
            device=self.device.type,
            bf16=_in_bf16(self.device),
        )


def _in_bf16(device: torch.device) -> bool:
    """Whether this machine computes in bf16: the same network gives other last digits elsewhere."""
    from sanitizer.nets import autocast

    return bool(getattr(autocast(device), "_enabled", False))


def _identity(census: Census) -> str:
    """The set that a probe learns: contents and labels, in canonical order; not what files are called."""
    hasher = hashlib.sha256()
    for sample in census.samples:
        hasher.update(f"{sample.digest} {sample.label}\n".encode())
    return hasher.hexdigest()


def _batched(views: Iterator[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    part: list[tuple[int, Any]] = []
    for view in views:
        part.append(view)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
