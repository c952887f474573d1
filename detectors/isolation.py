"""Isolation forest (Liu et al. 2008): how few random cuts it takes to set a sample apart from its class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeRegressor
from sklearn.utils.random import sample_without_replacement

from detectors.base import Detector, Evidence, Floats, by_class

#: The score of a sample that nothing sets apart.
USUAL = 0.5
#: Rows that a tree is grown from, as in the paper.
GROWN_FROM = 256
#: Rows that go through all trees at a time.
_AT_ONCE = 512
#: Seeds of trees are below this, as scikit-learn draws them.
_SEEDS = np.iinfo(np.int32).max


def isolation(rows: Floats, *, trees: int, seed: int) -> Floats:
    """The paper's score of each row, in (0, 1): 1 is set apart at once, and half is usual.

    They are those of scikit-learn's forest with the sign turned. Here its trees are grown one by one, each from
    its own rows alone, because most of the library's time goes into copying and checking estimators.
    """
    if len(rows) < 3 or (np.ptp(rows, axis=0) == 0).all():
        return np.full(len(rows), USUAL)
    centred = rows - rows.mean(axis=0)
    in_units = (centred / np.sqrt((centred**2).mean())).astype(np.float32)  # as trees compare: nothing finer than 1e-7
    size = min(GROWN_FROM, len(rows))
    depths = np.zeros(len(rows))
    with sklearn.config_context(skip_parameter_validation=True):
        grown = list(_grown(in_units, size, trees, seed))
    for start in range(0, len(rows), _AT_ONCE):  # all trees see a few rows while these are in the cache
        few = slice(start, start + _AT_ONCE)
        for tree, depth_of in grown:
            depths[few] += depth_of[tree.apply(in_units[few])]
    return np.asarray(2 ** -(depths / (trees * _expected_depth(np.array([size]))[0])))


def _grown(rows: NDArray[np.float32], size: int, trees: int, seed: int) -> Iterator[tuple[Any, Floats]]:
    """Trees, and how deep each of their nodes counts; drawn in the order in which scikit-learn's forest draws."""
    targets = np.random.RandomState(seed).uniform(size=len(rows))
    for own in np.random.RandomState(seed).randint(_SEEDS, size=trees):
        draws = np.random.RandomState(own)
        sample_without_replacement(rows.shape[1], rows.shape[1], random_state=draws)  # it draws from features as well
        drawn = np.sort(sample_without_replacement(len(rows), size, random_state=draws))
        grower = ExtraTreeRegressor(
            max_features=1,
            max_depth=int(np.ceil(np.log2(size))),
            random_state=np.random.RandomState(own).randint(_SEEDS),
        )
        tree = grower.fit(rows[drawn], targets[drawn], check_input=False).tree_
        yield tree, tree.compute_node_depths() + _expected_depth(tree.n_node_samples) - 1.0


def _expected_depth(sizes: NDArray[np.int64]) -> Floats:
    """How many more cuts it would take, on average, to set one of so many samples apart."""
    many = np.maximum(sizes, 3).astype(np.float64)
    cuts = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(sizes > 2, cuts, np.where(sizes == 2, 1.0, 0.0))


class IsolationForest(Detector):
    """The forest of one class at a time; which samples a tree is grown from follows from their content.

    Settings:
        trees: of each class's forest.
        seed: of the forest.
    """

    needs = ("feature",)
    uses_labels = False
    sees = ("dispersed", "mislabelled")
    says = "Few random cuts of the feature space set it apart from its class."

    def __init__(self, *, trees: int = 100, seed: int = 0) -> None:
        self.trees = trees
        self.seed = seed

    def _score(self, evidence: Evidence) -> Floats:
        scores = np.zeros(len(evidence))
        for _, members in by_class(evidence):
            sorted_members = members[np.argsort(evidence.keys[members], kind="stable")]
            scores[sorted_members] = isolation(
                evidence.part("feature", sorted_members), trees=self.trees, seed=self.seed
            )
        return scores
