"""Tiny sources, and what every trigger must hold, for the tests of single attacks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sanitizer.attacks.base import Attack
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.trigger import TriggerAttack
from sanitizer.errors import SanitizerError, UsageError
from sanitizer.sources.base import Pixels, Source, open_source
from sanitizer.sources.decode import LIMITS, decode

CLASSES = ("ant", "bee", "cat", "dog")
SIZES = [(28, 28), (32, 32), (64, 48)]


def noise(height: int = 32, width: int = 32, *, count: int = 2, seed: int = 0) -> Pixels:
    """Images without structure, far enough from black and white that small changes are not cut off."""
    return np.random.default_rng(seed).integers(70, 186, (count, height, width, 3), np.uint8)


def grey(height: int = 32, width: int = 32) -> Pixels:
    """A single flat image."""
    return np.full((height, width, 3), 100, np.uint8)


def png(pixels: Pixels) -> bytes:
    """As PIL writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def source_of(root: Path, *, count: int = 40, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> Source:
    """A table of images, the classes in turn."""
    images = [{"bytes": png(pixels), "path": None} for pixels in noise(count=count, seed=seed)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(classes)}}
    table = pa.table({"image": images, "label": [i % len(classes) for i in range(count)]})
    root.mkdir()
    info = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), root / "train.parquet")
    return open_source(str(root / "train.parquet"))


def images_of(source: Source) -> dict[str, Pixels]:
    """What a reader sees, by id."""
    return {item.id: decode(item.content, LIMITS) for item in source.stream() if item.content is not None}


def books(poisoned: PoisonedSet, kind: str) -> list[dict[str, Any]]:
    """What the truth says of the samples of a kind, each with its pixels as they lie on disk."""
    after = images_of(open_source(str(poisoned.data)))
    return [row | {"pixels": after[row["id"]]} for row in poisoned.truth().to_pylist() if row["kind"] == kind]


def planted(attack: TriggerAttack, image: Pixels) -> Pixels:
    """The image as the attack plants it."""
    return attack.painter(attack.stamp)(image)


def covering(attack: Any, image: Pixels) -> Pixels:
    """The image as the attack plants it under its own label."""
    painted: Pixels = attack.painter(attack.stamp_cover)(image)
    return painted


def assert_sound(attack: TriggerAttack) -> None:
    """Any size works, every image changes, the same way each time, and no image that was handed in does."""
    for height, width in SIZES:
        images = noise(height, width)
        before = images.copy()
        for paint in (attack.painter(attack.stamp), attack.painter(attack.show)):
            for image in images:
                stamped = paint(image)
                assert (stamped.shape, stamped.dtype) == (image.shape, np.uint8)
                assert (stamped != image).any()
                assert np.array_equal(stamped, paint(image))
        assert np.array_equal(images, before)


def assert_refused_settings(kind: type[Attack], settings: dict[str, object]) -> None:
    """At once, with one line: the setting, what it should be, and what it was."""
    with pytest.raises(UsageError, match=r": expected .*, got ") as caught:
        kind(**settings)
    assert "\n" not in str(caught.value)


def assert_refused(attack: Attack, source: Source, root: Path, match: str) -> None:
    """With one line, and nothing is written."""
    with pytest.raises(SanitizerError, match=match) as caught:
        attack.poison(source, root / "refused")
    assert "\n" not in str(caught.value)
    assert not (root / "refused").exists()
