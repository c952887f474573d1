"""The engine of many machines: Ray maps over blocks of names, and over classes; verdicts are those of one machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.base import Detector, Evidence
from sanitizer.engines.cluster import Cluster, cluster
from sanitizer.engines.looking import Place, anywhere
from sanitizer.errors import SourceError, UsageError
from sanitizer.progress import SILENT, Progress
from sanitizer.sources.base import Source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import Limits
from sanitizer.store import Store

if TYPE_CHECKING:
    from sanitizer.engines.mapped import Seen
    from sanitizer.extraction import Extraction
    from sanitizer.pipeline import ScanSettings


@contextmanager
def on_ray(settings: ScanSettings, source: Source) -> Iterator[OnRay]:
    """A cluster, as long as a scan takes; what it could not do is refused before it is started."""
    from sanitizer.devices import resolve_device

    _expect(settings, source)
    device = resolve_device(settings.device).type
    with cluster(gpus=device == "cuda") as found:
        yield OnRay(found, settings, device)


@dataclass
class OnRay:
    """Decodes and embeds in workers that open the source by themselves; a class's neighbours are one task."""

    cluster: Cluster
    settings: ScanSettings
    device: str
    seen: Seen | None = field(default=None, init=False)

    def census(
        self,
        source: Source,
        *,
        store: Store | None = None,
        progress: Progress = SILENT,
        **local: Any,  # what only makes sense where images are seen here
    ) -> Census:
        """Everything found; what the networks saw on the way is kept for the extraction."""
        if source.holds == "vectors":
            return take_census(source, progress=progress, store=store, **local)
        import torch

        from sanitizer.engines.mapped import Seeing
        from sanitizer.extraction import Extraction

        named = filter(None, (self.settings.model, self.settings.reference))
        networks = tuple(dict.fromkeys(map(anywhere, named)))
        extraction = Extraction(
            model=self.settings.model, reference=self.settings.reference, decoding=self.settings.decoding,
            device=torch.device(self.device), store=store, progress=progress,
        )  # fmt: skip
        seeing = Seeing(self.cluster, self._place(source, extraction.limits()), networks, extraction)
        census, self.seen = seeing.see(source)
        return census

    def extraction(self, **settings: Any) -> Extraction:
        """Of vectors as ever; of images, from what was seen."""
        from sanitizer.engines.mapped import Mapped
        from sanitizer.extraction import Extraction

        if self.seen is None:
            return Extraction(**settings)
        return Mapped(**settings, cluster=self.cluster, seen=self.seen)

    def evidence(
        self,
        spaces: Mapping[str, np.ndarray],
        census: Census,
        detectors: Iterable[Detector],
        *,
        device: str,
        seed: int,
    ) -> Evidence:
        """Graphs are made when a detector asks, all classes at once."""
        from sanitizer.engines.graphs import with_graphs
        from sanitizer.evidence import build_evidence

        evidence = build_evidence(
            spaces, census.labels(), census.class_names, census.keys(), detectors, device=device, seed=seed
        )
        return with_graphs(evidence, self.cluster, device=self.device, seed=seed)

    def _place(self, source: Source, limits: Limits) -> Place:
        trusted = self.settings.trusted
        return Place(
            str(Path(source.uri).absolute()), str(Path(trusted).absolute()) if trusted else None,
            self.settings.image_column, self.settings.label_column, limits,
        )  # fmt: skip


def _expect(settings: ScanSettings, source: Source) -> None:
    if source.holds == "images" and settings.model == "probe":
        raise UsageError(
            "expected a frozen network with --engine ray, got the probe, which is trained on one machine: "
            "name a network with --model, or use --engine local"
        )
    if source.holds == "images" and source.root is None:
        raise SourceError(
            "expected a path that every machine can open with --engine ray, got a dataset in memory: "
            "save it as Parquet, or use --engine local"
        )
