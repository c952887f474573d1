"""Purification: every image through JPEG once, in the layout of its source, labels and all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_apply import _folder, _npz, _parquet, _saved, _tar, _with_metadata, files, opened
from test_dropping import png, write_pictures

from sanitizer.actions.purify import BUYS, purify
from sanitizer.errors import SanitizerError, SourceError, UsageError
from sanitizer.sources.base import Source
from sanitizer.sources.decode import LIMITS, decode
from sanitizer.sources.encode import encode, format_of


def noise(seed: int) -> bytes:
    """What an optimised perturbation is to JPEG: detail at every frequency."""
    return encode(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8), "PNG")


def readable(source: Source) -> list[tuple[bytes, str]]:
    """Content and class of every image, in order."""
    return [
        (found.content, source.class_names[found.label or 0])
        for found in source.stream()
        if found.content is not None and "broken" not in found.id
    ]


@pytest.mark.parametrize(
    "make", [_folder, _with_metadata, _parquet, _saved, _tar], ids=lambda make: make.__name__.strip("_")
)
def test_every_image_is_encoded_again_in_every_layout(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """The pixels of JPEG at that quality, under the same label, in the same order; the source is untouched."""
    source = opened(make(tmp_path / "data"))
    before = files(tmp_path / "data")
    done = purify(source, tmp_path / "copy", 60)
    copy = opened(tmp_path / "copy")
    assert [(content, name) for content, name in readable(copy)] == [
        (encode(decode(content, LIMITS), "JPEG", 60), name) for content, name in readable(source)
    ]
    assert done.encoded == len(readable(source))
    assert copy.class_names == source.class_names
    assert files(tmp_path / "data") == before


def test_names_say_what_the_files_are(tmp_path: Path) -> None:
    """A PNG that has become a JPEG is called one; other columns of a table stay."""
    purify(opened(write_pictures(tmp_path / "data")), tmp_path / "copy", 75)
    assert {Path(name).suffix for name in files(tmp_path / "copy")} == {".jpg"}
    assert {format_of(content) for content in files(tmp_path / "copy").values()} == {"JPEG"}
    purify(opened(_parquet(tmp_path / "p")), tmp_path / "p2", 75)
    assert pq.read_table(tmp_path / "p2")["depth"].to_pylist() == list(range(24))


def test_less_quality_keeps_less(tmp_path: Path) -> None:
    """The coarser, the farther from what was there; the same quality gives the same bytes."""
    for number in range(2):
        (tmp_path / "data" / "cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "cat" / f"{number}.png").write_bytes(noise(number))
    source = opened(tmp_path / "data")
    before = decode(noise(0), LIMITS).astype(int)
    distances = []
    for quality in (1, 10, 50, 100):
        purify(source, tmp_path / f"q{quality}", quality)
        after = decode((tmp_path / f"q{quality}" / "cat" / "0.jpg").read_bytes(), LIMITS)
        distances.append(np.abs(after - before).mean())
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 3
    purify(source, tmp_path / "again", 50)
    assert files(tmp_path / "again") == files(tmp_path / "q50")


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    """Broken, refused, or too wide for JPEG; what never claimed to be an image is not missed."""
    root = write_pictures(tmp_path / "data")
    (root / "dog" / "wide.png").write_bytes(encode(np.zeros((1, 70_000, 3), np.uint8), "PNG"))
    done = purify(opened(root), tmp_path / "copy", 75)
    assert done.left_out == ("cat/broken.png", "dog/out.png", "dog/wide.png")
    assert done.lines() == [
        "22 encoded again",
        "3 could not be read or written, left out: cat/broken.png, dog/out.png, dog/wide.png",
    ]


def assert_refused(error: type[SanitizerError], said: str, source: Source, to: Path, quality: int = 75) -> None:
    """An error of one line, and nothing written."""
    with pytest.raises(error, match=said) as caught:
        purify(source, to, quality)
    assert "\n" not in str(caught.value)
    assert not to.exists()
    assert not list(to.parent.glob(".partial-*"))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_that_jpeg_does_not_have_is_refused(tmp_path: Path, quality: int) -> None:
    """Before anything is written."""
    assert_refused(UsageError, "1 to 100", opened(write_pictures(tmp_path / "data")), tmp_path / "copy", quality)


def test_vectors_and_bad_places_are_refused(tmp_path: Path) -> None:
    """There is nothing to encode in a vector, and no output goes into a source."""
    assert_refused(UsageError, "holds vectors", opened(_npz(tmp_path / "v")), tmp_path / "copy")
    source = opened(write_pictures(tmp_path / "data"))
    assert_refused(UsageError, "lies inside", source, tmp_path / "data" / "copy")


def test_a_class_of_which_nothing_can_be_read_stops_it(tmp_path: Path) -> None:
    """The copy would have one class less."""
    root = write_pictures(tmp_path / "data")
    (root / "bat").mkdir()
    (root / "bat" / "cut.png").write_bytes(png(0)[:40])
    assert_refused(SourceError, "'bat'", opened(root), tmp_path / "copy")
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "cut.png").write_bytes(png(0)[:40])
    assert_refused(SourceError, "flat", opened(flat), tmp_path / "copy")


def test_what_it_buys_and_costs_is_said() -> None:
    """Nobody should take it for a scan."""
    for part in ("gradient-matching", "Narcissus", "two to three points", "removes no sample", "visible triggers"):
        assert part in BUYS
