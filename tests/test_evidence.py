"""Evidence: whatever nobody asks for is never computed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from detectors.base import Detector, Evidence, Floats
from sanitizer import evidence as room
from sanitizer.evidence import Lazy, build_evidence

N, CLASSES, WIDTH = 90, 3, 6


def wanting(*graphs: str) -> Detector:
    """A detector that declares these neighbour graphs."""

    class Wanting(Detector):
        neighbors = graphs
        sees = ("shifted",)

        def _score(self, evidence: Evidence) -> Floats:
            return np.zeros(len(evidence))

    return Wanting()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every search of the index."""
    made: list[int] = []
    search = room.nearest

    def counted(vectors: np.ndarray, **settings: Any) -> Any:
        made.append(len(vectors))
        return search(vectors, **settings)

    monkeypatch.setattr(room, "nearest", counted)
    return made


@pytest.fixture
def spaces() -> dict[str, np.ndarray]:
    """Feature and residual."""
    rng = np.random.default_rng(0)
    residual = rng.dirichlet(np.ones(CLASSES), N) - np.eye(CLASSES)[np.arange(N) % CLASSES]
    return {"feature": rng.normal(size=(N, WIDTH)).astype(np.float16), "residual": residual.astype(np.float32)}


def built(spaces: dict[str, np.ndarray], *detectors: Detector) -> Evidence:
    """Evidence over three classes for these detectors."""
    labels = np.arange(N) % CLASSES
    keys = np.random.default_rng(1).integers(0, 2**63, N, dtype=np.uint64)
    return build_evidence(spaces, labels, ("a", "b", "c"), keys, detectors, engine="torch")


def test_a_lazy_value_is_made_once_and_only_when_asked_for() -> None:
    """Listing and counting the names makes nothing."""
    made: list[str] = []
    lazy = Lazy({name: lambda name=name: made.append(name) or name.upper() for name in ("one", "two")})
    assert (list(lazy), len(lazy), sorted(lazy.keys())) == (["one", "two"], 2, ["one", "two"])
    assert made == []
    assert [lazy["two"], lazy["two"]] == ["TWO", "TWO"]
    assert made == ["two"]
    with pytest.raises(KeyError):
        lazy["three"]


def test_asking_whether_a_name_is_there_makes_nothing() -> None:
    """A question about names is answered from the names."""
    made: list[int] = []
    lazy = Lazy({"one": lambda: made.append(1)})
    assert "one" in lazy
    assert "two" not in lazy
    assert made == []


def test_a_maker_that_fails_is_not_a_name_that_is_missing() -> None:
    """A ``KeyError`` from within a computation must not read as absence."""

    def broken() -> None:
        raise KeyError("inside")

    assert "one" in Lazy({"one": broken})


def test_graphs_are_built_when_asked_for_and_shared(searches: list[int], spaces: dict[str, np.ndarray]) -> None:
    """Two detectors that declare the same graph get the same arrays from one search."""
    evidence = built(spaces, wanting("feature/class"), wanting("feature/class", "feature"))
    assert searches == []
    assert evidence.neighbors["feature/class"] is evidence.neighbors["feature/class"]
    assert searches == [N]


def test_only_declared_graphs_are_offered(spaces: dict[str, np.ndarray]) -> None:
    """What no detector declares is not there."""
    assert list(built(spaces, wanting("feature/class~16")).neighbors) == ["feature/class~16"]
    assert list(built(spaces, wanting()).neighbors) == []
    assert list(built(spaces).neighbors) == []


@pytest.mark.parametrize("absent", ["feature", "residual"])
def test_gradients_need_both_of_their_factors(spaces: dict[str, np.ndarray], absent: str) -> None:
    """Without one of the two spaces their graph is not offered."""
    assert list(built(spaces, wanting("gradient/class")).neighbors) == ["gradient/class"]
    del spaces[absent]
    assert list(built(spaces, wanting("gradient/class")).neighbors) == []


def test_a_graph_over_an_absent_space_is_not_offered(spaces: dict[str, np.ndarray]) -> None:
    """The detector will say that it is missing."""
    assert list(built(spaces, wanting("frequency/class", "feature")).neighbors) == ["feature"]


@pytest.mark.parametrize("name", ["feature/class", "gradient/class", "feature/class~16"])
def test_neighbours_within_a_class_share_its_label(spaces: dict[str, np.ndarray], name: str) -> None:
    """All of them, pads aside, and never the sample itself."""
    evidence = built(spaces, wanting(name))
    indices = evidence.neighbors[name].indices
    real = indices >= 0
    assert indices.shape == (N, room.NEIGHBORS)
    assert real.any(axis=1).all()
    assert (evidence.labels[indices] == evidence.labels[:, None])[real].all()
    assert (indices != np.arange(N)[:, None]).all()


def test_neighbours_of_the_whole_set_cross_classes(spaces: dict[str, np.ndarray]) -> None:
    """Without ``/class`` the label does not matter."""
    evidence = built(spaces, wanting("feature"))
    assert (evidence.labels[evidence.neighbors["feature"].indices] != evidence.labels[:, None]).any()


@pytest.mark.parametrize(("name", "size"), [("feature/class~7", 7), ("feature~7", 7)])
def test_a_reference_holds_the_smallest_keys(spaces: dict[str, np.ndarray], name: str, size: int) -> None:
    """Of each group, so that it is the same samples whatever the order."""
    evidence = built(spaces, wanting(name))
    groups = [np.arange(N)] if "/" not in name else [evidence.rows(label) for label in range(CLASSES)]
    for group in groups:
        smallest = group[np.argsort(evidence.keys[group])[:size]]
        found = evidence.neighbors[name].indices[group]
        assert set(found[found >= 0]) == set(smallest)


def test_gradient_distances_are_exact(spaces: dict[str, np.ndarray]) -> None:
    """The sketch only proposes."""
    evidence = built(spaces, wanting("gradient"))
    graph = evidence.neighbors["gradient"]
    outer = (spaces["residual"][:, :, None].astype(float) * spaces["feature"][:, None, :].astype(float)).reshape(N, -1)
    expected = np.linalg.norm(outer[:, None] - outer[graph.indices], axis=2)
    np.testing.assert_allclose(graph.distances, expected, rtol=1e-4)


def test_evidence_keeps_what_it_was_given(spaces: dict[str, np.ndarray]) -> None:
    """Labels, names, keys and spaces are passed on, and there is no room for the truth."""
    evidence = built(spaces)
    assert evidence.spaces is spaces
    assert evidence.classes.tolist() == [0, 1, 2]
    given = {field.name for field in fields(evidence) if field.init}
    assert given == {"labels", "class_names", "keys", "spaces", "neighbors"}
    assert evidence._made == {}  # what detectors derive from these, and nothing before they do
