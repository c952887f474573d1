"""Made-up gradients, and EPIC's rule written down once more in the plainest way."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.distance import cdist

from sanitizer.training.gradients import LastLayer

CLASSES = 10


def softened(labels: np.ndarray, seed: int = 0, sharpness: float = 3.0) -> LastLayer:
    """softmax - onehot of a model that is mostly right, sometimes unsure, and at times quite wrong."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += sharpness * rng.random(len(labels)) ** 0.5
    wrong = rng.random(len(labels)) < 0.05
    logits[wrong, rng.integers(0, CLASSES, wrong.sum())] += 2 * sharpness
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return LastLayer((chances - np.eye(CLASSES)[labels]).astype(np.float32))


def published_rule(residual: np.ndarray, labels: np.ndarray, share: float) -> set[int]:
    """The rows that one round of the paper drops, by trying every candidate for every pick."""
    gradients = residual.astype(np.float64)
    dropped: set[int] = set()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        similarity = np.exp(-cdist(gradients[rows], gradients[rows]) / residual.shape[1])
        best, picked = np.zeros(len(rows)), []
        for _ in range(math.ceil(share * len(rows) - 1e-9)):
            gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
            gains[picked] = -1
            picked.append(int(gains.argmax()))
            best = np.maximum(best, similarity[:, picked[-1]])
        chosen = similarity[:, picked].argmax(axis=1)
        sizes = np.bincount(chosen, minlength=len(picked))
        dropped |= {int(row) for row, whom in zip(rows, chosen, strict=True) if sizes[whom] <= 1}
    return dropped
