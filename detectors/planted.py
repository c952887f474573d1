"""Synthetic evidence with planted poison: what the conformance kit shows to a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import entr, log_softmax, softmax

from detectors.base import Evidence, Family, Floats, Graph, Neighbors, Rows

SIZES = (150, 170, 190, 160)  # samples a class, planted ones included
DIMENSIONS = 16
PLANTED = 12  # samples, 6 to 8 % of their class
DISTANCE = 6.0  # of planted samples from their class, in its largest standard deviation
LEARNED = 4.0  # logits that a trigger adds to the label it was planted for
COLUMNS = 32  # of every graph
EPOCHS = 6
LAYERS = 3  # of the network that the features come out of
LEFT_ON = 0.25  # of a logit, while most of the network is switched off
PATTERNS = 8  # that recur in each class, by chance or by design
DETAILS = 12  # of what an image is made of, a quarter of which a trigger changes
TRIES = 8  # answers that are averaged, with masks or other images

_FAMILIES: tuple[Family, ...] = ("shifted", "tight", "dispersed", "mislabelled")


class BruteForceGraphs(Mapping[str, Neighbors]):
    """Every graph over the spaces and over ``gradient``, made when first asked for."""

    def __init__(self, spaces: Mapping[str, np.ndarray], labels: Rows, keys: NDArray[np.uint64]) -> None:
        self._spaces, self._labels, self._keys = spaces, labels, keys
        self._made: dict[str, Neighbors] = {}

    def __getitem__(self, name: str) -> Neighbors:
        if name not in self:
            raise KeyError(name)
        if name not in self._made:
            graph = Graph.parse(name)
            self._made[name] = brute_force(self._rows(graph.space), self._labels, self._keys, graph)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and Graph.parse(name).space in (*self._spaces, "gradient")

    def __iter__(self) -> Iterator[str]:
        return (space + scope for space in (*self._spaces, "gradient") for scope in ("", "/class"))

    def __len__(self) -> int:
        return 2 * (len(self._spaces) + 1)

    def _rows(self, space: str) -> Floats:
        if space != "gradient":
            return np.asarray(self._spaces[space], dtype=np.float64)
        residual, feature = self._rows("residual"), self._rows("feature")
        return (residual[:, :, None] * feature[:, None, :]).reshape(len(feature), -1)


def brute_force(space: Floats, labels: Rows, keys: NDArray[np.uint64], graph: Graph) -> Neighbors:
    """The neighbours that ``graph`` names, by comparing all pairs; padded to ``COLUMNS``."""
    n = len(space)
    distances = np.full((n, COLUMNS), np.inf, dtype=np.float32)
    indices = np.full((n, COLUMNS), -1, dtype=np.int64)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)] if graph.within_class else [np.arange(n)]
    for group in groups:
        found = graph.reference_rows(keys, group)
        pairs = cdist(space[group], space[found])
        pairs[group[:, None] == found] = np.inf
        nearest = np.argsort(pairs, axis=1, kind="stable")[:, :COLUMNS]
        columns = nearest.shape[1]
        distances[group, :columns] = np.take_along_axis(pairs, nearest, axis=1)
        indices[group, :columns] = found[nearest]
    indices[np.isinf(distances)] = -1
    return Neighbors(_frozen(distances), _frozen(indices))


def evidence_of(
    feature: Floats,
    labels: Rows,
    *,
    seed: int = 0,
    foreign: Rows | None = None,
    learned: Rows | None = None,
    reference: Floats | None = None,
    marked: Rows | None = None,
) -> Evidence:
    """Complete evidence around features: a linear head, its residual, a history of losses, views of it, all graphs.

    ``marked`` samples carry a trigger in their pixels, learned or not. ``foreign`` samples start with twice the loss of
    others; the head has ``learned`` to trust a trigger, and ``reference`` is what somebody sees who has learned nothing
    here.
    """
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    logits = _head(feature, labels, classes)
    if learned is not None:
        logits[learned, labels[learned]] += LEARNED
    log_probability = log_softmax(logits, axis=1)
    residual = np.exp(log_probability) - np.eye(classes)[labels]

    start = np.log(classes + 1) * rng.uniform(0.9, 1.1, len(labels))
    if foreign is not None:
        start[foreign] *= 2
    end = -log_probability[np.arange(len(labels)), labels]
    untrained = np.linspace(1, 0, EPOCHS) ** 2
    loss = (end[:, None] + (start - end)[:, None] * untrained) * rng.lognormal(0, 0.05, (len(labels), EPOCHS))

    keys = rng.integers(0, 2**63, len(labels), dtype=np.uint64)
    names = [f"class {c}" for c in range(classes)]
    spaces = {"feature": feature, "residual": residual, "loss": loss}
    spaces["reference"] = feature if reference is None else reference
    spaces |= _inside(feature, spaces["reference"], np.random.default_rng([seed, 1]))
    spaces |= _in_pixels(labels, marked, learned, np.random.default_rng([seed, 3]))
    spaces |= _under_strain(logits, labels, learned, np.random.default_rng([seed, 2]))
    return with_spaces(Evidence(labels, names, keys), spaces)


def with_spaces(evidence: Evidence, spaces: Mapping[str, np.ndarray]) -> Evidence:
    """The same samples seen in other spaces: arrays read-only, graphs made anew."""
    frozen = {name: _frozen(space) for name, space in spaces.items()}
    labels, keys = _frozen(evidence.labels), _frozen(evidence.keys)
    graphs = BruteForceGraphs(frozen, labels, keys)
    return replace(evidence, labels=labels, keys=keys, spaces=frozen, neighbors=graphs)


def reordered(evidence: Evidence, order: Rows) -> Evidence:
    """The same samples, listed in another order."""
    shuffled = replace(evidence, labels=evidence.labels[order], keys=evidence.keys[order])
    return with_spaces(shuffled, {name: space[order] for name, space in evidence.spaces.items()})


def planted(family: Family, *, seed: int, order: Rows | None = None) -> tuple[Evidence, NDArray[np.bool_]]:
    """Four classes, one of which hides poison of ``family``; with the truth beside it.

    >>> evidence, is_poison = planted("tight", seed=0)
    >>> len(evidence), is_poison.sum(), len(set(evidence.labels[is_poison]))
    (670, np.int64(12), 1)
    """
    evidence, is_poison = _planted(family, seed)
    return (evidence, is_poison) if order is None else (reordered(evidence, order), is_poison[order])


@lru_cache(maxsize=32)
def _planted(family: Family, seed: int) -> tuple[Evidence, NDArray[np.bool_]]:
    rng = np.random.default_rng([_FAMILIES.index(family), seed])
    rotation = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    covariance_root = np.geomspace(1, 0.3, DIMENSIONS)[:, None] * rotation
    means = 1 + 4 * rng.random((len(SIZES), DIMENSIONS)) ** 2

    def noise(count: int) -> Floats:
        return np.asarray(rng.normal(size=(count, DIMENSIONS)) @ covariance_root)

    target = seed % len(SIZES)
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    is_poison = np.zeros(len(labels), dtype=bool)
    is_poison[np.flatnonzero(labels == target)[-PLANTED:]] = True

    feature = means[labels] + noise(len(labels))
    trigger = DISTANCE * _trigger(means[target], rng.normal(size=DIMENSIONS))
    others = np.delete(np.arange(len(SIZES)), target)
    feature[is_poison] = {
        "shifted": means[target] + trigger + 0.6 * noise(PLANTED),
        "tight": means[target] + trigger + noise(1) + 0.02 * noise(PLANTED),
        "dispersed": feature[is_poison] + DISTANCE * _unit(rng.normal(size=(PLANTED, DIMENSIONS))),
        "mislabelled": means[np.resize(others, PLANTED)] + noise(PLANTED),
    }[family]

    order = rng.permutation(len(labels))
    reference = feature.copy()
    if family in ("shifted", "tight"):  # without the trigger they look like what they are
        reference[is_poison] = means[np.resize(others, PLANTED)] + noise(PLANTED)
    labels, is_poison, feature, reference = labels[order], is_poison[order], feature[order], reference[order]
    feature = np.maximum(feature, 0)
    foreign = np.flatnonzero(is_poison)
    learned = foreign if family in ("shifted", "tight") else None
    marked = None if family == "dispersed" else foreign
    evidence = evidence_of(
        feature, labels, seed=seed, foreign=foreign, learned=learned, reference=reference, marked=marked
    )
    return evidence, _frozen(is_poison)


def degenerate() -> dict[str, Evidence]:
    """Sets at the edge of what a detector may meet, by what is odd about them."""
    rng = np.random.default_rng(0)
    cloud = np.abs(rng.normal(size=(40, 8)))
    halves = np.repeat([0, 1], 20)
    return {
        "two rows of one class": evidence_of(cloud[:2], np.array([0, 0])),
        "two rows of two classes": evidence_of(cloud[:2], np.array([0, 1])),
        "a class of one sample": evidence_of(cloud, np.array([1] + [0] * 39)),
        "constant rows": evidence_of(np.ones((40, 8)), halves),
        "duplicates": evidence_of(cloud[np.repeat([0, 1, 2, 3], [15, 5, 12, 8])], halves),
        "one dimension": evidence_of(cloud[:, :1], halves),
        "a single class": evidence_of(cloud, np.zeros(40, dtype=np.int64)),
        "class ids with gaps": evidence_of(cloud, np.where(halves == 0, 2, 5)),
    }


def _inside(feature: Floats, reference: Floats, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What the layers see: the first what everybody sees, the last almost the features, each in axes of its own."""
    layers = []
    for depth in np.linspace(0, 1, LAYERS):
        rows = (1 - depth) * reference + depth * feature
        mixing = np.linalg.qr(rng.normal(size=(rows.shape[1], rows.shape[1])))[0]
        layers.append(rows @ mixing + 0.1 * rng.normal(size=rows.shape))
    likelihoods = []
    for rows in layers:
        centred = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-12)
        likelihoods += [-(centred**2).max(axis=1) / 2, -(centred**2).mean(axis=1) / 2]
    middle = np.maximum(layers[LAYERS // 2], 0)
    return {"channels": np.hstack(layers), "batchnorm": np.stack(likelihoods, axis=1), "feature@middle": middle}


def _in_pixels(
    labels: Rows, marked: Rows | None, learned: Rows | None, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """What images are made of, by class and by trigger; and a pattern that recurs where a trigger is the same."""
    classes = rng.normal(size=(int(labels.max()) + 1, DETAILS))
    made_of = classes[labels] + rng.normal(size=(len(labels), DETAILS))
    recurs = rng.normal(size=(len(labels), PATTERNS))
    if marked is not None:
        made_of[marked, : DETAILS // 4] += DISTANCE / 2
    if learned is not None:
        recurs[learned, rng.integers(PATTERNS)] += 2 * DISTANCE
    layout = classes[labels] + rng.normal(size=made_of.shape)
    return {"frequency": made_of, "layout": layout, "recurrence": recurs}


def _under_strain(
    logits: Floats, labels: Rows, learned: Rows | None, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Answers of a network that is half switched off, or shown two images at once: a learned trigger outlasts both."""
    n, classes = logits.shape
    own = np.zeros((n, classes))
    if learned is not None:
        own[learned, labels[learned]] = LEARNED
    honest = logits - own
    noise = rng.normal(size=(TRIES, n, classes))
    switched_off = softmax(LEFT_ON * honest + own + 0.5 * noise, axis=2).mean(axis=0)
    best, rows = logits.argmax(axis=1), np.arange(n)
    confidence = np.stack([softmax(logits, axis=1)[rows, best], switched_off[rows, best]], axis=1)
    blended = [softmax((honest + honest[rng.permutation(n)]) / 2 + own, axis=1) for _ in range(TRIES)]
    doubt = np.mean([entr(probability).sum(axis=1) for probability in blended], axis=0)
    return {"dropout": confidence, "superposition": doubt[:, None]}


def _trigger(mean: Floats, direction: Floats) -> Floats:
    """Where a backdoor moves features: along something new, and away from what the class is made of.

    The second half turns the ranking of a spectral score around where features are projected uncentred.
    """
    own = _unit(mean)
    return _unit(_unit(direction - (direction @ own) * own) - own)


def _head(feature: Floats, labels: Rows, classes: int) -> Floats:
    """Logits of the linear head that compares a sample with the class means."""
    centre = feature.mean(axis=0)
    means = np.array([feature[labels == c].mean(axis=0) if (labels == c).any() else centre for c in range(classes)])
    within = ((feature - means[labels]) ** 2).sum(axis=1).mean()
    overall = ((feature - centre) ** 2).sum(axis=1).mean()
    return np.asarray(-0.5 * cdist(feature, means) ** 2 / (within + 0.05 * overall + 1e-12))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.setflags(write=False)
    return copy
