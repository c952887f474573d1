"""Metadata files that somebody wrote to be misread: each function describes a folder of four good images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.hostile.book import Book
from tests.hostile.trees import GOOD

#: What a folder with such a file comes to: what is found beside four scanned images and the file itself, which is
#: ignored; "-scanned" is one image less; or "error".
LABELS: Book[Callable[[Path], None]] = Book()
kind = LABELS.kind

FOUR = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(4))
HEAD = "file_name,label\n"


def flat_images(root: Path) -> None:
    """Four images without labels."""
    root.mkdir(parents=True)
    for number in range(4):
        (root / f"{number}.png").write_bytes(GOOD + bytes(number))


def _csv(text: str | bytes, name: str = "metadata.csv") -> Callable[[Path], None]:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return lambda root: (root / name).write_bytes(content) and None


def _jsonl(*rows: str) -> Callable[[Path], None]:
    four = [json.dumps({"file_name": f"{number}.png", "label": "ab"[number % 2]}) for number in range(4)]
    return _csv("\n".join([*four, *rows]), "metadata.jsonl")


for name, path, outcome in (
    ("the_way_up", "../../etc/passwd", "refused"),
    ("an_absolute_path", "/etc/passwd", "refused"),
    ("a_way_down_and_up", "a/../../x.png", "refused"),
    ("nothing", "", "refused"),
    ("the_root", ".", "refused"),
    ("a_url", "http://169.254.169.254/x.png", "unreadable"),
    ("a_file_url", "file:///etc/passwd", "unreadable"),
    ("what_is_absent", "absent.png", "unreadable"),
    ("one_file_twice", "0.png", "unreadable"),
    ("one_file_by_two_ways", "./a/../0.png", "unreadable"),
    ("itself", "metadata.csv", "-ignored unreadable"),
    ("a_backslash", "..\\..\\x.png", "unreadable"),
    ("a_home", "~/.ssh/id_rsa.png", "unreadable"),
):
    LABELS.add(f"csv_that_names_{name}", _csv(f"{HEAD}{FOUR}{path},a\n"), outcome)
for name, label in {
    "a_formula": "=1+1",
    "escapes": "\x1b[2J",
    "a_script": "<script>",
    "a_line_break": '"x\ny"',
    "ten_thousand_letters": "x" * 10_000,
    "another_direction": "\u202ex",
    "the_largest_number": "9" * 400,
    "an_infinity": "inf",
    "a_quotation": '"""x"""',
}.items():
    LABELS.add(f"csv_whose_label_is_{name}", _csv(f"{HEAD}{FOUR.replace(',b', ',' + label)}"), "")
for name, text, outcome in (
    ("without_rows", HEAD, "-scanned ignored " * 4),
    ("without_labels", "file_name,label\n" + FOUR.replace(",a", ","), "-scanned unreadable " * 2),
    ("with_a_column_twice", "file_name,label,label\n0.png,a,b\n", "error"),
    ("of_zeros", bytes(1000), ""),
    ("that_is_no_text", b"file_name,label\n0.png,\xff\xfe\n" + FOUR.encode().replace(b"0.png,a\n", b""), ""),
    ("with_a_mark_of_order", "\ufeff" + HEAD + FOUR, ""),
    ("with_more_cells_than_columns", HEAD + FOUR.replace(",a", ",a,b,c"), ""),
    ("with_fewer_cells", HEAD + FOUR + "x\n", "unreadable"),
    ("with_a_cell_of_a_megabyte", HEAD + "x" * 2**20 + ",a\n", "error"),
    ("with_an_open_quotation", HEAD + '"0.png,a\n' * 5, "-scanned ignored " * 4 + "unreadable " * 3),
    ("with_zeros_inside", HEAD + FOUR + "x\0.png,a\n", "refused"),
    ("without_file_names", "name,label\n0.png,a\n", ""),
    ("that_is_empty", "", ""),
    ("of_lone_carriage_returns", HEAD.replace("\n", "\r") + FOUR.replace("\n", "\r"), ""),
):
    LABELS.add(f"csv_{name}", _csv(text), outcome)
for name, row, outcome in (
    ("a_number", "3", "error"),
    ("a_list", "[1]", "error"),
    ("broken", "{", "error"),
    ("no_json", "NaN,", "error"),
    ("100000_lists_deep", "[" * 100_000, "error"),
    ("a_number_of_5000_digits", "9" * 5000, "error"),
):
    LABELS.add(f"jsonl_with_a_line_that_is_{name}", _jsonl(row), outcome)
for name, label in {
    "null": "null",
    "a_list": "[1]",
    "a_table": '{"x": 1}',
    "not_a_number": "NaN",
    "infinite": "1e999",
    "half_a_letter": '"\\ud800"',
    "true": "true",
    "a_zero_letter": '"\\u0000"',
    "a_large_number": "1" * 300,
}.items():
    row = f'{{"file_name": "0.png", "label": {label}}}'
    LABELS.add(
        f"jsonl_whose_label_is_{name}",
        lambda root, row=row: (  # type: ignore[misc]
            root / "metadata.jsonl"
        ).write_text("\n".join([row, *(f'{{"file_name": "{n}.png", "label": "ab"}}' for n in range(1, 4))])),
        "-scanned unreadable" if name in ("null", "a_list", "a_table", "not_a_number", "infinite") else "",
    )
LABELS.add("jsonl_that_names_half_a_letter", _jsonl('{"file_name": "\\ud800.png", "label": "a"}'), "unreadable")
LABELS.add("jsonl_that_names_a_number", _jsonl('{"file_name": 7, "label": "a"}'), "refused")
LABELS.add("jsonl_that_names_itself", _jsonl('{"file_name": "metadata.jsonl", "label": "a"}'), "-ignored unreadable")


@kind("error")
def both_kinds_of_metadata(root: Path) -> None:
    """Which one is meant is not for us to say."""
    _csv(HEAD + FOUR)(root)
    _jsonl()(root)


@kind("error")
def metadata_by_a_link_out(root: Path) -> None:
    """The labels of somebody else."""
    (root.parent / "labels.csv").write_text(HEAD + FOUR)
    (root / "metadata.csv").symlink_to("../labels.csv")


@kind("error")
def metadata_that_are_a_pipe(root: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(root / "metadata.csv")


@kind("error")
def metadata_of_a_terabyte(root: Path) -> None:
    """Sparse."""
    with (root / "metadata.csv").open("xb") as file:
        file.truncate(2**40)


@kind("-ignored")
def metadata_that_are_a_folder(root: Path) -> None:
    """A folder describes nothing."""
    (root / "metadata.csv").mkdir()


@kind("error")
def metadata_by_a_link_to_itself(root: Path) -> None:
    """A circle."""
    (root / "metadata.csv").symlink_to("metadata.csv")
