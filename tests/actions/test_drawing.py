"""The picture of a sample: made of what the gallery holds, written whole, never over anything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import flagged, make_verdict, row, unread
from toy_cli import Run, runner

from sanitizer.actions import drawing
from sanitizer.actions.drawing import LARGE, WIDTH, draw
from sanitizer.actions.gallery import NEIGHBOUR, SUSPICIOUS
from sanitizer.errors import SanitizerError, UsageError, VerdictError
from sanitizer.record import GALLERY, SUMMARY
from sanitizer.sources.base import Pixels
from sanitizer.sources.decode import LIMITS, decode, fit
from sanitizer.sources.encode import encode

Write = Callable[..., Path]
NEAR = [f"train/cat/{n:04}.png" for n in range(3)]
ID = "train/cat/0007.png"
HOSTILE = "\x1b[2J<b>\u202e中" * 30


@pytest.fixture
def folder(write_folder: Write) -> Path:
    """A verdict with a flagged sample, its neighbours, and one that was not read."""
    planted = flagged(ID, nearest=NEAR, reasons=["outliers along the main axis"], score_spectral=5.5)
    lonely = flagged("train/dog/0001.png", "dog", kind="label")
    others = [row(name) for name in NEAR]
    return write_folder(make_verdict([*others, planted, lonely, unread("train/cut.png")]))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``sanitizer``."""
    return runner(monkeypatch, capsys)


def drawn(folder: Path, id: str = ID) -> Pixels:
    """The picture of a sample."""
    path = folder.parent / "out.png"
    draw(folder, id, path)
    return decode(path.read_bytes(), LIMITS)


def rewrite(folder: Path, **columns: Any) -> None:
    """Change columns of the gallery: a function of its rows for each, or None to leave the column out."""
    rows = pq.read_table(folder / GALLERY).to_pylist()
    for name, change in columns.items():
        for entry in rows:
            if change is None:
                entry.pop(name, None)
            else:
                entry[name] = change(entry)
    pq.write_table(pa.Table.from_pylist(rows), folder / GALLERY)


def holds(sheet: Pixels, part: Pixels) -> bool:
    """Whether a picture is somewhere on the sheet."""
    height, width = part.shape[:2]
    places = np.argwhere((sheet[: -height + 1, : -width + 1] == part[0, 0]).all(axis=-1))
    return any((sheet[y : y + height, x : x + width] == part).all() for y, x in places)


def thumbnail(folder: Path, id: str, role: str) -> Pixels:
    """What the gallery holds of a sample."""
    rows = pq.read_table(folder / GALLERY).to_pylist()
    return decode(next(one["thumbnail"] for one in rows if (one["id"], one["role"]) == (id, role)), LIMITS)


def test_the_sample_is_large_and_its_neighbours_are_small(folder: Path) -> None:
    """Pixel by pixel, in a picture of a known width."""
    sheet = drawn(folder)
    assert sheet.shape[1] == WIDTH
    large = thumbnail(folder, ID, SUSPICIOUS)
    times = LARGE // large.shape[0]
    assert holds(sheet, large.repeat(times, axis=0).repeat(times, axis=1))
    for name in NEAR:
        small = thumbnail(folder, name, NEIGHBOUR)
        times = drawing.SMALL // small.shape[0]
        assert holds(sheet, small.repeat(times, axis=0).repeat(times, axis=1))


def test_a_difference_that_was_kept_is_the_one_that_is_shown(folder: Path) -> None:
    """And one is made where the gallery is of an earlier scan, that kept none."""
    kept = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    rewrite(folder, difference=lambda entry: encode(kept, "PNG"))
    enlarged = kept.repeat(LARGE // 32, axis=0).repeat(LARGE // 32, axis=1)
    assert holds(drawn(folder), enlarged)
    rewrite(folder, difference=None)
    assert not holds(drawn(folder), enlarged)


def test_what_all_neighbours_have_is_no_difference(folder: Path) -> None:
    """A sample that is the mean of its neighbours leaves plain grey; what is planted in it stands out."""
    grey = np.full((16, 16, 3), 90, np.uint8)
    planted = grey.copy()
    planted[10:13, 10:13] = 255
    middle = drawing._difference(grey, None, [grey, grey])
    assert middle is not None
    assert len(np.unique(middle)) == 1
    shown = drawing._difference(planted, None, [grey, grey])
    assert shown is not None
    assert (shown[10:13, 10:13] == 255).all()
    assert (shown[:8, :8] == middle[:8, :8]).all()
    smaller = drawing._difference(fit(planted, 32), None, [grey, grey])
    assert smaller is not None
    assert smaller.shape == grey.shape


def test_a_sample_without_neighbours_is_drawn_without_them(folder: Path) -> None:
    """Nothing is compared with nothing."""
    rewrite(folder, difference=None)
    assert drawing._difference(np.zeros((8, 8, 3), np.uint8), None, []) is None
    sheet = drawn(folder, "train/dog/0001.png")
    assert (sheet[200, WIDTH // 2 :] == 255).all()


def test_bars_are_as_long_as_ranks_are_high(folder: Path) -> None:
    """The highest fills its track; the detector that gave a reason has another colour."""
    sheet = drawn(folder)
    reasons = (sheet == drawing._REASON).all(axis=-1).sum(axis=1)
    others = (sheet == drawing._BAR).all(axis=-1).sum(axis=1)
    assert set(reasons) == {0, drawing._TRACK}  # spectral: the highest of four
    assert others.max() == drawing._TRACK  # density: all are equal


def test_equal_folders_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    """And a second picture takes the place of the first."""
    drawn(folder)
    once = (tmp_path / "out.png").read_bytes()
    drawn(folder)
    assert (tmp_path / "out.png").read_bytes() == once
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "verdict"]


@pytest.mark.parametrize("name", [HOSTILE, "\n", "a" * 5000, "né.png"], ids=["controls", "newline", "endless", "é"])
def test_any_name_can_be_drawn(write_folder: Write, name: str) -> None:
    """Of a sample, a class and a neighbour; none changes the layout."""
    rows = [flagged(name, name, nearest=["near" + name]), row("near" + name, name)]
    assert drawn(write_folder(make_verdict(rows)), name).shape[1] == WIDTH


@pytest.mark.parametrize("side", [1, 5, 31, 48, 96])
def test_pictures_of_any_size_fit(write_folder: Write, side: int) -> None:
    """Enlarged in whole steps, centred in what is left."""
    rows = [flagged("a", nearest=["b"]), row("b")]
    assert drawn(write_folder(make_verdict(rows), side=side), "a").shape[1] == WIDTH


@pytest.mark.parametrize("id", [NEAR[0], "train/cut.png"])
def test_only_flagged_samples_have_a_picture(folder: Path, tmp_path: Path, id: str) -> None:
    """One line says so, and no file is left."""
    with pytest.raises(VerdictError, match=r"holds a picture of, got 'train/.*only images that were flagged"):
        draw(folder, id, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_vectors_have_no_picture(write_folder: Write, tmp_path: Path) -> None:
    """However suspicious they are."""
    folder = write_folder(make_verdict([flagged("#1", nearest=["#2"]), row("#2")]), holds="vectors")
    with pytest.raises(VerdictError, match="only images that were flagged"):
        draw(folder, "#1", tmp_path / "out.png")


@pytest.mark.parametrize("name", ["out.jpg", "out", "out.png.txt", "png"])
def test_a_name_has_to_say_what_the_file_is(folder: Path, tmp_path: Path, name: str) -> None:
    """It is a PNG."""
    with pytest.raises(UsageError, match=r"ends in \.png"):
        draw(folder, ID, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_nothing_but_a_picture_gives_way_to_a_picture(folder: Path, tmp_path: Path) -> None:
    """An earlier PNG or an empty file; not a text, not a folder."""
    path = tmp_path / "OUT.PNG"
    path.write_text("my thesis")
    with pytest.raises(UsageError, match="is no PNG"):
        draw(folder, ID, path)
    assert path.read_text() == "my thesis"
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="is no PNG"):
        draw(folder, ID, tmp_path / "folder.png")
    path.write_bytes(b"")
    draw(folder, ID, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_no_picture_is_put_where_it_is_foreign(folder: Path, tmp_path: Path) -> None:
    """Neither into the verdict nor into the data, which the next scan would read; nor where there is no folder."""
    (tmp_path / "data").mkdir()
    summary = json.loads((folder / SUMMARY).read_text())
    (folder / SUMMARY).write_text(json.dumps(summary | {"source": str(tmp_path / "data")}))
    for path, why in (
        (folder / "out.png", "inside the verdict folder"),
        (tmp_path / "data" / "out.png", "inside the source"),
        (tmp_path / "nowhere" / "out.png", "cannot write"),
    ):
        with pytest.raises(UsageError, match=why):
            draw(folder, ID, path)
        assert not path.exists()


@pytest.mark.parametrize("damage", ["absent", "no table", "no roles", "no pictures", "cut pictures"])
def test_a_broken_gallery_is_an_error_of_one_line(folder: Path, tmp_path: Path, damage: str) -> None:
    """Whatever is wrong with it."""
    if damage == "absent":
        (folder / GALLERY).unlink()
    elif damage == "no table":
        (folder / GALLERY).write_bytes(b"PAR1")
    elif damage == "no roles":
        rewrite(folder, role=None)
    elif damage == "no pictures":
        rewrite(folder, thumbnail=lambda entry: "text")
    else:
        rewrite(folder, thumbnail=lambda entry: entry["thumbnail"][:60])
    with pytest.raises(SanitizerError) as error:
        draw(folder, ID, tmp_path / "out.png")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.png").exists()


def test_the_command_says_and_draws(folder: Path, tmp_path: Path, run: Run) -> None:
    """The same lines, and where the picture is; an error before anything is said."""
    plain, path = run("explain", folder, ID), tmp_path / "out.png"
    answer = run("explain", folder, ID, "--image", path)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{plain.out}Picture: {path}\n"
    assert decode(path.read_bytes(), LIMITS).shape[1] == WIDTH
    failed = run("explain", folder, NEAR[0], "--image", path)
    assert (failed.code, failed.out, failed.err.count("\n")) == (2, "", 1)
    shutil.rmtree(folder)
    assert run("explain", folder, ID, "--image", path).code == 2
