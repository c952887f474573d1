"""The local engine: everything in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.base import Detector, Evidence
from sanitizer.sources.base import Source
from sanitizer.sources.census import Census, take_census

if TYPE_CHECKING:
    from sanitizer.extraction import Extraction


class Local:
    """One machine, one process."""

    def census(self, source: Source, **how: Any) -> Census:
        """Read once, one item after the other."""
        return take_census(source, **how)

    def extraction(self, **settings: Any) -> Extraction:
        """As it is."""
        from sanitizer.extraction import Extraction

        return Extraction(**settings)

    def evidence(
        self,
        spaces: Mapping[str, np.ndarray],
        census: Census,
        detectors: Iterable[Detector],
        *,
        device: str,
        seed: int,
    ) -> Evidence:
        """Graphs are made when a detector asks, one after the other."""
        from sanitizer.evidence import build_evidence

        return build_evidence(
            spaces, census.labels(), census.class_names, census.keys(), detectors, device=device, seed=seed
        )
