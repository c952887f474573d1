"""Scaled decoding: large JPEGs at a fraction of their size, everything else as it is, and never taken for exact."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanitizer.sources.base import Pixels, open_source
from sanitizer.sources.census import Census, look_at, take_census
from sanitizer.sources.decode import LIMITS, VIEW, Limits, Refused, decode, fit, view_of
from sanitizer.sources.encode import encode
from sanitizer.sources.facts import Facts
from sanitizer.sources.isolated import Decoder
from sanitizer.store import Store

SCALED = Limits(enough=32)


def smooth(width: int, height: int, seed: int = 0) -> Pixels:
    """A picture that looks the same at any size."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("size", "becomes"),
    [
        ((64, 64), (32, 32)),
        ((63, 200), (63, 200)),
        ((130, 257), (33, 65)),
        ((1024, 256), (128, 32)),
        ((40, 33), (40, 33)),
    ],
)
def test_the_least_fraction_that_leaves_enough(size: tuple[int, int], becomes: tuple[int, int]) -> None:
    """Both sides: what is looked at is never made of fewer pixels than it has."""
    height, width, _ = decode(encode(smooth(*size), "JPEG"), SCALED).shape
    assert (width, height) == becomes


def test_what_is_no_jpeg_or_small_stays_exact() -> None:
    """To the pixel."""
    large, small = smooth(200, 200), smooth(60, 40)
    np.testing.assert_array_equal(decode(encode(large, "PNG"), SCALED), large)
    stored = encode(small, "JPEG")
    np.testing.assert_array_equal(decode(stored, SCALED), decode(stored, LIMITS))


def test_a_scaled_image_looks_like_the_exact_one() -> None:
    """Within what a photograph's noise is."""
    stored = encode(smooth(512, 512), "JPEG")
    exact, scaled = (fit(decode(stored, limits), 32).astype(float) for limits in (LIMITS, SCALED))
    assert np.abs(exact - scaled).mean() < 4


def test_a_turned_image_is_turned() -> None:
    """Its orientation is in the header, whatever becomes of the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(smooth(256, 128)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue(), SCALED).shape == (64, 32, 3)


def test_pixels_count_before_they_are_spared() -> None:
    """A bomb does not become harmless by being looked at less closely."""
    with pytest.raises(Refused, match="more than 1000 pixels"):
        decode(encode(smooth(128, 128), "JPEG"), Limits(max_pixels=1000, enough=16))


def test_another_process_scales_alike() -> None:
    """What is decoded apart is the same."""
    stored = encode(smooth(300, 200), "JPEG")
    apart = Decoder(SCALED, look_at)
    apart.send(stored)
    fact, pixels = apart.receive()
    apart.close()
    here = look_at(stored, SCALED)
    assert fact == here[0]
    np.testing.assert_array_equal(pixels, here[1])


def test_exact_facts_are_not_those_of_scaled_images(tmp_path: Path) -> None:
    """Size and view digest are others."""
    store = Store.open(str(tmp_path / "store"))
    exact, scaled, larger = (Facts.of(store, limits).shelf for limits in (LIMITS, SCALED, Limits(enough=33)))
    assert exact
    assert scaled
    assert larger
    assert len({exact.folder, scaled.folder, larger.folder}) == 3


def test_a_record_says_how_images_were_decoded() -> None:
    """An exact one says what it always said."""
    assert view_of(None) == VIEW
    assert view_of(224) != VIEW
    assert "224" in view_of(224)


class Shown:
    """Remembers what it was shown."""

    side = 16
    needs_every_core = False

    def __init__(self) -> None:
        self.views: dict[str, Pixels] = {}
        self.ended = 0

    def see(self, digest: str, view: Pixels) -> None:
        """One image."""
        self.views[digest] = view

    def seen_all(self) -> None:
        """There are no more."""
        self.ended += 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A few images, one of them twice, and one that is broken."""
    for number in range(6):
        path = tmp_path / "data" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(smooth(80, 60 + number % 5, number % 5), "JPEG"))
    (tmp_path / "data" / "class0" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "data"


@pytest.mark.parametrize("keep_bytes", [0, 8 * 16 * 16 * 3, 2**30])
def test_onlookers_see_what_views_are(root: Path, keep_bytes: int) -> None:
    """Every content, whatever stays in memory; then they are told that it was all."""
    shown = Shown()
    census = take_census(open_source(str(root)), onlookers=[shown], sides=lambda: [16, 8], keep_bytes=keep_bytes)
    assert shown.ended == 1
    assert shown.views.keys() == {sample.digest for sample in census.samples}
    for sample, view in zip(census.samples, census.views(16), strict=True):
        np.testing.assert_array_equal(shown.views[sample.digest], view)


def test_squares_that_fit_are_not_decoded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sides that were named; other sides and whole images are, and all are the same."""
    whole = take_census(open_source(str(root)))
    squares = take_census(open_source(str(root)), sides=lambda: [16, 8], keep_bytes=8 * 16 * 16 * 3)
    assert squares._kept is None
    np.testing.assert_array_equal(squares.views(12), whole.views(12))
    monkeypatch.setattr(Census, "_again", lambda *anything, **more: pytest.fail("it was decoded again"))
    for side in (16, 8):
        np.testing.assert_array_equal(squares.views(side), whole.views(side))
        np.testing.assert_array_equal(squares.views(side, [3, 0, 3]), whole.views(side, [3, 0, 3]))
