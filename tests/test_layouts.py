"""The same data in every layout: the same flags, and poison that can be planted in each of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from toys import CLASSES, toy_images

from sanitizer.attacks.badnets import BadNets
from sanitizer.pipeline import ScanSettings, scan
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census

datasets.disable_progress_bars()
#: A set in which the probe at this budget finds the planted group.
SEED = 1
FAST = ScanSettings(budget="fast", device="cpu")


def as_dataset() -> datasets.Dataset:
    """The toys as the library holds them."""
    images = toy_images(seed=SEED)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    rows = {
        "image": [{"bytes": content, "path": None} for _, content, _ in images],
        "label": [CLASSES.index(name) for name, _, _ in images],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def as_folder(root: Path) -> Path:
    """A folder for each class."""
    for number, (name, content, _) in enumerate(toy_images(seed=SEED)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{number:03d}.png").write_bytes(content)
    return root


def as_parquet(root: Path) -> Path:
    """One file, as the library writes it."""
    as_dataset().to_parquet(root.with_suffix(".parquet"))
    return root.with_suffix(".parquet")


def as_saved(root: Path) -> Path:
    """What ``save_to_disk`` writes, in two files."""
    as_dataset().save_to_disk(root, num_shards=2)
    return root


def as_tar(root: Path) -> Path:
    """One shard, each image with its class beside it."""
    with tarfile.open(root.with_suffix(".tar"), "w") as tar:
        for number, (name, content, _) in enumerate(toy_images(seed=SEED)):
            for extension, body in (("png", content), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{number:03d}.{extension}")
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
    return root.with_suffix(".tar")


def in_memory(root: Path) -> datasets.Dataset:
    """The object itself, in another order."""
    return as_dataset().shuffle(seed=3)


LAYOUTS = [as_folder, as_parquet, as_saved, as_tar, in_memory]


def concluded(source: Any) -> list[tuple[str, str, bool, str, float]]:
    """What a scan says of each content, whatever it is called there; no store helps."""
    rows = scan(source, settings=FAST).table.to_pylist()
    return sorted(
        (row["digest"], row["label_name"], row["suspicious"], row["kind"], round(row["score"], 6))
        for row in rows
        if row["status"] == "scanned"
    )


def test_every_layout_gives_the_same_flags(tmp_path: Path) -> None:
    """And the same scores, without a store that could remember them."""
    said = [concluded(layout(tmp_path / layout.__name__)) for layout in LAYOUTS]
    assert any(row[2] for row in said[0])
    for layout, other in zip(LAYOUTS, said, strict=True):
        assert other == said[0], layout.__name__


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_be_poisoned_and_read_again(layout: Callable[[Path], Any], tmp_path: Path) -> None:
    """The copy has the truth of every sample in it, by the ids that a scan of the copy uses."""
    (tmp_path / "original").mkdir()
    source = open_source(layout(tmp_path / "original" / "set"))
    made = BadNets(rate=0.1, target="bar").poison(source, tmp_path / "poisoned")
    copy = take_census(open_source(made.data))
    truth = {row["id"]: row for row in made.truth().to_pylist()}
    assert {sample.id for sample in copy.samples} == truth.keys()
    assert sum(row["is_poison"] for row in truth.values()) == 19
    for sample in copy.samples:
        assert sample.label is not None
        assert copy.class_names[sample.label] == truth[sample.id]["label"]
