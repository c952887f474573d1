"""Images that no camera made: each function gives the bytes of one kind; bombs are small and claim to be large."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.book import Book, dice

#: What an image comes to: the status that a scan has to give it.
IMAGES: Book[Callable[[], bytes]] = Book()
kind = IMAGES.kind
#: The same for images that are much work and nothing else: kilobytes once they are packed, and minutes to decode.
WORK: Book[Callable[[], bytes]] = Book()

SIGNATURES = {
    "jpeg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "bmp": b"BM",
    "tiff": b"II*\0",
    "bigtiff": b"II+\0",
    "webp": b"RIFF\x10\0\0\0WEBP",
    "ppm": b"P6",
}


def colours(side: int = 24) -> Image.Image:
    """A small picture with something in it."""
    rows, columns = np.mgrid[0:side, 0:side]
    return Image.fromarray(np.stack([rows * 9 % 256, columns * 7 % 256, (rows * columns) % 256], 2).astype(np.uint8))


def saved(image: Image.Image, fmt: str, **options: Any) -> bytes:
    """The image as PIL writes it."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, body: bytes = b"", *, between: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says what it is told to say."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return SIGNATURES["png"] + head + between + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def tiff(*tags: tuple[int, int, int, int], at: int = 8, rest: bytes = b"") -> bytes:
    """A TIFF with one directory of (tag, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", at, len(tags)) + entries + struct.pack("<I", 0) + rest


def grey_tiff(width: int, height: int, **changed: int) -> bytes:
    """A TIFF of one strip, with some of its tags changed or added: ``t258=16`` sets tag 258."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 64}
    tags |= {int(name[1:]): value for name, value in changed.items()}
    return tiff(*((tag, 4, 1, value) for tag, value in tags.items()), rest=bytes(200))


def bmp(width: int, height: int, *, depth: int = 24, packing: int = 0, body: bytes = b"", palette: int = 0) -> bytes:
    """A BMP that says what it is told to say."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, packing, len(body), 0, 0, palette, 0)
    table = bytes(4 * (palette or (256 if depth == 8 else 0)))
    start = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + table + body


def gif(width: int, height: int, *, before: bytes = b"", frame: tuple[int, int] | None = None) -> bytes:
    """A GIF with one frame of one pixel's worth of data."""
    w, h = frame or (width, height)
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    picture = b"," + struct.pack("<HHHHB", 0, 0, w, h, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + screen + before + picture + b";"


def jpeg_sized(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    content = saved(colours(), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def behind_the_start(content: bytes, inserted: bytes) -> bytes:
    """A JPEG with something put behind its first two bytes."""
    return content[:2] + inserted + content[2:]


def idle_progressive(side: int, scans: int) -> bytes:
    """A progressive JPEG whose scans say of every block that nothing is there: a pass over all of it for no bytes."""
    content = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + b"\xff\xd9"


# Bombs by size: the header alone condemns them.

for name, side in (("just_too_large", 8001), ("very_large", 20_000), ("largest_possible", 2**31 - 1)):
    IMAGES.add(f"png_{name}", lambda side=side: png(side, side), "refused")  # type: ignore[misc]
IMAGES.add("jpeg_65500_square", lambda: jpeg_sized(65_500, 65_500), "refused")
IMAGES.add("gif_65535_square", lambda: gif(65_535, 65_535), "refused")
IMAGES.add("gif_frame_larger_than_its_screen", lambda: gif(2, 2, frame=(65_535, 65_535)), "refused")
IMAGES.add("bmp_30000_square", lambda: bmp(30_000, 30_000), "refused")
IMAGES.add("bmp_30000_square_upside_down", lambda: bmp(30_000, -30_000), "refused")
IMAGES.add("tiff_60000_square", lambda: grey_tiff(60_000, 60_000), "refused")
IMAGES.add("ppm_99999_square", lambda: b"P6 99999 99999 255\n", "refused")
IMAGES.add("pbm_99999_square", lambda: b"P1 99999 99999\n1", "refused")


@kind("refused")
def webp_16383_square() -> bytes:
    """As large as WebP gets."""
    body = b"VP8X" + struct.pack("<IB3x", 10, 0) + (16_382).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


# Bombs by work: little to read, much to do.


@kind("refused")
def jpeg_of_501_scans() -> bytes:
    """Each costs a pass over the whole picture."""
    return saved(colours(), "JPEG") + b"\xff\xda" * 501


@WORK.kind("refused")
def jpeg_large_with_many_idle_scans() -> bytes:
    """Few enough scans, few enough pixels, and the product of both is hours."""
    return idle_progressive(6000, 400)


@WORK.kind("refused")
def ppm_comment_of_40_million_letters() -> bytes:
    """Read letter by letter."""
    return b"P6 #" + b"x" * 40_000_000


@WORK.kind("refused")
def ppm_40_million_blanks() -> bytes:
    """So are blanks before a number."""
    return b"P5 " + b" " * 40_000_000 + b"2 2 255\n1234"


@WORK.kind("refused")
def ppm_of_20_million_written_numbers() -> bytes:
    """Numbers in letters, parsed one by one."""
    return b"P2 4500 4500 255\n" + b"1 " * 20_250_000


@WORK.kind("refused")
def ppm_of_20_million_odd_values() -> bytes:
    """A largest value of 254 has every pixel rescaled one by one."""
    return b"P5 4500 4500 254\n" + bytes(20_250_000)


@WORK.kind("refused")
def bmp_of_20_million_empty_lines() -> bytes:
    """Run-length code that only ever says: next line."""
    return bmp(4000, 4000, depth=8, packing=1, body=bytes(40_000_000))


@WORK.kind("unreadable")
def gif_of_40_million_empty_extensions() -> bytes:
    """Each is parsed, none means anything."""
    return gif(2, 2, before=b"!\x01\0" * 13_000_000)


@WORK.kind("refused")
def jpeg_of_40_million_padding_bytes() -> bytes:
    """Allowed between segments, and read one by one."""
    return behind_the_start(saved(colours(), "JPEG"), b"\xff" * 40_000_000)


@WORK.kind("refused")
def jpeg_of_10_million_empty_segments() -> bytes:
    """Four bytes each."""
    return behind_the_start(saved(colours(), "JPEG"), b"\xff\xfe\0\2" * 10_000_000)


@WORK.kind("refused")
def png_of_3_million_empty_chunks() -> bytes:
    """Twelve bytes each."""
    return png(2, 2, bytes(14), between=chunk(b"teXx", b"") * 3_000_000)


# Bytes that claim to be images and are not.

for name, start in SIGNATURES.items():
    IMAGES.add(f"{name}_signature_alone", lambda start=start: start, "unreadable")  # type: ignore[misc]
    IMAGES.add(
        f"{name}_signature_and_noise",
        lambda start=start, name=name: start + dice(name).randbytes(500),  # type: ignore[misc]
        "refused" if name == "gif" else "unreadable",  # the dice throw a screen of 70 million pixels
    )
for fmt in ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP"):
    IMAGES.add(
        f"{fmt.lower()}_cut_in_half",
        lambda fmt=fmt: (whole := saved(colours(64), fmt))[: len(whole) // 2],  # type: ignore[misc]
        "unreadable",
    )
for name, content in {
    "nothing_at_all": b"",
    "one_byte": b"\xff",
    "zeros": bytes(1000),
    "plain_text": b"not an image",
    "html_with_a_script": b"<html><script>alert(1)</script>",
    "svg_with_a_script": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "svg_that_reads_a_file": b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "postscript_that_runs_a_command": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%touch /tmp/canary) (w) file",
    "elf_program": b"\x7fELF" + bytes(200),
    "pdf": b"%PDF-1.7\n",
    "heic": b"\0\0\0\x18ftypheic" + bytes(40),
    "avif": b"\0\0\0\x18ftypavif" + bytes(40),
    "jpeg_2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "icon": b"\0\0\1\0\1\0" + bytes(40),
    "fits_packed": b"SIMPLE  =                    T" + bytes(400),
    "git_lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n",
    "pickle_that_runs_a_command": pickle.dumps({"nothing": 1}).replace(b"nothing", b"os.system"),
}.items():
    IMAGES.add(name, lambda content=content: content, "unreadable")  # type: ignore[misc]


# Images with a broken part.

IMAGES.add("png_of_no_width", lambda: png(0, 5), "unreadable")
IMAGES.add("png_without_data", lambda: png(5, 5), "unreadable")
IMAGES.add("png_of_depth_77", lambda: png(5, 5, bytes(80), depth=77), "unreadable")
IMAGES.add("png_of_colour_type_99", lambda: png(5, 5, bytes(80), colour=99), "unreadable")
IMAGES.add("png_of_a_palette_without_one", lambda: png(5, 5, b"\0\1\2\3\4\5" * 5, colour=3), "scanned")
IMAGES.add("png_text_bomb", lambda: png(5, 5, between=_packed_text(b"zTXt", b"k\0\0")), "unreadable")
IMAGES.add(
    "png_international_text_bomb", lambda: png(5, 5, between=_packed_text(b"iTXt", b"k\0\1\0\0\0")), "unreadable"
)
IMAGES.add(
    "png_colour_profile_bomb", lambda: png(5, 5, bytes(80), between=_packed_text(b"iCCP", b"k\0\0")), "unreadable"
)
IMAGES.add("gif_of_no_frame", lambda: b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b";", "unreadable")
IMAGES.add("gif_of_no_width", lambda: gif(0, 0), "unreadable")
IMAGES.add(
    "gif_that_ends_in_an_extension", lambda: b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b"!", "unreadable"
)
IMAGES.add("bmp_of_depth_3", lambda: bmp(4, 4, depth=3, body=bytes(64)), "unreadable")
IMAGES.add("bmp_of_negative_width", lambda: bmp(-4, 4, body=bytes(64)), "refused")
IMAGES.add(
    "bmp_of_a_huge_palette", lambda: bmp(4, 4, depth=8, body=bytes(16))[:46] + b"\xff" * 4 + bytes(64), "unreadable"
)
IMAGES.add("bmp_in_an_unknown_packing", lambda: bmp(4, 4, packing=77, body=bytes(64)), "unreadable")
IMAGES.add(
    "bmp_whose_runs_leave_the_picture", lambda: bmp(4, 4, depth=8, packing=1, body=b"\0\2\xff\xff" * 50), "scanned"
)
IMAGES.add("tiff_directory_in_a_circle", lambda: b"II*\0" + struct.pack("<IHI", 8, 0, 8), "unreadable")
IMAGES.add("tiff_directory_beyond_its_end", lambda: b"II*\0" + struct.pack("<I", 2**31), "unreadable")
IMAGES.add("tiff_tag_of_4_billion_values", lambda: tiff((256, 4, 2**32 - 1, 8), (257, 4, 1, 4)), "unreadable")
IMAGES.add("tiff_strip_beyond_its_end", lambda: grey_tiff(8, 8, t273=2**31), "unreadable")
IMAGES.add("tiff_of_4_billion_bits", lambda: grey_tiff(8, 8, t258=2**32 - 1), "unreadable")
IMAGES.add("tiff_of_65535_samples_a_pixel", lambda: grey_tiff(8, 8, t277=65_535), "unreadable")
IMAGES.add("tiff_in_an_unknown_packing", lambda: grey_tiff(8, 8, t259=50_000), "unreadable")
IMAGES.add(
    "tiff_of_a_tile_larger_than_memory", lambda: grey_tiff(8, 8, t322=2**31, t323=2**31, t324=200, t325=64), "scanned"
)
IMAGES.add(
    "tiff_packed_with_a_tile_larger_than_memory",
    lambda: grey_tiff(8, 8, t259=8, t322=2**20, t323=2**20, t324=200, t325=64),
    "unreadable",
)
IMAGES.add("tiff_of_no_rows_in_a_strip", lambda: grey_tiff(8, 8, t278=0), "unreadable")
IMAGES.add("tiff_of_floats", lambda: saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "unreadable")
IMAGES.add("tiff_of_32_bits", lambda: saved(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"), "unreadable")
IMAGES.add("ppm_of_negative_width", lambda: b"P6 -5 5 255\n" + bytes(75), "unreadable")
IMAGES.add("ppm_of_no_width", lambda: b"P6 0 5 255\n", "unreadable")
IMAGES.add("ppm_of_no_largest_value", lambda: b"P6 5 5 0\n" + bytes(75), "unreadable")
IMAGES.add("ppm_of_a_number_without_end", lambda: b"P6 " + b"9" * 5000, "unreadable")
IMAGES.add("pgm_of_letters", lambda: b"P2 2 2 255\nab cd", "unreadable")
IMAGES.add("jpeg_of_no_size", lambda: jpeg_sized(0, 0), "unreadable")
IMAGES.add("jpeg_without_tables", lambda: _without(saved(colours(), "JPEG"), b"\xff\xdb"), "unreadable")
IMAGES.add(
    "jpeg_of_seven_components",
    lambda: saved(colours(), "JPEG").replace(b"\x08\0\x18\0\x18\3", b"\x08\0\x18\0\x18\7"),
    "unreadable",
)
IMAGES.add(
    "jpeg_of_twelve_bits",
    lambda: saved(colours(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "unreadable",
)
IMAGES.add("webp_whose_frame_is_missing", lambda: b"RIFF" + struct.pack("<I", 4) + b"WEBP", "unreadable")
IMAGES.add(
    "webp_longer_than_it_says",
    lambda: saved(colours(), "WEBP")[:4] + bytes(4) + saved(colours(), "WEBP")[8:],
    "unreadable",
)


def _packed_text(name: bytes, start: bytes) -> bytes:
    return chunk(name, start + zlib.compress(bytes(80_000_000), 9))


def _without(content: bytes, marker: bytes) -> bytes:
    at = content.index(marker)
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


# Awkward, and images all the same.


def _scanned(name: str, make: Callable[[], bytes]) -> None:
    IMAGES.add(name, make, "scanned")


for mode, fmt in (
    ("1", "PNG"),
    ("L", "PNG"),
    ("LA", "PNG"),
    ("P", "GIF"),
    ("RGBA", "PNG"),
    ("CMYK", "JPEG"),
    ("YCbCr", "JPEG"),
    ("CMYK", "TIFF"),
    ("LAB", "TIFF"),
):
    _scanned(
        f"{fmt.lower()}_in_mode_{mode.lower()}",
        lambda mode=mode, fmt=fmt: saved(colours().convert(mode) if mode != "LAB" else Image.new("LAB", (8, 8)), fmt),
    )  # type: ignore[misc]
_scanned("png_of_16_bits", lambda: saved(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257), "PNG"))
_scanned(
    "png_hidden_behind_alpha", lambda: saved(Image.merge("RGBA", (*colours().split(), Image.new("L", (24, 24)))), "PNG")
)
IMAGES.add(
    "png_with_a_broken_checksum_of_text",
    lambda: png(2, 2, bytes(14), between=chunk(b"tEXt", b"a\0b")[:-1] + b"!"),
    "unreadable",
)
_scanned("png_with_an_archive_behind_it", lambda: saved(colours(), "PNG") + _archive())
_scanned("png_of_one_pixel", lambda: saved(Image.new("RGB", (1, 1)), "PNG"))
_scanned("png_of_one_row", lambda: saved(Image.new("RGB", (60_000, 1)), "PNG"))
_scanned("png_of_one_column", lambda: saved(Image.new("L", (1, 60_000)), "PNG"))
_scanned(
    "png_with_escapes_in_its_text",
    lambda: png(2, 2, bytes(14), between=chunk(b"tEXt", b"Title\0\x1b[2J<script>=cmd()")),
)
_scanned(
    "png_with_two_headers",
    lambda: png(2, 2, bytes(14), between=chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))),
)
_scanned("png_with_a_broken_exif", lambda: saved(colours(), "PNG", exif=b"Exif\0\0II*\0garbage\xff\xff"))
_scanned("png_turned_by_its_exif", lambda: saved(colours(), "PNG", exif=_turned(6)))
_scanned("jpeg_turned_by_its_exif", lambda: saved(colours(), "JPEG", exif=_turned(8)))
_scanned("jpeg_turned_by_99", lambda: saved(colours(), "JPEG", exif=_turned(99)))
_scanned("jpeg_with_laughing_xmp", lambda: saved(colours(), "JPEG", xmp=_laughing()))
_scanned("jpeg_with_a_comment_of_escapes", lambda: saved(colours(), "JPEG", comment=b"\x1b]0;pwned\x07<script>"))
_scanned("jpeg_with_data_behind_it", lambda: saved(colours(), "JPEG") + b"\0" * 5000)
_scanned("jpeg_of_five_idle_scans", lambda: idle_progressive(64, 5))
_scanned(
    "gif_of_two_frames",
    lambda: saved(colours().convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (24, 24))]),
)
_scanned("gif_with_a_comment_of_a_megabyte", lambda: gif(1, 1, before=b"!\xfe" + (b"\xff" + b"x" * 255) * 4000 + b"\0"))
_scanned(
    "png_of_two_frames", lambda: saved(colours(), "PNG", save_all=True, append_images=[Image.new("RGB", (24, 24))])
)
_scanned(
    "webp_of_two_frames", lambda: saved(colours(), "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 24))])
)
_scanned("tiff_of_two_pages", lambda: saved(colours(), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]))
_scanned(
    "mpo_of_two_pictures", lambda: saved(colours(), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
)


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _laughing() -> bytes:
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE x [<!ENTITY l0 "ha">{lines}]><x tiff:Orientation="1">&l11;</x>'.encode()


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../canary", "x")
    return buffer.getvalue()
