"""What a scan asks of the engine that it runs on: a census, spaces, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from detectors.base import Detector, Evidence
from sanitizer.sources.base import Source
from sanitizer.sources.census import Census

if TYPE_CHECKING:
    from sanitizer.extraction import Extraction
    from sanitizer.pipeline import ScanSettings


class Engine(Protocol):
    """Somebody who does the three heavy steps of a scan."""

    def census(self, source: Source, **how: Any) -> Census:
        """Everything found, each with its final status; ``how`` is that of ``take_census``."""
        ...

    def extraction(self, **settings: Any) -> Extraction:
        """What makes spaces of a census; the settings are those of ``Extraction``."""
        ...

    def evidence(
        self,
        spaces: Mapping[str, np.ndarray],
        census: Census,
        detectors: Iterable[Detector],
        *,
        device: str,
        seed: int,
    ) -> Evidence:
        """The spaces, and every neighbour graph that these detectors declare."""
        ...


@contextmanager
def running(settings: ScanSettings, source: Source) -> Iterator[Engine]:
    """The engine that is asked for, ready to work; what it started has ended when the scan has."""
    if settings.engine == "local":
        from sanitizer.engines.local import Local

        yield Local()
        return
    from sanitizer.engines.ray import on_ray

    with on_ray(settings, source) as engine:
        yield engine
