"""Which pictures the gallery keeps, and how large it may become."""

from __future__ import annotations

import io

import numpy as np
import pytest
from made_up import FakeCensus, flagged, make_census, make_verdict, row
from PIL import Image

from sanitizer.actions import gallery as module
from sanitizer.actions.gallery import SCHEMA, build_gallery


def test_the_suspicious_come_first_and_then_their_neighbours() -> None:
    """Three neighbours of each are kept, once, whoever else they are near to."""
    near = ["n1", "n2", "n3", "n4"]
    rows = [flagged("a", score=5.0, nearest=near), flagged("b", score=7.0, nearest=["a", "n1"]), *map(row, near)]
    verdict = make_verdict(rows)
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    assert table.schema == SCHEMA
    assert list(zip(table["role"].to_pylist(), table["id"].to_pylist(), strict=True)) == [
        ("suspicious", "b"),
        ("suspicious", "a"),
        ("neighbour", "a"),
        ("neighbour", "n1"),
        ("neighbour", "n2"),
        ("neighbour", "n3"),
    ]


@pytest.mark.parametrize(("side", "suspicious", "neighbour"), [(32, 32, 32), (64, 64, 48), (300, 96, 48)])
def test_small_images_stay_as_they_are_and_large_ones_shrink(side: int, suspicious: int, neighbour: int) -> None:
    """A picture has at most 96 pixels a side, that of a neighbour 48."""
    verdict = make_verdict([flagged("a", nearest=["n"]), row("n")])
    table = build_gallery(verdict=verdict, census=make_census(verdict, side), losses=None)
    sizes = [Image.open(io.BytesIO(png)).size for png in table["thumbnail"].to_pylist()]
    assert sizes == [(suspicious, suspicious), (neighbour, neighbour)]


def test_each_picture_is_that_of_its_sample() -> None:
    """The census has an order of its own; small pictures come back pixel by pixel."""
    verdict = make_verdict([flagged("a"), flagged("b"), row("c"), flagged("d")])
    made = make_census(verdict)
    census = FakeCensus(made.samples[::-1], made.pixels[::-1])
    table = build_gallery(verdict=verdict, census=census, losses=np.arange(8).reshape(4, 2))
    place = {sample.id: place for place, sample in enumerate(census.samples)}
    for entry in table.to_pylist():
        pixels = np.asarray(Image.open(io.BytesIO(entry["thumbnail"])))
        assert np.array_equal(pixels, census.pixels[place[entry["id"]]])
        assert entry["losses"] == [2.0 * place[entry["id"]], 2.0 * place[entry["id"]] + 1]


def test_every_class_gets_its_share() -> None:
    """A class with very high scores does not push the others out; what a small class leaves is given on."""
    loud = [flagged(f"loud{n:02}", "loud", score=100.0 - n) for n in range(20)]
    quiet = [flagged(f"quiet{n:02}", "quiet", score=5.0 - n / 10) for n in range(3)]
    verdict = make_verdict(loud + quiet)
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=10)
    assert table["id"].to_pylist() == [f"loud{n:02}" for n in range(7)] + [f"quiet{n:02}" for n in range(3)]


def test_more_classes_than_places() -> None:
    """The best of the most suspicious classes are shown when there are too many classes."""
    verdict = make_verdict([flagged(f"{n}", f"class{n}", score=float(n)) for n in range(8)])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=3)
    assert table["id"].to_pylist() == ["7", "6", "5"]


@pytest.mark.parametrize("rows", [[], [row("a"), row("b", None)]])
def test_nothing_suspicious_gives_an_empty_gallery(rows: list[dict[str, object]]) -> None:
    """An empty gallery still has its columns."""
    verdict = make_verdict(rows)
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    assert table.num_rows == 0
    assert table.schema == SCHEMA


def test_losses_that_cannot_be_drawn_are_left_out() -> None:
    """What is not finite is dropped; nothing left is null."""
    verdict = make_verdict([flagged("a", score=3.0), flagged("b", score=2.0)])
    losses = np.array([[2.0, np.nan, 1.0], [np.nan, np.inf, np.nan]])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=losses)
    assert table["losses"].to_pylist() == [[2.0, 1.0], None]


def test_the_largest_gallery_of_the_usual_limit_is_below_ten_megabytes() -> None:
    """Noise is what compresses worst; 200 samples with 600 different neighbours are the most there is."""
    rows = [flagged(f"s{n}", nearest=[f"n{n}-{k}" for k in range(3)]) for n in range(200)]
    verdict = make_verdict(rows + [row(name) for entry in rows for name in entry["nearest"]])
    table = build_gallery(verdict=verdict, census=make_census(verdict, 96), losses=None)
    assert table["role"].to_pylist().count("suspicious") == 200
    assert 5e6 < table.nbytes < 10e6


def test_the_least_suspicious_are_left_out_when_the_bytes_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger limit cannot make the gallery larger than its budget."""
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    verdict = make_verdict([flagged(f"{n}", score=9.0 - n) for n in range(9)])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    assert table["id"].to_pylist() == ["0", "1", "2"]


def test_vectors_have_no_pictures_and_are_listed_all_the_same() -> None:
    """Their losses and names are kept; a picture of a vector would be made up."""
    verdict = make_verdict([flagged("a", nearest=["b"]), row("b")])
    table = build_gallery(verdict=verdict, census=make_census(verdict, holds="vectors"), losses=np.ones((2, 3)))
    assert table["id"].to_pylist() == ["a", "b"]
    assert table["thumbnail"].to_pylist() == [b"", b""]


def test_what_looks_planted_goes_before_labels_in_doubt() -> None:
    """However high these score: a gallery that is full has room for what matters more."""
    doubted = [flagged(f"doubted{n}", kind="label", score=50.0 + n) for n in range(5)]
    verdict = make_verdict([*doubted, flagged("planted", score=2.0)])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=3)
    assert table["id"].to_pylist() == ["planted", "doubted4", "doubted3"]


def test_trusted_neighbours_have_pictures_too() -> None:
    """They are in the census beside the suspects, under marked names."""
    verdict = make_verdict([flagged("a", nearest=["trusted:b"])])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    assert table["id"].to_pylist() == ["a", "trusted:b"]
    assert all(table["thumbnail"].to_pylist())
