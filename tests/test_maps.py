"""Maps show what is there: a planted group lies apart, and a group that somebody merely drew does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from detectors.clustering import fisher_direction
from sanitizer.maps import class_maps, positions
from sanitizer.record import Verdict
from tests.actions.made_up import flagged, make_verdict, row

N, DIMENSIONS, FLAGGED = 300, 100, 40


def cloud(seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One class: rows, keys, and a few flagged ones that lie ``shift`` deviations off in a direction of their own."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(N, DIMENSIONS)) * np.linspace(2, 0.5, DIMENSIONS)
    chosen = np.zeros(N, bool)
    chosen[rng.choice(N, FLAGGED, replace=False)] = True
    direction = rng.normal(size=DIMENSIONS)
    rows[chosen] += shift * direction / np.linalg.norm(direction)
    return rows, rng.integers(0, 2**63, N).astype(np.uint64), chosen


def test_random_flags_do_not_lie_apart_and_a_planted_shift_does() -> None:
    """Though a direction that has seen all of them finds both."""
    apart: dict[float, list[float]] = {0.0: [], 6.0: []}
    for seed in range(12):
        for shift, found in apart.items():
            rows, keys, chosen = cloud(seed, shift)
            found.append(float(positions(rows, keys, chosen)[chosen, 0].mean()))
    assert abs(np.mean(apart[0.0])) < 0.15
    assert np.max(np.abs(apart[0.0])) < 0.8
    assert np.min(apart[6.0]) > 1.5
    rows, _, chosen = cloud(0)
    fitted = rows @ fisher_direction(rows, chosen)
    assert (fitted[chosen].mean() - fitted[~chosen].mean()) / fitted[~chosen].std() > 1.5


def test_the_rest_is_the_measure() -> None:
    """It lies around the origin and is one unit wide, both ways and in either half."""
    rows, keys, chosen = cloud(1, 6.0)
    rest = positions(rows, keys, chosen)[~chosen]
    np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(rest.std(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("shift", [0.0, 6.0])
@pytest.mark.parametrize("few", [False, True])
def test_scale_origin_and_turning_change_nothing(shift: float, few: bool) -> None:
    """What a network's axes mean nobody knows."""
    rows, keys, chosen = cloud(2, shift)
    chosen = chosen & (not few)
    turned, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(DIMENSIONS, DIMENSIONS)))
    before, after = positions(rows, keys, chosen), positions(7 * rows @ turned + 11, keys, chosen)
    np.testing.assert_allclose(before, after, atol=2e-3)


@pytest.mark.parametrize("few", [False, True])
def test_the_order_of_samples_changes_nothing(few: bool) -> None:
    """Every sample keeps its place."""
    rows, keys, chosen = cloud(4, 6.0)
    chosen = chosen & (not few)
    order = np.random.default_rng(5).permutation(N)
    expected = positions(rows, keys, chosen)[order]
    np.testing.assert_allclose(positions(rows[order], keys[order], chosen[order]), expected, atol=2e-3)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_with_too_few_to_learn_from_the_widest_spreads_are_shown(count: int) -> None:
    """The second is narrower, and the two are unrelated."""
    rows, keys, _ = cloud(6)
    rows[:, 3] *= 9
    rows[:, 5] *= 5
    places = positions(rows, keys, np.arange(N) < count)
    assert abs(np.corrcoef(places[:, 0], rows[:, 3])[0, 1]) > 0.99
    assert abs(np.corrcoef(places[:, 1], rows[:, 5])[0, 1]) > 0.99
    assert abs(np.corrcoef(places.T)[0, 1]) < 1e-3
    assert np.array_equal(places, positions(rows, keys, np.zeros(N, bool)))


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
        elements=st.floats(width=32) | st.sampled_from([0.0, 0.1]),
    ),
    st.data(),
)
def test_every_sample_has_a_place(features: np.ndarray, data: st.DataObject) -> None:
    """Whatever a network came to: constants, copies, overflows, classes of one."""
    count = len(features)
    keys = data.draw(arrays(np.uint64, count, elements=st.integers(0, 2**64 - 1)))
    places = positions(features, keys, data.draw(arrays(np.bool_, count)))
    assert places.shape == (count, 2)
    assert places.dtype == np.float32
    assert np.isfinite(places).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_equal_samples_lie_on_each_other(value: float) -> None:
    """Rounding is not variation."""
    keys = np.arange(60).astype(np.uint64)
    for chosen in (np.zeros(60, bool), np.arange(60) < 30):
        assert not positions(np.full((60, 5), value, np.float32), keys, chosen).any()


def verdict_of(counts: dict[str, tuple[int, int]], **scores: float) -> Verdict:
    """A verdict over classes with so many flagged samples and so many others."""
    rows = []
    for name, (planted, others) in counts.items():
        rows += [flagged(f"{name}+{n}", name) for n in range(planted)]
        rows += [row(f"{name}-{n}", name) for n in range(others)]
    entries = [{"name": name, "size": sum(counts[name]), "score": scores.get(name)} for name in counts]
    return make_verdict(rows, classes=entries)


def maps_of(verdict: Verdict, *spaces: str) -> dict[str, set[str]]:
    """Class name -> who is on its map; trusted samples are in the evidence too."""
    ids = ["trusted:1", *verdict.table["id"].to_pylist(), "trusted:2"]
    rng = np.random.default_rng(0)
    made = {name: rng.normal(size=(len(ids), 6)).astype(np.float16) for name in spaces}
    found = class_maps(made, ids, np.arange(len(ids)).astype(np.uint64), verdict)
    assert all(math.isfinite(x + y) for places in found.values() for x, y in places.values())
    return {name: set(places) for name, places in found.items()}


def test_the_classes_with_most_planted_have_maps_of_all_their_samples() -> None:
    """Six of them, most first; the trusted ones are nobody's business."""
    verdict = verdict_of({name: (number + 1, 20) for number, name in enumerate("abcdefgh")})
    found = maps_of(verdict, "loss", "feature")
    assert list(found) == list("hgfedc")
    assert found["c"] == {"c+0", "c+1", "c+2", *(f"c-{n}" for n in range(20))}


def test_a_clean_set_shows_its_likeliest_class() -> None:
    """So that one can see what a class with nothing in it looks like."""
    verdict = verdict_of({"a": (0, 5), "b": (0, 5), "c": (0, 5)}, a=0.2, b=0.7)
    assert list(maps_of(verdict, "feature")) == ["b"]


def test_no_labels_or_no_space_no_map() -> None:
    """A map is of a class, in a space."""
    assert maps_of(verdict_of({"a": (9, 9)}), "loss") == {}
    assert maps_of(make_verdict([flagged("a", None), row("b", None)], classes=[]), "feature") == {}


def test_features_are_mapped_rather_than_frequencies() -> None:
    """And these where there are no features; each sample lies where its own row says."""
    verdict = verdict_of({"a": (0, 40)}, a=1.0)
    ids, rng = verdict.table["id"].to_pylist()[::-1], np.random.default_rng(7)
    spaces = {"frequency": rng.normal(size=(40, 3)), "feature": rng.normal(size=(40, 4)) * [9, 1, 1, 1]}
    keys = np.arange(40).astype(np.uint64)
    for offered in (spaces, {"frequency": spaces["frequency"]}):
        shown = offered.get("feature", offered["frequency"])
        expected = positions(shown, keys, np.zeros(40, bool))
        found = class_maps(offered, ids, keys, verdict)["a"]
        np.testing.assert_allclose([found[name] for name in ids], expected, atol=2e-3)
