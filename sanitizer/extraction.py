"""From a census to spaces: which network looks at the samples, and what the store already knows of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.record import version_of
from sanitizer.sources.ahead import cores
from sanitizer.sources.census import Census
from sanitizer.sources.decode import LIMITS, Limits
from sanitizer.store import Shelf, Store, implementation

if TYPE_CHECKING:
    import torch

    from sanitizer.embed.backbone import Backbone
    from sanitizer.embed.early import EarlyRows
    from sanitizer.embed.kept import ProbeRun
    from sanitizer.embed.probe import ProbePlan

PROBE = "probe"
#: The images of a set at a side, (n, side, side, 3): decoded once, however many look at them.
Decoded = Callable[[int], NDArray[np.uint8]]
#: Our own code that decides what a probe's spaces, what pixels say and a backbone's rows are.
_PROBE_CODE = ("sanitizer.nets", "sanitizer.embed.probe", "sanitizer.sources.base", "sanitizer.sources.decode")
_VIEW_CODE = (*_PROBE_CODE, "sanitizer.embed.views")
_SPACE_CODE = (
    *(f"sanitizer.embed.{name}" for name in ("cosines", "frequency", "layout", "recurrence", "spaces")),
    "sanitizer.nets", "sanitizer.sources.base", "sanitizer.sources.decode",
)  # fmt: skip
_BACKBONE_CODE = (
    *(f"sanitizer.embed.{name}" for name in ("backbone", "folding", "inference", "network")),
    *(f"sanitizer.embed.{name}" for name in ("cifar_resnet", "mobilenet", "timm_nets", "torchvision_nets")),
    "sanitizer.sources.decode",
)

#: Spaces that take so many passes that only one budget allows them.
THOROUGH = frozenset({"superposition"})
#: The largest side at which pixels are looked at without a model.
PIXEL_SIDE = 32


@dataclass(frozen=True)
class Extracted:
    """Row i of every space is sample i of the census."""

    spaces: dict[str, NDArray[Any]]
    model: dict[str, Any]  # who computed ``feature``
    reference: dict[str, Any] | None  # who computed ``reference``, where that is somebody else
    side: int | None  # of the images as they were seen by the model
    left_out: dict[str, str] = field(default_factory=dict)  # spaces that were wanted, and who computes them
    weights: Mapping[str, torch.Tensor] | None = None  # of a probe, with which it can look at other images


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract with; calling it does the work.

    Every scan has ``feature`` and what comes with it for nothing; other spaces are computed only where ``wanted``.
    """

    model: str = PROBE
    reference: str | None = None
    budget: str = "standard"
    seed: int = 0
    device: torch.device
    wanted: frozenset[str] = frozenset()
    store: Store | None = None
    progress: Progress = SILENT
    timed: Callable[[str], AbstractContextManager[None]] = lambda stage: nullcontext()
    decoding: str = "exact"
    _opened: dict[str, Backbone] = field(default_factory=dict, repr=False)
    _early: dict[str, EarlyRows] = field(default_factory=dict, repr=False)  # by the name of the network

    def limits(self) -> Limits:
        """What an image may cost: where decoding is scaled, no more detail than the largest side looked at."""
        if self.decoding == "exact":
            return LIMITS
        networks = (self._backbone(name).side for name in self._networks())
        return replace(LIMITS, enough=max((*networks, *self.sides())))

    def onlookers(self) -> list[EarlyRows]:
        """The frozen networks, for a census to show them images while it reads; what they saw is not computed again."""
        from sanitizer.embed.early import EarlyRows

        for name in self._networks():
            opened = functools.partial(self._backbone, name)
            self._early[name] = EarlyRows(opened, self.rows_shelf, self.timed, self._crowded)
        return list(self._early.values())

    def sides(self) -> list[int]:
        """At which images will be asked for once they are read, if they are no smaller."""
        if self.model != PROBE:
            return [PIXEL_SIDE]
        from sanitizer.embed.probe import BUDGETS

        return [BUDGETS[self.budget][0], PIXEL_SIDE]

    def _crowded(self) -> bool:
        """Whether a network has every core: whoever decodes beside it makes its threads wait for each other."""
        import torch

        return self.device.type == "cpu" and torch.get_num_threads() >= cores()

    def _networks(self) -> list[str]:
        """The frozen ones, by name."""
        named = (name for name in (self.model, self.reference) if name is not None and name != PROBE)
        return list(dict.fromkeys(named))

    def __call__(self, census: Census) -> Extracted:
        """The spaces of every sample: from the model, and from the reference beside it."""
        self.expect(census)
        if census.holds == "vectors":
            return self._of_vectors(census)
        beside = None if self.reference is None else self._backbone(self.reference)  # first: it may not exist
        decoded = functools.cache(functools.partial(self._decoded, census))
        found = self._by_probe(census, decoded) if self.model == PROBE else self._by_backbone(census)
        found = replace(found, spaces=found.spaces | self._of_pixels(census, decoded))
        if beside is None:
            return found
        return replace(
            found, spaces=found.spaces | {"reference": self._frozen(census, beside)}, reference=beside.facts()
        )

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
        return self._shelf("rows", _BACKBONE_CODE, model=backbone.facts(), enough=self.limits().enough)

    def probe_shelves(self, census: Census, plan: ProbePlan) -> tuple[Shelf | None, Shelf | None]:
        """Where the store keeps this probe's finished run on this very set, and an interrupted one."""
        key = _run(census, plan)
        return self._shelf("probes", _PROBE_CODE, **key), self._shelf("checkpoints", _PROBE_CODE, **key)

    def view_shelf(self, census: Census, plan: ProbePlan, space: str) -> Shelf | None:
        """Where the store keeps a space that this probe gave besides its features."""
        return self._shelf("views", _VIEW_CODE, space=space, **_run(census, plan))

    def pixel_shelf(self, census: Census, space: str) -> Shelf | None:
        """Where the store keeps a space that needs no model."""
        return self._shelf("views", _SPACE_CODE, space=space, side=pixel_side(census), **_seen(census))

    def views(self) -> frozenset[str]:
        """Of what is wanted, the spaces that a probe gives besides its features under this budget."""
        from sanitizer.embed.views import LOOKS

        given = {space for look in LOOKS.values() for space in look.spaces}
        return (self.wanted & given) - frozenset(self._left_out())

    def pixel_spaces(self, census: Census) -> list[str]:
        """Of what is wanted, the spaces that need no model, in sets that have what they do need."""
        from sanitizer.embed.spaces import VIEWS

        return sorted(self.wanted & VIEWS.keys()) if census.class_names and census.holds == "images" else []

    def _left_out(self) -> dict[str, str]:
        return {} if self.budget == "thorough" else dict.fromkeys(self.wanted & THOROUGH, "--budget thorough")

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

        if name not in self._opened:
            self._opened[name] = open_backbone(name, device=self.device)
        return self._opened[name]

    def _frozen(self, census: Census, backbone: Backbone) -> NDArray[np.float16]:
        """Every image through a frozen network, except those that went through it before."""
        from sanitizer.embed.kept import kept_rows

        shelf = self.rows_shelf(backbone)
        digests = [sample.digest for sample in census.samples]

        def compute(rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
            with self.progress.stage("embedding", len(rows)) as advance:
                views = census.each_view(backbone.side, rows, resting=self._crowded())
                for part in _batched(views, backbone.batch):
                    yield np.array([row for row, _ in part]), backbone.embed(np.stack([view for _, view in part]))
                    advance(len(part))

        ready = next((early.rows for early in self._early.values() if early.rows and early.backbone is backbone), {})
        with self.timed(f"embedding with {backbone.name}"):
            return kept_rows(self.store, shelf, digests, backbone.width, compute, ready)

    def _by_probe(self, census: Census, decoded: Decoded) -> Extracted:
        """The probe's spaces: of an earlier run on the same set, of one that goes on, or of a new one."""
        from sanitizer.embed.kept import kept_probe
        from sanitizer.embed.probe import plan_probe

        plan = plan_probe(len(census.samples), census.native_side(), budget=self.budget, seed=self.seed)
        shelf, checkpoints = self.probe_shelves(census, plan)
        run = kept_probe(shelf) if shelf else None
        if run is None:
            run = self._train(census, plan, decoded(plan.side), shelf, checkpoints)
        spaces = run.spaces | self._views(census, plan, run, decoded)
        return Extracted(spaces, json.loads(run.model), None, plan.side, self._left_out(), run.weights)

    def _decoded(self, census: Census, side: int) -> NDArray[np.uint8]:
        with self.timed("decoding"):
            return census.views(side)

    def _train(
        self,
        census: Census,
        plan: ProbePlan,
        pixels: NDArray[np.uint8],
        shelf: Shelf | None,
        checkpoints: Shelf | None,
    ) -> ProbeRun:
        from sanitizer.embed.kept import ProbeRun, keep_checkpoint, keep_probe, kept_checkpoint, kept_probe
        from sanitizer.embed.probe import train_probe

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
        spaces: dict[str, NDArray[Any]] = {name: getattr(found, name) for name in ("feature", "residual", "loss")}
        return ProbeRun(spaces, model, found.weights)

    def _views(self, census: Census, plan: ProbePlan, run: ProbeRun, decoded: Decoded) -> dict[str, NDArray[Any]]:
        """What else the probe has to say, as far as somebody wants to hear it."""
        from sanitizer.embed.views import LOOKS

        shelves = {space: self.view_shelf(census, plan, space) for space in sorted(self.views())}
        spaces = _kept_spaces(shelves)
        for name, look in LOOKS.items():
            missing = frozenset(space for space in look.spaces if space in shelves and space not in spaces)
            if missing:
                for space, rows in self._looked(name, missing, census, plan, run, decoded(plan.side)).items():
                    spaces[space] = _kept(shelves[space], rows)
        return spaces

    def _looked(
        self,
        name: str,
        missing: frozenset[str],
        census: Census,
        plan: ProbePlan,
        run: ProbeRun,
        pixels: NDArray[np.uint8],
    ) -> dict[str, NDArray[Any]]:
        """The probe as it was when its training ended, looking once more."""
        import torch

        from sanitizer.embed.probe import trained_again
        from sanitizer.embed.views import LOOKS, Looking
        from sanitizer.nets import enough_threads

        stage, look = f"view {name}", LOOKS[name]
        with self.timed(stage), self.progress.stage(stage, look.passes * len(pixels)) as advance:
            looking = Looking(
                net=trained_again(run.weights, len(census.class_names), plan, self.device),
                images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
                keys=census.keys(), seed=self.seed, device=self.device, on_batch=advance,
            )  # fmt: skip
            with enough_threads(min(looking.batch, len(pixels)) * plan.side**2):
                return look.views(looking, missing)

    def _of_pixels(self, census: Census, decoded: Decoded) -> dict[str, NDArray[Any]]:
        """The wanted spaces that need no model."""
        from sanitizer.embed.spaces import VIEWS

        shelves = {space: self.pixel_shelf(census, space) for space in self.pixel_spaces(census)}
        spaces = _kept_spaces(shelves)
        for space in [name for name in shelves if name not in spaces]:
            stage, images = f"view {space}", decoded(pixel_side(census))
            with self.timed(stage), self.progress.stage(stage, len(images)) as advance:
                rows = VIEWS[space](images, census.labels(), census.keys(), self.device)
                advance(len(images))
            spaces[space] = _kept(shelves[space], rows)
        return spaces

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


def pixel_side(census: Census) -> int:
    """The side at which this set is looked at without a model."""
    return min(census.native_side(), PIXEL_SIDE)


def _run(census: Census, plan: ProbePlan) -> dict[str, Any]:
    """Everything that a probe's run depends on."""
    return {"plan": asdict(plan), "classes": len(census.class_names), **_seen(census)}


def _seen(census: Census) -> dict[str, Any]:
    """The images of a set: their contents, and how they are decoded."""
    return {"set": _identity(census), "enough": census.enough}


def _kept_spaces(shelves: dict[str, Shelf | None]) -> dict[str, NDArray[Any]]:
    """The spaces that are on their shelves."""
    from sanitizer.embed.kept import kept_space

    found = {space: kept_space(shelf) for space, shelf in shelves.items() if shelf}
    return {space: rows for space, rows in found.items() if rows is not None}


def _kept(shelf: Shelf | None, rows: NDArray[Any]) -> NDArray[Any]:
    """A space as it will be found the next time: kept, where there is a store, and memory-mapped."""
    from sanitizer.embed.kept import keep_space, kept_space

    if shelf is None:
        return rows
    keep_space(shelf, rows)
    kept = kept_space(shelf)
    assert kept is not None  # it was written two lines before
    return kept


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
