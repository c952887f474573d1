"""What other tools take over: issues in their direction, and a graph that is right and in the source's order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import NearestNeighbors
from toy_extraction import extracted
from toy_scans import poisoned
from toys import toy_images, write_toys

import sanitizer
from sanitizer import knn_graph
from sanitizer.embed import head, probe
from sanitizer.errors import SourceError, UsageError
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.sources import census as census_module
from sanitizer.sources.base import Status, open_source
from sanitizer.sources.census import take_census
from sanitizer.store import Store
from tests.actions.made_up import flagged, make_verdict, row, unread

CPU_ONLY = ScanSettings(device="cpu")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A probe of twenty steps finds nothing, and its features have neighbours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(probe.BUDGETS, "fast", (32, 5, 20))
        yield


def vectors(count: int = 60, width: int = 5, seed: int = 0) -> np.ndarray:
    """Points without ties."""
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def save(path: Path, rows: np.ndarray, labels: Any = None) -> str:
    """An ``.npz`` with these rows."""
    np.savez(path, vectors=rows, **({} if labels is None else {"labels": labels}))
    return str(path)


def assert_brute_force(graph: Any, features: np.ndarray, k: int) -> None:
    """Every row holds the k smallest distances to others, sorted, each where it belongs."""
    wide = features.astype(np.float64)
    apart = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    count = len(features)
    assert graph.shape == (count, count)
    np.testing.assert_array_equal(graph.indptr, np.arange(count + 1) * k)
    data, indices = graph.data.reshape(count, k), graph.indices.reshape(count, k)
    np.testing.assert_allclose(data, np.sort(apart, axis=1)[:, :k], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(data, np.take_along_axis(apart, indices, axis=1), rtol=1e-4, atol=1e-5)
    assert all(len(set(line)) == k for line in indices.tolist())


# Issues


def test_a_good_sample_has_a_high_score_and_a_bad_one_a_low_score() -> None:
    """The direction of cleanlab: the more suspicious for us, the lower here."""
    table = make_verdict([flagged("bad", score=9.0, p_value=0.001), row("good", score=0.25, p_value=0.5)]).issues()
    assert table["poison_score"].to_pylist() == [0.001, 0.5]
    assert table["is_poison_issue"].to_pylist() == [True, False]


def test_issues_say_what_the_verdict_says_row_by_row() -> None:
    """Planted, in doubt, nothing, not scanned; in the order of the table."""
    rows = [row("d"), flagged("c"), unread("b"), flagged("a", kind="label", p_value=0.01)]
    table = make_verdict(rows).issues()
    assert isinstance(table, pa.Table)
    assert table.column_names == ["is_poison_issue", "poison_score", "is_label_issue", "id"]
    assert table.schema.types == [pa.bool_(), pa.float64(), pa.bool_(), pa.string()]
    assert table["id"].to_pylist() == ["d", "c", "b", "a"]
    assert table["is_poison_issue"].to_pylist() == [False, True, False, False]
    assert table["is_label_issue"].to_pylist() == [False, False, False, True]
    assert table["poison_score"].to_pylist() == [0.5, 0.001, None, 0.01]


def test_of_nothing_there_are_no_issues() -> None:
    """The columns stay."""
    assert make_verdict([]).issues().num_rows == 0


def test_the_docstrings_say_that_the_direction_is_the_opposite() -> None:
    """Where a user looks for help, and in capitals."""
    for method in (sanitizer.Verdict.issues, sanitizer.interop.issues_of):
        assert "opposite" in (method.__doc__ or "").lower()
        assert "GOOD" in (method.__doc__ or "") or "OPPOSITE" in (method.__doc__ or "")


# The graph of ready-made vectors


@pytest.mark.parametrize("k", [1, 7, 59])
def test_the_graph_is_that_of_scikit_learn(tmp_path: Path, k: int) -> None:
    """Data, columns and row starts, for the fewest neighbours and for all there are."""
    rows = vectors()
    graph = knn_graph(save(tmp_path / "v.npz", rows), k=k, settings=CPU_ONLY)
    theirs = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows).kneighbors_graph(mode="distance")
    assert type(graph) is type(theirs)
    np.testing.assert_array_equal(graph.indptr, theirs.indptr)
    np.testing.assert_array_equal(graph.indices, theirs.indices)
    np.testing.assert_allclose(graph.data, theirs.data, rtol=1e-4)
    assert graph.data.dtype == theirs.data.dtype
    assert_brute_force(graph, rows, k)


def test_a_graph_of_rows_in_another_order_is_the_graph_in_that_order(tmp_path: Path) -> None:
    """Row i is row i of what was given, whatever the scan's own order is."""
    rows, order = vectors(), np.random.default_rng(1).permutation(60)
    one = knn_graph(save(tmp_path / "one.npz", rows), settings=CPU_ONLY)
    other = knn_graph(save(tmp_path / "other.npz", rows[order]), settings=CPU_ONLY)
    assert (one[order][:, order] != other).nnz == 0


def test_copies_are_neighbours_at_distance_zero(tmp_path: Path) -> None:
    """Stored as zeros, so that every row has k entries; nobody is its own neighbour."""
    rows = vectors()
    rows[[3, 40, 41]] = rows[10]
    graph = knn_graph(save(tmp_path / "v.npz", rows), k=4, settings=CPU_ONLY)
    assert graph.nnz == 60 * 4
    for place in (3, 10, 40, 41):
        assert set(graph.indices[place * 4 : place * 4 + 3]) == {3, 10, 40, 41} - {place}
        assert not graph.data[place * 4 : place * 4 + 3].any()
    assert_brute_force(graph, rows, 4)


def test_labels_change_nothing_for_vectors_and_no_head_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are features already."""
    monkeypatch.delattr(head, "cross_fitted_residual")
    rows = vectors()
    plain = knn_graph(save(tmp_path / "plain.npz", rows), settings=CPU_ONLY)
    labelled = knn_graph(save(tmp_path / "labelled.npz", rows, np.arange(60) % 3), settings=CPU_ONLY)
    assert (plain != labelled).nnz == 0


def test_trusted_samples_are_not_in_the_graph(tmp_path: Path) -> None:
    """Though the scan looks at them beside the others."""
    rows = vectors()
    trusted = save(tmp_path / "trusted.npz", vectors(seed=1))
    source = save(tmp_path / "v.npz", rows)
    assert_brute_force(knn_graph(source, settings=ScanSettings(device="cpu", trusted=trusted)), rows, 10)


def with_gaps(path: Path) -> tuple[str, np.ndarray]:
    """Vectors of which three have no label, so that they cannot be scanned; which ones can."""
    rows, labels = vectors(), [None if row in (0, 7, 59) else "ab"[row % 2] for row in range(60)]
    pq.write_table(pa.table({"vector": pa.array(rows.tolist(), pa.list_(pa.float32())), "label": labels}), path)
    return str(path), np.array([row for row in range(60) if labels[row]])


def test_rows_that_cannot_be_scanned_are_refused_with_their_number(tmp_path: Path) -> None:
    """And with what to do."""
    source, _ = with_gaps(tmp_path / "v.parquet")
    with pytest.raises(UsageError, match=r"3 of 60 items cannot.*skip_unreadable=True"):
        knn_graph(source, settings=CPU_ONLY)


def test_or_they_are_skipped_and_the_rows_that_stay_are_named(tmp_path: Path) -> None:
    """The graph is over them, in the same order."""
    source, kept = with_gaps(tmp_path / "v.parquet")
    graph, rows = knn_graph(source, settings=CPU_ONLY, skip_unreadable=True)
    np.testing.assert_array_equal(rows, kept)
    assert_brute_force(graph, vectors()[kept], 10)


def test_where_nothing_is_skipped_all_rows_are_named(tmp_path: Path) -> None:
    """One shape of answer for one way to ask."""
    _, rows = knn_graph(save(tmp_path / "v.npz", vectors()), settings=CPU_ONLY, skip_unreadable=True)
    np.testing.assert_array_equal(rows, np.arange(60))


@pytest.mark.parametrize("k", [-1, 0, 60, 10**6])
def test_as_many_neighbours_as_there_are_others_at_most(tmp_path: Path, k: int) -> None:
    """Said before anything is computed."""
    with pytest.raises(UsageError, match="k: expected 1 to 59 neighbours among 60 samples"):
        knn_graph(save(tmp_path / "v.npz", vectors()), k=k, settings=CPU_ONLY)


def test_what_a_scan_refuses_is_refused(tmp_path: Path) -> None:
    """Here, a set that is too small."""
    with pytest.raises(SourceError, match="at least 20"):
        knn_graph(save(tmp_path / "v.npz", vectors(10)), settings=CPU_ONLY)


def test_a_graph_is_of_images_as_they_are(tmp_path: Path) -> None:
    """Scaled decoding is for scans."""
    with pytest.raises(UsageError, match="decoding: expected 'exact'"):
        knn_graph(save(tmp_path / "v.npz", vectors()), settings=replace(CPU_ONLY, decoding="scaled"))


# The graph of images


def asked(store: Path) -> ScanSettings:
    """A quick scan that keeps what it computed."""
    return ScanSettings(budget="fast", device="cpu", detectors=("spectral",), store=str(store))


def in_order(root: Path) -> list[str]:
    """The ids of everything in a folder that claims to be a sample."""
    return [found.id for found in open_source(str(root)).stream() if found.status is not Status.IGNORED]


def test_of_images_the_graph_is_that_of_the_scan_s_features_and_costs_no_second_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is decoded and nothing is trained; hostile and broken items are counted, ignored ones are not."""
    root, _ = poisoned(tmp_path / "toys")
    settings = asked(tmp_path / "store")
    calls: list[str] = []
    for module, name in ((probe, "train_probe"), (census_module, "decode")):
        known = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, _name=name, _known=known, **more: calls.append(_name) or _known(*args, **more)
        )
    scan(root, settings=settings)
    assert set(calls) == {"train_probe", "decode"}
    calls.clear()
    with pytest.raises(UsageError, match="2 of 192 items cannot"):
        knn_graph(root, settings=settings)
    graph, kept = knn_graph(root, settings=settings, skip_unreadable=True)
    assert calls == ["decode"] * calls.count("decode")
    census = take_census(open_source(str(root)))
    row_of = {sample.id: row for row, sample in enumerate(census.samples)}
    names = [in_order(root)[row] for row in kept]
    assert set(names) == set(row_of)
    features = extracted(census, Store.open(settings.store), budget="fast")[0].spaces["feature"]
    assert_brute_force(graph, features[[row_of[name] for name in names]], 10)


def test_the_pixels_of_a_known_set_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store knows what every readable image is, and what the probe saw of it."""
    write_toys(tmp_path / "toys", each=12, planted=0)
    settings = asked(tmp_path / "store")
    scan(tmp_path / "toys", settings=settings)
    monkeypatch.delattr(census_module, "decode")
    monkeypatch.delattr(probe, "train_probe")
    graph = knn_graph(tmp_path / "toys", k=3, settings=settings)
    assert graph.shape == (36, 36)


def test_a_frozen_network_looks_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its features are kept by content; labels, and a head for them, are not needed for neighbours."""
    from sanitizer.embed.backbone import Backbone

    write_toys(tmp_path / "toys", each=12, planted=0)
    settings = ScanSettings(model=frozen(tmp_path), device="cpu", detectors=("k_distance",), store=str(tmp_path / "s"))
    scan(tmp_path / "toys", settings=settings)
    monkeypatch.delattr(Backbone, "embed")
    monkeypatch.delattr(head, "cross_fitted_residual")
    assert knn_graph(tmp_path / "toys", k=3, settings=settings).nnz == 36 * 3


def test_the_rows_of_a_shuffled_dataset_are_in_its_present_order(tmp_path: Path) -> None:
    """A broken row in the midst keeps the numbers of the others."""
    datasets = pytest.importorskip("datasets")
    images = [content for _, content, _ in toy_images(each=9, planted=0)]
    images[5] = b"no image"
    made = datasets.Dataset.from_dict({"image": [{"bytes": content, "path": None} for content in images]})
    made = made.cast_column("image", datasets.Image(decode=False))
    order = np.random.default_rng(0).permutation(27)
    settings = ScanSettings(model=frozen(tmp_path), device="cpu")
    one, kept = knn_graph(made, k=3, settings=settings, skip_unreadable=True)
    other, shuffled = knn_graph(made.select(order), k=3, settings=settings, skip_unreadable=True)
    np.testing.assert_array_equal(kept, np.delete(np.arange(27), 5))
    np.testing.assert_array_equal(shuffled, np.flatnonzero(order != 5))
    place = np.searchsorted(kept, order[shuffled])
    assert (one[place][:, place] != other).nnz == 0


def frozen(folder: Path) -> str:
    """A small network with random weights, in a file."""
    import torch
    from safetensors.torch import save_file

    from sanitizer.embed.cifar_resnet import CifarResNet

    torch.manual_seed(0)
    path = folder / "net.safetensors"
    save_file(CifarResNet(1, 4, 5).state_dict(), path)
    return str(path)


# A tool that takes it over


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cleanlab_takes_the_graph(tmp_path: Path) -> None:
    """Its Datalab finds the copies and the outlier, in the rows where they were put; low scores are bad there."""
    cleanlab = pytest.importorskip("cleanlab")
    pytest.importorskip("datasets")
    rows = vectors(200)
    rows[150], rows[17] = rows[31], 40.0
    graph = knn_graph(save(tmp_path / "v.npz", rows), settings=CPU_ONLY)
    lab = cleanlab.Datalab(data={"label": [number % 2 for number in range(200)]}, label_name="label", verbosity=0)
    lab.find_issues(knn_graph=graph, issue_types={"near_duplicate": {}, "outlier": {}})
    copies = lab.get_issues("near_duplicate")
    assert set(np.flatnonzero(copies["is_near_duplicate_issue"])) == {31, 150}
    assert {int(place) for place in np.argsort(copies["near_duplicate_score"].to_numpy())[:2]} == {31, 150}
    outliers = lab.get_issues("outlier")
    assert outliers["is_outlier_issue"][17]
    assert int(np.argmin(outliers["outlier_score"])) == 17
