"""Other people's ways to do it, as they are out of the box: workloads for any interpreter that has them.

Nothing of ours is imported. Settings are the peer's defaults, but for how many neighbours are asked for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.speed.worker import Answer, Work

#: Rows that a library is warmed up with.
_FEW = 500
#: Where memory is measured: what warming up leaves behind would be used again, and not be seen.
_FEWER = 50


def sklearn_distance(folder: Path, *, k: int, queries: int | None = None) -> Work:
    """The distance to the k-th neighbour in the whole set, of all rows or of the first few; itself is one more."""
    from sklearn.neighbors import NearestNeighbors

    def search(rows: np.ndarray) -> Answer:
        distances, _ = NearestNeighbors(n_neighbors=k + 1).fit(rows).kneighbors(rows[:queries])
        return {"scores": distances[:, -1]}

    rows, _ = _loaded(folder)
    search(rows[:_FEW])
    return lambda: search(rows)


def sklearn_in_class(folder: Path, *, k: int, queries: int | None = None) -> Work:
    """The same within each class, and who the neighbours are; ``queries`` of each class, if not all."""
    from sklearn.neighbors import NearestNeighbors

    rows, labels = _loaded(folder)

    def search() -> Answer:
        scores, indices = np.zeros(len(rows)), np.zeros((len(rows), k), np.int64)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            asking = members[:queries]
            distances, found = NearestNeighbors(n_neighbors=k + 1).fit(rows[members]).kneighbors(rows[asking])
            scores[asking], indices[asking] = distances[:, -1], members[found[:, 1:]]
        return {"scores": scores, "indices": indices}

    NearestNeighbors(n_neighbors=k).fit(rows[:_FEW]).kneighbors(rows[:_FEW])
    return search


def pyod_distance(folder: Path, *, k: int) -> Work:
    """PyOD's distance to the k-th neighbour."""
    from pyod.models.knn import KNN

    rows, _ = _loaded(folder)
    KNN(n_neighbors=k).fit(rows[:_FEW])
    return lambda: {"scores": np.asarray(KNN(n_neighbors=k).fit(rows).decision_scores_)}


def cleanlab_outliers(folder: Path, *, k: int) -> Work:
    """cleanlab's outlier score, from the mean distance to k neighbours."""
    from cleanlab.outlier import OutOfDistribution

    def score(rows: np.ndarray) -> Answer:
        found = OutOfDistribution(params={"k": k}).fit_score(features=rows, verbose=False)
        return {"scores": np.asarray(found)}

    rows, _ = _loaded(folder)
    score(rows[:_FEW])
    return lambda: score(rows)


def faiss_in_class(folder: Path, *, k: int) -> Work:
    """FAISS's exact index of each class, as its tutorial uses it."""
    import faiss

    rows, labels = _loaded(folder)

    def search() -> Answer:
        indices = np.zeros((len(rows), k + 1), np.int64)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            of_class = rows[members]
            index = faiss.IndexFlatL2(rows.shape[1])
            index.add(of_class)
            indices[members] = members[index.search(of_class, k + 1)[1]]
        return {"indices": indices}

    faiss.IndexFlatL2(rows.shape[1]).add(rows[:_FEW])
    return search


def sklearn_lof(folder: Path, *, k: int, in_class: bool) -> Work:
    """scikit-learn's local outlier factor, in the whole set or class by class."""
    from sklearn.neighbors import LocalOutlierFactor

    def factors(rows: np.ndarray) -> np.ndarray:
        return -np.asarray(LocalOutlierFactor(n_neighbors=k).fit(rows).negative_outlier_factor_)

    def score() -> Answer:
        if not in_class:
            return {"scores": factors(rows)}
        scores = np.zeros(len(rows))
        for label in np.unique(labels):
            scores[labels == label] = factors(rows[labels == label])
        return {"scores": scores}

    rows, labels = _loaded(folder)
    factors(rows[:_FEW])
    return score


def art_spectral_and_clustering(folder: Path) -> Work:
    """ART's spectral signatures, and its activation clustering with the silhouette that says if a class is split.

    ART projects rows as they come, so they come centred by class: then its scores are the paper's. The silhouette is
    computed as its analysis computes it, which breaks with today's numpy where a class is not split.
    """
    from art.defences.detector.poison import SpectralSignatureDefense
    from art.defences.detector.poison.activation_defence import cluster_activations
    from sklearn.metrics import silhouette_score

    def score(rows: np.ndarray, labels: np.ndarray) -> Answer:
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        scores, clusters = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
        for chosen in members:
            scores[chosen] = SpectralSignatureDefense.spectral_signature_scores(rows[chosen]).ravel()
        np.random.seed(0)  # its k-means draws from the global generator
        found, reduced = cluster_activations([rows[chosen] for chosen in members])
        split = [silhouette_score(of_class, parts) for of_class, parts in zip(reduced, found, strict=True)]
        for chosen, parts in zip(members, found, strict=True):
            clusters[chosen] = parts
        return {"scores": scores, "clusters": clusters, "split": np.array(split)}

    rows, labels = _loaded(folder)
    for label in np.unique(labels):
        rows[labels == label] -= rows[labels == label].mean(axis=0)
    score(rows[:_FEW], labels[:_FEW])
    return lambda: score(rows, labels)


def submodlib_selection(folder: Path, *, share: float) -> Work:
    """EPIC's selection: dense facility location, lazily greedy, and whom each row is assigned to."""
    from submodlib import FacilityLocationFunction

    def select(rows: np.ndarray) -> Answer:
        location = FacilityLocationFunction(n=len(rows), mode="dense", data=rows, metric="euclidean")
        picks = location.maximize(
            budget=round(share * len(rows)), optimizer="LazyGreedy", stopIfZeroGain=False, stopIfNegativeGain=False
        )
        picked = np.array([number for number, _ in picks])
        assigned = np.array([picked[row[picked].argmax()] for row in location.sijs])
        return {"picked": picked, "assigned": assigned}

    rows = np.load(folder / "gradients.npy")
    select(rows[:_FEWER])
    return lambda: select(rows)


def image_folder(folder: Path, *, side: int, batch: int = 64) -> Work:
    """torchvision's ImageFolder through a DataLoader without further processes, as the examples of PyTorch do."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Resize, ToTensor

    def read() -> Answer:
        images = ImageFolder(str(folder / "images"), Compose([Resize((side, side)), ToTensor()]))
        return {"images": np.array(sum(len(labels) for _, labels in DataLoader(images, batch_size=batch)))}

    return read


def eager_features(folder: Path, *, batch: int = 64) -> Work:
    """The features of a network as everybody gets them first: one batch after another, fp32, no gradients."""
    import torch
    from safetensors.torch import load_file
    from torchvision.models import resnet18
    from torchvision.transforms.functional import normalize

    net = resnet18()
    net.load_state_dict(load_file(folder / "network.safetensors"), strict=False)
    net.fc = torch.nn.Identity()
    net.eval()
    images = np.load(folder / "images.npy")

    def forward(images: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return np.asarray(net(normalize(rows, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])))

    forward(images[:batch])
    starts = range(0, len(images), batch)
    return lambda: {"features": np.concatenate([forward(images[start : start + batch]) for start in starts])}


def _loaded(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "features.npy").astype(np.float32), np.load(folder / "labels.npy")
