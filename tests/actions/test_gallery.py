"""Which pictures the gallery keeps, and how large it may become."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_up import FakeCensus, flagged, make_census, make_verdict, row
from PIL import Image

from sanitizer.actions import gallery as module
from sanitizer.actions.gallery import NEIGHBOUR, PATTERN, POINT, SCHEMA, SUSPICIOUS, build_gallery


def of(table: pa.Table, *roles: str) -> pa.Table:
    """The rows of some roles."""
    return table.filter(pc.is_in(table["role"], pa.array(roles)))


def pixels_of(content: bytes) -> np.ndarray:
    """An encoded picture, (h, w, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)))


def test_patterns_come_first_then_the_suspicious_then_their_neighbours() -> None:
    """Three neighbours of each are kept, once, whoever else they are near to."""
    near = ["n1", "n2", "n3", "n4"]
    rows = [flagged("a", score=5.0, nearest=near), flagged("b", score=7.0, nearest=["a", "n1"]), *map(row, near)]
    verdict = make_verdict(rows)
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    assert table.schema == SCHEMA
    assert list(zip(table["role"].to_pylist(), table["id"].to_pylist(), strict=True)) == [
        ("pattern", "cat"),
        ("suspicious", "b"),
        ("suspicious", "a"),
        ("neighbour", "a"),
        ("neighbour", "n1"),
        ("neighbour", "n2"),
        ("neighbour", "n3"),
    ]


@pytest.mark.parametrize(("side", "suspicious", "neighbour"), [(32, 32, 32), (64, 64, 48), (300, 96, 48)])
def test_small_images_stay_as_they_are_and_large_ones_shrink(side: int, suspicious: int, neighbour: int) -> None:
    """A picture has at most 96 pixels a side, and its difference as many; that of a neighbour 48, of a point 24."""
    verdict = make_verdict([flagged("a", nearest=["n"]), row("n")])
    places = {"cat": {"n": (0.0, 0.0)}}
    table = build_gallery(verdict=verdict, census=make_census(verdict, side), losses=None, positions=places)
    expected = {PATTERN: suspicious, SUSPICIOUS: suspicious, NEIGHBOUR: neighbour, POINT: 24}
    for entry in table.to_pylist():
        assert pixels_of(entry["thumbnail"]).shape == (expected[entry["role"]], expected[entry["role"]], 3)
        if entry["difference"]:
            assert pixels_of(entry["difference"]).shape == pixels_of(entry["thumbnail"]).shape
    assert set(table["role"].to_pylist()) == set(expected)


def test_each_picture_is_that_of_its_sample() -> None:
    """The census has an order of its own; small pictures come back pixel by pixel."""
    verdict = make_verdict([flagged("a"), flagged("b"), row("c"), flagged("d")])
    made = make_census(verdict)
    census = FakeCensus(made.samples[::-1], made.pixels[::-1])
    table = build_gallery(verdict=verdict, census=census, losses=np.arange(8).reshape(4, 2))
    place = {sample.id: place for place, sample in enumerate(census.samples)}
    assert of(table, SUSPICIOUS).num_rows == 3
    for entry in of(table, SUSPICIOUS).to_pylist():
        assert np.array_equal(pixels_of(entry["thumbnail"]), census.pixels[place[entry["id"]]])
        assert entry["losses"] == [2.0 * place[entry["id"]], 2.0 * place[entry["id"]] + 1]


def test_every_class_gets_its_share() -> None:
    """A class with very high scores does not push the others out; what a small class leaves is given on."""
    loud = [flagged(f"loud{n:02}", "loud", score=100.0 - n) for n in range(20)]
    quiet = [flagged(f"quiet{n:02}", "quiet", score=5.0 - n / 10) for n in range(3)]
    verdict = make_verdict(loud + quiet)
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=10)
    assert of(table, SUSPICIOUS)["id"].to_pylist() == [f"loud{n:02}" for n in range(7)] + [
        f"quiet{n:02}" for n in range(3)
    ]


def test_more_classes_than_places() -> None:
    """The best of the most suspicious classes are shown when there are too many classes."""
    verdict = make_verdict([flagged(f"{n}", f"class{n}", score=float(n)) for n in range(8)])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=3)
    assert of(table, SUSPICIOUS)["id"].to_pylist() == ["7", "6", "5"]


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
    assert of(table, SUSPICIOUS)["losses"].to_pylist() == [[2.0, 1.0], None]


def test_the_largest_gallery_of_the_usual_limit_is_below_ten_megabytes() -> None:
    """Noise is what compresses worst; 200 samples with 600 different neighbours are the most there is."""
    rows = [flagged(f"s{n}", nearest=[f"n{n}-{k}" for k in range(3)]) for n in range(200)]
    verdict = make_verdict(rows + [row(name) for entry in rows for name in entry["nearest"]])
    places = {"cat": dict.fromkeys(verdict.table["id"].to_pylist(), (0.0, 0.0))}
    table = build_gallery(verdict=verdict, census=make_census(verdict, 96), losses=None, positions=places)
    pictures = pc.sum(pc.add(pc.binary_length(table["thumbnail"]), pc.binary_length(table["difference"]))).as_py()
    assert 8e6 < pictures <= module.MAX_BYTES
    assert table.nbytes < 10e6
    assert of(table, SUSPICIOUS).num_rows == 200
    assert all(of(table, PATTERN, SUSPICIOUS)["difference"].to_pylist())
    assert 0 < of(table, NEIGHBOUR).num_rows < 600
    assert of(table, POINT)["thumbnail"].to_pylist() == [b""] * 500


def test_the_least_suspicious_are_left_out_when_the_bytes_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger limit cannot make the gallery larger than its budget; a point stays where it is without its picture."""
    verdict = make_verdict([flagged(f"{n}", score=9.0 - n, nearest=["n"]) for n in range(9)] + [row("n")])
    census, places = make_census(verdict), {"cat": {"8": (1.0, 2.0)}}
    whole = build_gallery(verdict=verdict, census=census, losses=None, positions=places)
    sizes = [len(entry["thumbnail"]) + len(entry["difference"]) for entry in whole.to_pylist()]
    monkeypatch.setattr(module, "MAX_BYTES", sum(sizes[:4]))
    table = build_gallery(verdict=verdict, census=census, losses=None, positions=places)
    assert table.slice(0, 4).equals(whole.slice(0, 4))
    assert table["id"].to_pylist() == ["cat", "0", "1", "2", "8"]
    assert table.to_pylist()[-1] == whole.to_pylist()[-1] | {"thumbnail": b""}


def test_vectors_have_no_pictures_and_are_listed_all_the_same() -> None:
    """Their losses, names and places are kept; a picture of a vector would be made up, and a pattern is one."""
    verdict = make_verdict([flagged("a", nearest=["b"]), row("b")])
    census, places = make_census(verdict, holds="vectors"), {"cat": {"a": (3.0, 0.0), "b": (0.0, 1.0)}}
    table = build_gallery(verdict=verdict, census=census, losses=np.ones((2, 3)), positions=places)
    assert table["role"].to_pylist() == [SUSPICIOUS, NEIGHBOUR, POINT, POINT]
    assert table["id"].to_pylist() == ["a", "b", "a", "b"]
    assert table["x"].to_pylist() == [3.0, 0.0, 3.0, 0.0]
    assert table["losses"].to_pylist() == [[1.0, 1.0, 1.0]] * 4
    assert set(table["thumbnail"].to_pylist()) == set(table["difference"].to_pylist()) == {b""}


def test_what_looks_planted_goes_before_labels_in_doubt() -> None:
    """However high these score: a gallery that is full has room for what matters more."""
    doubted = [flagged(f"doubted{n}", kind="label", score=50.0 + n) for n in range(5)]
    verdict = make_verdict([*doubted, flagged("planted", score=2.0)])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, limit=3)
    assert of(table, SUSPICIOUS)["id"].to_pylist() == ["planted", "doubted4", "doubted3"]
    assert of(table, SUSPICIOUS)["planted"].to_pylist() == [True, False, False]


def test_trusted_neighbours_have_pictures_too() -> None:
    """They are in the census beside the suspects, under marked names."""
    verdict = make_verdict([flagged("a", nearest=["trusted:b"])])
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None)
    shown = of(table, SUSPICIOUS, NEIGHBOUR)
    assert shown["id"].to_pylist() == ["a", "trusted:b"]
    assert all(shown["thumbnail"].to_pylist())
    assert all(of(shown, SUSPICIOUS)["difference"].to_pylist())


def triggered(count: int, others: int) -> tuple[pa.Table, FakeCensus, np.ndarray]:
    """The gallery of a class in which some grey pictures have a bright corner; its census; where the corner is."""
    verdict = make_verdict([*(flagged(f"bad{n}") for n in range(count)), *(row(f"good{n}") for n in range(others))])
    made = make_census(verdict)
    noise = np.random.default_rng(0).integers(90, 111, (count + others, 32, 32, 3))
    corner = np.zeros((32, 32, 3), bool)
    corner[:6, :6] = True
    noise[:count] += 40 * corner
    census = FakeCensus(made.samples, tuple(noise.astype(np.uint8)))
    return build_gallery(verdict=verdict, census=census, losses=None), census, corner


def test_the_pattern_is_what_the_planted_have_and_the_class_has_not() -> None:
    """The mean shows the corner; the difference shows it bright, and everything else as the middle grey."""
    table, census, corner = triggered(10, 30)
    (pattern,) = of(table, PATTERN).to_pylist()
    assert (pattern["id"], pattern["class_name"], pattern["planted"]) == ("cat", "cat", True)
    assert np.abs(pixels_of(pattern["thumbnail"]) - np.mean(census.pixels[:10], axis=0)).max() <= 0.5
    difference = pixels_of(pattern["difference"]).astype(int)
    assert difference[corner].min() > 230
    assert abs(difference[~corner].mean() - 128) < 4


@pytest.mark.parametrize("others", [0, 5, 60])
def test_without_neighbours_a_sample_is_compared_with_its_class(others: int) -> None:
    """Where there are others: the corner that they lack stands out; a class of nothing else has no difference."""
    table, _, corner = triggered(3, others)
    for entry in of(table, SUSPICIOUS).to_pylist():
        assert bool(entry["difference"]) == (others > 0)
        if others:
            difference = pixels_of(entry["difference"]).astype(int)
            assert difference[corner].mean() > 220 > 150 > difference[~corner].mean() > 106


def test_a_sample_is_compared_with_its_nearest() -> None:
    """A twin leaves nothing; with one that is darker everywhere, the difference is light everywhere."""
    rows = [flagged("a", nearest=["twin"]), flagged("b", nearest=["dark"]), row("twin"), row("dark")]
    verdict = make_verdict(rows)
    made = make_census(verdict)
    face = np.random.default_rng(1).integers(60, 200, (32, 32, 3), np.uint8)
    census = FakeCensus(made.samples, (face, face, face, face - 16))
    table = of(build_gallery(verdict=verdict, census=census, losses=None), SUSPICIOUS)
    twin, dark = (pixels_of(entry) for entry in table["difference"].to_pylist())
    assert (twin == 128).all()
    assert (dark == 255).all()


def test_places_are_told_wherever_a_sample_is_shown() -> None:
    """As a point and as a suspect; samples of classes without a map have none."""
    verdict = make_verdict([flagged("a"), row("b"), flagged("c", "dog"), row("cat", "dog")])
    places = {"cat": {"a": (2.5, -1.0), "b": (0.0, 0.5)}}
    table = build_gallery(verdict=verdict, census=make_census(verdict), losses=None, positions=places)
    found = {(entry["role"], entry["id"]): (entry["x"], entry["y"]) for entry in table.to_pylist()}
    assert found == {
        (PATTERN, "cat"): (None, None),
        (PATTERN, "dog"): (None, None),
        (SUSPICIOUS, "a"): (2.5, -1.0),
        (SUSPICIOUS, "c"): (None, None),
        (POINT, "a"): (2.5, -1.0),
        (POINT, "b"): (0.0, 0.5),
    }


def test_equal_scans_give_equal_galleries() -> None:
    """Byte by byte, whatever order the items were found in."""
    rows = [flagged(f"a{n}", nearest=["b1", "b2"]) for n in range(4)] + [row(f"b{n}") for n in range(50)]
    places = {"cat": {entry["id"]: (float(n), 0.0) for n, entry in enumerate(rows)}}
    verdict, turned = make_verdict(rows), make_verdict(rows[::-1])
    census = make_census(verdict)
    shuffled = FakeCensus(census.samples[::-1], census.pixels[::-1])
    one = build_gallery(verdict=verdict, census=census, losses=None, positions=places)
    assert one.equals(build_gallery(verdict=turned, census=shuffled, losses=None, positions=places))
