"""What a worker does with a block of names, without a cluster around it."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from toy_engines import checkpoint, parquet
from toy_scans import poisoned

from sanitizer.embed.backbone import open_backbone
from sanitizer.engines.looking import KNOWN, Looking, Place, Shrinking, identity
from sanitizer.errors import UsageError
from sanitizer.sources.base import Source, Status, open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import LIMITS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen network."""
    return checkpoint(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module", params=["folder", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """With items that cannot be read and items that must not be."""
    root = tmp_path_factory.mktemp("set")
    return open_source(poisoned(root)[0] if request.param == "folder" else parquet(root / "set.parquet"))


@pytest.fixture(scope="module")
def census(source: Source) -> Census:
    """What one process makes of it."""
    return take_census(source)


def place(source: Source) -> Place:
    """Where a worker finds it."""
    return Place(source.uri, None, None, None, LIMITS)


def block(source: Source) -> pa.Table:
    """All of it."""
    names = [found.id for found in source.stream()]
    return pa.table({"id": names, "place": [7] * len(names)})


def looking(source: Source, network: Path, **more: Any) -> Looking:
    """A worker as it arrives elsewhere."""
    expected = [identity(open_backbone(str(network), device=CPU))]
    return pickle.loads(pickle.dumps(Looking(place(source), (str(network),), "cpu", expected, **more)))  # noqa: S301


def test_every_item_ends_as_in_a_census(source: Source, census: Census, network: Path) -> None:
    """The same statuses and reasons, hostile items included; the same digests, sizes and labels."""
    rows = {row["id"]: row for row in looking(source, network)(block(source)).to_pylist()}
    for other in census.others:
        row = rows.pop(other.id)
        assert (row["status"], row["reason"], row["feature0"]) == (other.status, other.reason, None)
    for sample in census.samples:
        row = rows.pop(sample.id)
        assert row["status"] == Status.SCANNED
        assert (row["digest"], row["view_digest"], row["label"]) == (sample.digest, sample.view_digest, sample.label)
        assert (row["width"], row["height"], row["place"]) == (*sample.size, 7)
    assert rows == {}
    assert census.counts[Status.UNREADABLE] == census.counts[Status.REFUSED] == 1


def test_features_do_not_depend_on_the_company(source: Source, census: Census, network: Path) -> None:
    """Bit for bit those of all images in canonical order."""
    backbone = open_backbone(str(network), device=CPU)
    features = backbone.embed(census.views(backbone.side))
    rows = {row["id"]: row["feature0"] for row in looking(source, network)(block(source)).to_pylist()}
    for sample, feature in zip(census.samples, features, strict=True):
        assert rows[sample.id] == feature.tobytes()


def test_what_is_known_is_not_decoded_again(source: Source, census: Census, network: Path) -> None:
    """It is only named; everything else is as it was."""
    chosen = census.samples[::3]
    known = np.sort(np.array([bytes.fromhex(sample.digest) for sample in chosen], "S32"))
    rows = {row["id"]: row for row in looking(source, network, known=known)(block(source)).to_pylist()}
    assert {name for name, row in rows.items() if row["status"] == KNOWN} == {sample.id for sample in chosen}
    assert len(rows) == sum(census.counts.values())
    assert all((row["feature0"] is None) == (row["status"] != Status.SCANNED) for row in rows.values())


def test_another_machine_is_not_taken_for_this_one(source: Source, network: Path) -> None:
    """Where other software would give other features, one line says so."""
    worker = looking(source, network)
    worker.expected[0]["torch"] = "0.1"
    with pytest.raises(UsageError, match=r"expected torch '0\.1' .* on every machine"):
        worker(block(source))


def test_small_squares_are_those_of_a_census(source: Source, census: Census) -> None:
    """Digest by digest."""
    small = Shrinking(place(source), 8)(block(source))
    found = dict(zip(small["digest"].to_pylist(), small["pixels"].to_pylist(), strict=True))
    for sample, view in zip(census.samples, census.views(8), strict=True):
        assert hashlib.sha256(found[sample.digest]).digest() == hashlib.sha256(view.tobytes()).digest()
