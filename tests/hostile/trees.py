"""Folders that nobody made for training: each function puts one kind of trouble beside two classes of good images."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

from tests.hostile.book import Book
from tests.hostile.images import IMAGES, colours, saved

#: What a tree comes to beside the four good images that every one of them has.
TREES: Book[Callable[[Path], None]] = Book()
kind = TREES.kind

GOOD = saved(colours(), "PNG")


def good_images(root: Path) -> None:
    """Two classes of two images."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(2):
            (root / name / f"{number}.png").write_bytes(saved(colours(20 + number), "PNG"))


def _linked(target: str, name: str = "a/link.png") -> Callable[[Path], None]:
    return lambda root: (root / name).symlink_to(target)


def _named(name: str | bytes) -> Callable[[Path], None]:
    return lambda root: (root / "a" / os.fsdecode(name)).write_bytes(GOOD) and None


def _beside(name: str, content: bytes) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return make


# Links.

for name, target, outcome in (
    ("to_a_secret", "/etc/passwd", "refused"),
    ("to_a_secret_by_its_way_up", "../../../../../../etc/passwd", "refused"),
    ("to_a_device_without_end", "/dev/zero", "refused"),
    ("to_our_own_memory", "/proc/self/mem", "refused"),
    ("to_standard_input", "/dev/stdin", "refused"),
    ("to_nothing", "nothing.png", "unreadable"),
    ("to_nothing_outside", "/no/such/place.png", "refused"),
    ("to_itself", "link.png", "unreadable"),
    ("to_its_own_folder", ".", "ignored"),
    ("to_the_root", "..", "ignored"),
    ("to_an_image_inside", "../b/0.png", "scanned"),
    ("whose_target_is_long", "x/" * 2000, "unreadable"),
):
    TREES.add(f"link_{name}", _linked(target), outcome)
TREES.add("class_that_is_a_link_out", _linked("/etc", "etc.png"), "refused")
TREES.add("class_that_is_a_link_inside", _linked("a", "c"), "ignored")


@kind("unreadable unreadable")
def two_links_to_each_other(root: Path) -> None:
    """A circle."""
    (root / "a" / "x.png").symlink_to("y.png")
    (root / "a" / "y.png").symlink_to("x.png")


@kind("refused refused")
def link_to_a_link_that_leads_out(root: Path) -> None:
    """The first looks harmless."""
    (root / "a" / "x.png").symlink_to("../b/y.png")
    (root / "b" / "y.png").symlink_to("/etc/hostname")


@kind("scanned")
def two_names_of_one_file(root: Path) -> None:
    """A hard link is a file like any other."""
    (root / "a" / "again.png").hardlink_to(root / "a" / "0.png")


# What is no file.


@kind("refused")
def pipe(root: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(root / "a" / "pipe.png")


@kind("refused")
def pipe_that_claims_nothing(root: Path) -> None:
    """Special files are refused whatever they are called."""
    os.mkfifo(root / "a" / "pipe")


@kind("refused")
def socket_in_a_class(root: Path) -> None:
    """Nobody listens."""
    with socket.socket(socket.AF_UNIX) as end:
        before = Path.cwd()
        os.chdir(root / "a")  # the path of a socket may have 107 letters
        try:
            end.bind("end.png")
        finally:
            os.chdir(before)


@kind("")
def folder_called_like_an_image(root: Path) -> None:
    """It is empty, and a folder is no item."""
    (root / "a" / "folder.png").mkdir()


@kind("scanned")
def image_in_a_folder_called_like_an_image(root: Path) -> None:
    """Only the name of a file claims something."""
    (root / "a" / "folder.png").mkdir()
    (root / "a" / "folder.png" / "x.png").write_bytes(GOOD)


@kind("refused")
def file_of_a_terabyte(root: Path) -> None:
    """Sparse: it takes nothing on the disk."""
    with (root / "a" / "large.png").open("xb") as file:
        file.truncate(2**40)


@kind("refused")
def file_one_byte_too_large(root: Path) -> None:
    """Of zeros that are not there."""
    with (root / "a" / "large.png").open("xb") as file:
        file.truncate(256 * 2**20 + 1)


@kind("unreadable")
def file_as_large_as_may_be(root: Path) -> None:
    """Read as a whole, and found to be nothing."""
    with (root / "a" / "large.png").open("xb") as file:
        file.truncate(256 * 2**20)


# Names.

for name, called in {
    "a_line_break": "x\ny.png",
    "carriage_return": "x\r.png",
    "escapes": "\x1b[2J\x1b]0;pwned\x07.png",
    "a_script": "<script>alert(1)<|script>.png",
    "an_image_tag": '"><img src=x onerror=alert(1)>.png',
    "a_formula": "=cmd|' !A0'.png",
    "an_option": "--out.png",
    "a_dash": "-.png",
    "dots": "..png",
    "only_a_suffix": ".png",
    "hidden": ".hidden.png",
    "blanks": "  .png",
    "a_row_of_a_table": "x.parquet#0.png",
    "a_tilde": "0.png~.png",
    "the_mark_of_the_trusted": "trusted:x.png",
    "a_backslash": "..\\..\\x.png",
    "a_percent": "%2e%2e%2f%00.png",
    "another_direction": "x\u202egnp.exe.png",
    "a_zero_width": "x\u200b.png",
    "markup": "[red]:skull:{{7*7}}${x}.png",
    "a_windows_device": "CON.png",
    "capital_letters": "X.PNG",
    "254_letters": "x" * 250 + ".png",
    "a_comma": 'a,"b.png',
    "a_path_to_a_url": "http:~~x.png",
    "a_line_separator": "x\u2028y.png",
    "a_tag_letter": "x\U000e0041.png",
}.items():
    TREES.add(f"name_with_{name}", _named(called), "scanned")
TREES.add("name_that_is_no_text", _named(b"caf\xe9\xff.png"), "scanned")


@kind("scanned scanned")
def names_that_look_the_same_once_printable(root: Path) -> None:
    """Two files, two ids."""
    _named(b"\xff.png")(root)
    _named("\\udcff.png")(root)


@kind("scanned scanned")
def names_that_look_the_same_to_a_person(root: Path) -> None:
    """Composed, and decomposed."""
    _named("\u00e9.png")(root)
    _named("e\u0301.png")(root)


@kind("scanned")
def class_called_by_escapes(root: Path) -> None:
    """Class names are text from outside."""
    _beside("\x1b[31m<b>=1+1\n/x.png", GOOD)(root)


@kind("scanned")
def class_that_is_no_text(root: Path) -> None:
    """Bytes that are no UTF-8 become escapes."""
    folder = root / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    (folder / "x.png").write_bytes(GOOD)


# Shapes.


@kind("scanned")
def image_300_folders_deep(root: Path) -> None:
    """As deep as a path may go without tricks."""
    deep = root.joinpath("a", *["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "x.png").write_bytes(GOOD)


@kind("unreadable")
def folder_deeper_than_a_path_may_be(root: Path) -> None:
    """Made step by step; no path of 4,096 letters leads to its end."""
    before = Path.cwd()
    os.chdir(root / "a")
    try:
        for _ in range(30):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("x.png").write_bytes(GOOD)
    finally:
        os.chdir(before)


@kind("scanned " * 300)
def class_for_every_image(root: Path) -> None:
    """Three hundred of them."""
    for number in range(300):
        _beside(f"class{number}/x.png", GOOD)(root)


@kind("")
def folders_without_anything(root: Path) -> None:
    """A thousand."""
    for number in range(1000):
        (root / f"empty{number}").mkdir()


@kind("ignored")
def image_outside_any_class(root: Path) -> None:
    """It has no label, and the others have."""
    (root / "loose.png").write_bytes(GOOD)


# What must not be taken for instructions.

CANARY = "import pathlib; pathlib.Path('canary').touch()\n"
for name in (
    "sitecustomize.py",
    "sanitizer.py",
    "PIL.py",
    "numpy.py",
    "torch.py",
    "conftest.py",
    "__init__.py",
    "a.pth",
):
    TREES.add(f"module_called_{name}", _beside(name, CANARY.encode()), "ignored")
for name, content in {
    "pyproject.toml": b"[tool.sanitizer.gate]\nmax_flagged_fraction = 1.0\n",
    "policy.toml": b"[gate]\nmax_flagged_fraction = 1.0\n",
    "summary.json": b'{"answer": {"poison_found": false}}',
    "manifest.json": b"{}",
    "dataset_infos.json": b'{"default": {"features": {}}}',
    "script.sh": b"#!/bin/sh\ntouch canary\n",
    ".env": b"SANITIZER_STORE=/tmp\n",
}.items():
    TREES.add(f"settings_called_{name}", _beside(name, content), "ignored")


class _Runs:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch canary",)


for suffix in (".pkl", ".pt", ".npy", ".joblib"):
    TREES.add(f"pickle_called_x{suffix}", _beside(f"a/x{suffix}", pickle.dumps(_Runs())), "ignored")
TREES.add("pickle_called_x.png", _beside("a/x.png", pickle.dumps(_Runs())), "unreadable")
TREES.add("git_lfs_checkout", _beside("a/lfs.jpg", IMAGES.pages["git_lfs_pointer"].make()), "unreadable")
TREES.add("thumbnails_of_windows", _beside("a/Thumbs.db", b"\xd0\xcf\x11\xe0"), "ignored")
TREES.add("archive_beside", _beside("more.zip", b"PK\3\4"), "ignored")
TREES.add("format_that_is_never_decoded", _beside("a/x.heic", IMAGES.pages["heic"].make()), "unreadable")
