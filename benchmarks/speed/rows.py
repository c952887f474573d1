"""What is promised about speed: the name of every ratio, its goal, and what is over what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["x", "share", "exponent", "bytes"]


@dataclass(frozen=True)
class Row:
    """One ratio. Where more is better it is the peer's cost over ours; where less is better, ours over the peer's."""

    name: str
    goal: float | None  # None: shown beside a row with a goal, so that nobody takes one kind of gain for another
    better: Literal[">=", "<="]
    unit: Unit
    compares: str

    def met(self, ratio: float) -> bool | None:
        """Whether the goal is reached; None where there is none.

        >>> Row("lof", 15, ">=", "x", "LOF").met(16.0)
        True
        """
        if self.goal is None:
            return None
        return ratio >= self.goal if self.better == ">=" else ratio <= self.goal


def _faster(name: str, goal: float | None, compares: str) -> Row:
    return Row(name, goal, ">=", "x", compares)


def _share(name: str, goal: float, compares: str) -> Row:
    return Row(name, goal, "<=", "share", compares)


def _growth(name: str, goal: float, compares: str) -> Row:
    return Row(name, goal, "<=", "exponent", compares)


def _bytes(name: str, goal: float, compares: str) -> Row:
    return Row(name, goal, "<=", "bytes", compares)


ROWS = (
    _faster("knn_as_used", 35, "distance to the 10th neighbour, 50k x 512: the faster of scikit-learn and PyOD (whole "
            "set) over `k_distance` (in the class, with the graph of 32 neighbours that it shares)"),
    _faster("knn_over_cleanlab", None, "the same over cleanlab's `OutOfDistribution` (whole set)"),
    _faster("knn_same_work", 4, "10 neighbours in the class on both sides, 50k x 512: scikit-learn over ours"),
    _faster("knn_over_faiss", 2, "10 neighbours in the class on both sides, 50k x 512: FAISS's flat index over ours"),
    _faster("knn_200k", 60, "distance to the 10th neighbour, 200k x 512: scikit-learn (whole set; some of its queries, "
            "scaled to all) over `k_distance` (in the class)"),
    _faster("knn_200k_same_work", None, "the same with scikit-learn in the class too"),
    _faster("lof", 15, "LOF of 20 neighbours, 25k x 512: scikit-learn (whole set) over `lof` (in the class)"),
    _faster("lof_same_work", None, "the same with scikit-learn in the class too, which gives the same scores"),
    _faster("spectral_clustering_50k", 40, "spectral signatures and activation clustering of 50k x 512: ART over ours"),
    _faster("spectral_clustering_200k", 100, "the same of 200k x 512"),
    _faster("epic_time", 25, "EPIC's selection of 10 % of a class of 5k: submodlib's over ours"),
    _faster("epic_memory", 100, "the same, memory on top of the gradients"),
    _growth("epic_exponent", 1.15, "how our selection's time grows from a class of 5k to one of 50k"),
    _share("gradient_over_forward", 1.02, "feature and residual of a probe over its bare forward pass"),
    _faster("gram", 300, "all distances between the last-layer gradients of 1,000 samples with 1,000 classes and 512 "
            "features: written out over factored"),
    _faster("gradient_neighbors", None, "the same with our graph of the 32 nearest, as detectors use it"),
    _share("scan_over_forward_resnet18", 1.04, "whole scan of 50k CIFAR-sized images by a ResNet-18 over the same "
           "network's bare forward pass"),
    _share("scan_over_forward_resnet20", 1.20, "the same by a ResNet-20"),
    _share("scan_over_probe", 1.25, "whole scan of 50k CIFAR-sized images by a probe over training the probe"),
    _faster("forward", 2.8, "features of 224-px images by a ResNet-18: a plain fp32 loop over ours"),
    _faster("decode_224", 2.4, "a folder of 224-px JPEGs to arrays: ImageFolder and DataLoader over ours, digests "
            "included"),
    _faster("decode_1024", 4.5, "the same of 1024-px JPEGs, to 224 px"),
    _share("overlap", 1.10, "scan of a folder of 1024-px JPEGs by a ResNet-18 over the longer of decoding alone and "
           "the forward pass alone"),
    _growth("exponent", 1.2, "how the time of all detectors together grows from 10k x 512 to 200k x 512"),
    _bytes("bytes_per_image", 1300, "memory at the peak of all detectors together, slope from 50k x 512 to 200k x 512"),
    _bytes("bytes_per_image_mapped", 100, "the same with memory-mapped features; pages of files do not count"),
    _share("rescan_changed", 0.02, "second scan, with 1 % of 50k images changed, over the first scan; net of start-up"),
    _share("rescan_unchanged", 0.005, "second scan of the same 50k images over the first scan; net of start-up"),
)  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
