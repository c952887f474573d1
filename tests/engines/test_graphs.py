"""Neighbour graphs that were searched class by class elsewhere are those of one search."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_engines import InProcess

from detectors.base import Evidence
from sanitizer.engines import graphs
from sanitizer.engines.graphs import with_graphs
from sanitizer.evidence import build_evidence

N = 300
GRAPHS = ("feature", "feature/class", "feature/class~16", "feature~64", "gradient", "gradient/class", "reference/class")


def evidence(*, classes: int) -> Evidence:
    """Classes of different sizes, one of them with a single sample; no labels at all where there are no classes."""
    rng = np.random.default_rng(classes)
    labels = np.minimum(rng.geometric(0.4, N) - 1, classes - 1) if classes else np.full(N, -1)
    if classes:
        labels[labels == classes - 1] = 0
        labels[N // 2] = classes - 1
    spaces = {
        "feature": rng.normal(size=(N, 9)).astype(np.float16),
        "reference": rng.normal(size=(N, 4)).astype(np.float16),
        "residual": rng.normal(size=(N, max(2, classes))).astype(np.float32),
    }
    asks: Any = SimpleNamespace(neighbors=GRAPHS)
    return build_evidence(spaces, labels, (), rng.integers(0, 2**63, N, dtype=np.uint64), [asks], engine="torch")


@pytest.mark.parametrize("classes", [0, 1, 4])
@pytest.mark.parametrize("rows", [1, 100, 10**6])
def test_the_neighbours_are_the_same(classes: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether classes have tasks of their own or share one; padding included."""
    monkeypatch.setattr(graphs, "TASK_ROWS", rows)
    here = evidence(classes=classes)
    there = with_graphs(here, InProcess(), device="cpu", seed=0)
    assert set(there.neighbors) == set(GRAPHS)
    for name in GRAPHS:
        np.testing.assert_array_equal(there.neighbors[name].indices, here.neighbors[name].indices)
        np.testing.assert_allclose(there.neighbors[name].distances, here.neighbors[name].distances, rtol=1e-6)


def test_a_class_is_a_task_and_a_graph_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is searched before somebody asks, and nothing twice."""
    monkeypatch.setattr(graphs, "TASK_ROWS", 1)
    cluster, here = InProcess(), evidence(classes=4)
    there = with_graphs(here, cluster, device="cpu", seed=0)
    assert cluster.tasks == []
    assert there.neighbors["feature/class"] is there.neighbors["feature/class"]
    assert len(cluster.tasks) == len(here.classes)
