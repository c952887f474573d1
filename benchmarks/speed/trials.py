"""Which comparison measures which rows, the quick ones first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.speed import density_rows, embed_rows, medoid_rows, reading_rows, rescan_rows, scan_rows, spectral_rows
from benchmarks.speed.bench import Bench, Measured


@dataclass(frozen=True)
class Trial:
    """Sides that are run in turn, and the rows that come of it."""

    rows: tuple[str, ...]
    measure: Callable[[Bench], dict[str, Measured]]


TRIALS = (
    Trial(("epic_time", "epic_memory"), medoid_rows.against_submodlib),
    Trial(("epic_exponent",), medoid_rows.growth),
    Trial(("gram",), embed_rows.gradients),
    Trial(("gradient_neighbors",), embed_rows.gradient_graph),
    Trial(("gradient_over_forward",), embed_rows.evidence),
    Trial(("decode_224",), reading_rows.at_224),
    Trial(("decode_1024",), reading_rows.at_1024),
    Trial(("forward",), embed_rows.forward),
    Trial(("spectral_clustering_50k",), spectral_rows.at_50k),
    Trial(("lof", "lof_same_work"), density_rows.outlier_factors),
    Trial(("knn_same_work", "knn_over_faiss"), density_rows.same_work),
    Trial(("overlap",), reading_rows.end_to_end),
    Trial(("knn_as_used", "knn_over_cleanlab"), density_rows.as_used),
    Trial(("spectral_clustering_200k",), spectral_rows.at_200k),
    Trial(("knn_200k", "knn_200k_same_work"), density_rows.at_200k),
    Trial(("rescan_changed", "rescan_unchanged"), rescan_rows.again),
    Trial(("scan_over_forward_resnet20",), scan_rows.by_resnet20),
    Trial(("exponent", "bytes_per_image"), scan_rows.detectors_in_memory),
    Trial(("bytes_per_image_mapped",), scan_rows.detectors_on_mapped_features),
    Trial(("scan_over_forward_resnet18",), scan_rows.by_resnet18),
    Trial(("scan_over_probe",), scan_rows.by_probe),
)
