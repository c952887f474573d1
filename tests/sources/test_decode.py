"""Decoding: any bytes become RGB pixels, Unreadable or Refused, and nothing else."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sanitizer.sources.base import Pixels
from sanitizer.sources.decode import FORMATS, LIMITS, Limits, Refused, Unreadable, decode, fit
from sanitizer.sources.encode import encode, format_of


def picture(height: int = 20, width: int = 30) -> Pixels:
    """Smooth colours, so that a lossy encoder keeps them."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 8 % 256, columns * 8 % 256, (rows + columns) * 4 % 256], axis=2).astype(np.uint8)


def saved(image: Image.Image, fmt: str, **options: Any) -> bytes:
    """The image as PIL writes it."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def outcome_of(content: bytes) -> Pixels | str:
    """The pixels, or the reason why there are none."""
    try:
        return decode(content, Limits(max_pixels=1_000_000))
    except (Unreadable, Refused) as why:
        return str(why)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_of_the_list_is_known_and_decoded(fmt: str) -> None:
    """What PIL writes is recognised by its first bytes and comes back with its size."""
    content = saved(Image.fromarray(picture()), fmt)
    assert format_of(content) == fmt
    pixels = decode(content, LIMITS)
    assert (pixels.shape, str(pixels.dtype)) == ((20, 30, 3), "uint8")
    if fmt not in ("JPEG", "GIF", "WEBP"):
        np.testing.assert_array_equal(pixels, picture())


def test_what_encode_writes_as_png_decode_reads_unchanged() -> None:
    """PNG loses nothing, and the same pixels are the same bytes."""
    np.testing.assert_array_equal(decode(encode(picture(), "PNG"), LIMITS), picture())
    assert encode(picture(), "PNG") == encode(picture(), "PNG")


def test_jpeg_keeps_full_colour_resolution_and_tells_nothing() -> None:
    """A one-pixel colour pattern survives 4:4:4; no metadata is written."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    content = encode(stripes, "JPEG", 100)
    assert np.abs(decode(content, LIMITS).astype(int) - stripes).max() < 12
    assert b"Exif" not in content


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """Palette, grey, alpha and print colours all end as three channels."""
    fmt = {"CMYK": "JPEG", "YCbCr": "JPEG", "PA": "GIF"}.get(mode, "PNG")
    image = Image.fromarray(picture()).convert("RGB" if mode == "PA" else "P" if mode == "P" else "RGB")
    assert decode(saved(image if mode == "PA" else image.convert(mode), fmt), LIMITS).shape == (20, 30, 3)


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(fmt: str) -> None:
    """The upper byte is kept."""
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    pixels = decode(saved(Image.fromarray(values), fmt), LIMITS)
    np.testing.assert_array_equal(pixels[..., 0], np.arange(256).reshape(16, 16))


def test_floating_point_and_32_bit_images_are_unreadable() -> None:
    """They have no range that could be meant."""
    for values in (np.ones((4, 4), np.float32), np.full((4, 4), 1 << 20, np.int32)):
        with pytest.raises(Unreadable):
            decode(saved(Image.fromarray(values), "TIFF"), LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int) -> None:
    """All eight of them, as PIL's own function does."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(picture()), "PNG", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(content, LIMITS), expected)


def test_broken_exif_turns_nothing() -> None:
    """The pixels are fine, so the image is."""
    content = saved(Image.fromarray(picture()), "PNG", exif=b"Exif\0\0II*\0garbage\xff\xff")
    np.testing.assert_array_equal(decode(content, LIMITS), picture())


@pytest.mark.parametrize("side", [8_001, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    """Before anything is decoded, below PIL's own limit, above it, and far above it."""
    with pytest.raises(Refused, match="64000000 pixels"):
        decode(png_header(side, side), LIMITS)


def test_a_bomb_warning_is_a_refusal_even_if_the_limit_is_higher() -> None:
    """PIL warns above 89 million pixels; that is enough."""
    with pytest.raises(Refused):
        decode(png_header(10_000, 10_000), Limits(max_pixels=10**12))


def test_too_many_bytes_and_too_many_scans_are_refused() -> None:
    """Both cost more than they show."""
    with pytest.raises(Refused, match="10 bytes"):
        decode(encode(picture(), "PNG"), Limits(max_bytes=10))
    with pytest.raises(Refused, match="scans"):
        decode(encode(picture(), "JPEG") + b"\xff\xda" * 501, LIMITS)


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt != "GIF"])
def test_a_truncated_image_is_unreadable(fmt: str) -> None:
    """Half a file is none."""
    content = saved(Image.fromarray(picture(64, 64)), fmt)
    with pytest.raises(Unreadable):
        decode(content[: len(content) // 2], LIMITS)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"BM", b"P6", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"II*\0"])
def test_next_to_nothing_is_unreadable(content: bytes) -> None:
    """No bytes, NUL bytes, and bare signatures."""
    with pytest.raises(Unreadable):
        decode(content, LIMITS)


def test_what_git_lfs_left_behind_is_called_by_its_name() -> None:
    """Somebody cloned without the files, and every image is unreadable: the reason says what to run."""
    with pytest.raises(Unreadable, match="git lfs pull"):
        decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", LIMITS)


def test_other_formats_are_not_even_tried() -> None:
    """PIL could read TGA or ICO; this room does not."""
    for fmt in ("TGA", "ICO", "PCX"):
        with pytest.raises(Unreadable, match="not one of JPEG"):
            decode(saved(Image.fromarray(picture(16, 16)), fmt), LIMITS)


@settings(max_examples=150, deadline=None)
@given(
    fmt=st.sampled_from(FORMATS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 40),
)
def test_mutated_bytes_never_raise_anything_else(fmt: str, edits: list[tuple[int, int]], cut: int) -> None:
    """Whatever is done to a file: pixels, Unreadable or Refused, no warning, and a clean reason."""
    content = bytearray(saved(Image.fromarray(picture(12, 12)), fmt))
    for place, value in edits:
        content[place % len(content)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = outcome_of(bytes(content[: len(content) - cut]))
    if isinstance(outcome, str):
        assert outcome.isprintable()
    else:
        assert (outcome.ndim, str(outcome.dtype)) == (3, "uint8")


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from([b"BM", b"P6 3 3 255 ", b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"\x89PNG\r\n\x1a\n"]),
    rest=st.binary(max_size=200),
)
def test_garbage_behind_a_signature_never_raises_anything_else(start: bytes, rest: bytes) -> None:
    """The parsers see arbitrary bytes."""
    outcome = outcome_of(start + rest)
    assert not isinstance(outcome, str) or outcome.isprintable()


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    """The filters belong to the process; many decoders at once must not wear them out."""
    before = list(warnings.filters)
    content = encode(picture(64, 64), "PNG")
    threads = [threading.Thread(target=lambda: [decode(content, LIMITS) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_fitting_keeps_what_fits_and_squashes_the_rest() -> None:
    """A view of the right size is the input itself; a flat colour stays that colour."""
    square = picture(16, 16)
    assert fit(square, 16) is square
    flat = np.full((40, 10, 3), 77, np.uint8)
    np.testing.assert_array_equal(fit(flat, 8), np.full((8, 8, 3), 77))
