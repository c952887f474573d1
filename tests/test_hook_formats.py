"""A row is the same row in every format, order, encoding and container that the library hands it over in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy_hooks import cells, expected, fitted, made, poisoned, readable, said, same, toys

from sanitizer.errors import UsageError
from sanitizer.hooked.cells import view_digest_of_cell
from sanitizer.hooked.columns import Columns
from sanitizer.hooked.lookup import NO_LABEL
from sanitizer.sources.base import open_source, view_digest_of
from sanitizer.sources.decode import LIMITS, decode

ENCODED = datasets.Image(decode=False)
SOME = list(range(0, 190, 19)) + list(range(180, 193))  # clean ones, planted ones, and the copies


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("decode_", [True, False])
@pytest.mark.parametrize("kind", [None, "numpy", "torch"])
def test_formats_change_nothing(kind: str | None, decode_: bool, batched: bool) -> None:
    """In batches and row by row, with the same types of the new columns."""
    rows = readable().select(SOME).cast_column("image", datasets.Image(decode=decode_)).with_format(kind)
    found = rows.map(fitted(), batched=batched, batch_size=5, with_indices=True).with_format(None)
    assert same(said(found), [expected()[place] for place in SOME])
    assert found.features == fitted().features(rows.features)


def test_streams_change_nothing() -> None:
    """Mapped and filtered, batched or not, encoded or not."""
    rows, wanted = readable().select(SOME), [expected()[place] for place in SOME]
    kept = sum(not suspicious for suspicious, _, _ in wanted)
    for data in (rows, rows.cast_column("image", ENCODED)):
        stream = data.to_iterable_dataset()
        for mapped in (
            stream.map(
                fitted(), batched=True, batch_size=7, with_indices=True, features=fitted().features(data.features)
            ),
            stream.map(fitted(), with_indices=True),
            stream.shuffle(seed=1, buffer_size=5).map(fitted(), batched=True).filter(lambda row: True),
        ):
            found = [(row["suspicious"], float(row["poison_score"]), row["kind"]) for row in mapped]
            assert sorted(found) == sorted(wanted)
            assert len(list(mapped.filter(fitted().keep))) == kept
        assert len(list(stream.filter(fitted().keep, batched=True))) == kept


@given(st.permutations(range(len(poisoned()))), st.integers(1, len(poisoned())))
@settings(max_examples=8)
def test_order_and_batches_change_nothing(order: list[int], size: int) -> None:
    """Each row is told its own, whatever stands beside it."""
    rows = poisoned().cast_column("image", ENCODED).select(order)
    found = [one for start in range(0, len(rows), size) for one in said(fitted()(rows[start : start + size]))]
    assert same(found, [expected()[place] for place in order])


def test_shuffled_selected_and_concatenated_rows_keep_what_is_said_of_them() -> None:
    """Wherever they lie, twice or once."""
    data = readable().add_column("place", list(range(len(readable()))))
    mixed = datasets.concatenate_datasets([data.shuffle(seed=3).select(range(40)), data.select([5, 5, 185])])
    found = mixed.map(fitted(), batched=True, batch_size=9)
    assert same(said(found), [expected()[place] for place in found["place"]])


def test_images_behind_paths_are_read(tmp_path: Path) -> None:
    """Decoded or not; a path that leads nowhere is unreadable, and nothing is fetched."""
    contents, labels = toys()
    for place in SOME[:10]:
        (tmp_path / f"{place}.png").write_bytes(contents[place])
    paths = [str(tmp_path / f"{place}.png") for place in SOME[:10]]
    rows = datasets.Dataset.from_dict(
        {"image": paths, "label": [labels[place] for place in SOME[:10]]}, features=readable().features
    )
    for data in (rows, rows.cast_column("image", ENCODED)):
        assert same(said(data.map(fitted(), batched=True)), [expected()[place] for place in SOME[:10]])
    lost = [{"bytes": None, "path": path} for path in ("/nowhere.png", "https://example.com/a.png", "a\0b", None)]
    assert fitted()({"image": lost, "label": [0] * 4})["kind"] == ["unreadable"] * 4


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """Images in every colour mode, and turned in every way."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (6, 9, 3)).astype(np.uint8))
    deep = Image.fromarray(rng.integers(0, 2**16, (6, 9)).astype(np.uint16))
    see_through = picture.convert("RGBA")
    see_through.putalpha(Image.fromarray(rng.integers(0, 256, (6, 9)).astype(np.uint8)))
    found = {mode: saved(picture.convert(mode), "PNG") for mode in ("RGB", "L", "1", "P")}
    found |= {"RGBA": saved(see_through, "PNG"), "LA": saved(see_through.convert("LA"), "PNG")}
    found |= {"CMYK": saved(picture.convert("CMYK"), "JPEG"), "I;16": saved(deep, "PNG")}
    found["P, one colour transparent"] = saved(picture.convert("P"), "PNG", transparency=3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
            found[f"{kind} turned {orientation}"] = saved(picture, kind, exif=exif)
    return found


PICTURES = pictures()


@pytest.mark.parametrize("name", PICTURES)
def test_a_decoded_image_is_the_one_that_was_scanned(name: str) -> None:
    """What the library decodes has the digest of what we decode: upright, and in the same colours."""
    wanted = view_digest_of(decode(PICTURES[name], LIMITS))
    stored = cells([PICTURES[name]])[0]
    assert view_digest_of_cell(datasets.Image().decode_example(stored), lambda digest: None) == wanted
    assert view_digest_of_cell(stored, lambda digest: None) == wanted
    assert view_digest_of_cell(PICTURES[name], lambda digest: None) == wanted
    assert view_digest_of_cell(stored, lambda digest: "known") == "known"


@pytest.mark.parametrize("name", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_an_image_as_an_array_is_the_one_that_was_scanned(name: str, kind: str) -> None:
    """Where its colours can be told: in grey, in colour, and with how much one sees through."""
    (array,) = made([PICTURES[name]], ["bar"]).with_format(kind)[:]["image"]
    assert view_digest_of_cell(array, lambda digest: None) == view_digest_of(decode(PICTURES[name], LIMITS))


def test_what_a_transform_made_is_refused() -> None:
    """Nobody could find it again."""
    with pytest.raises(UsageError, match="ndarray of float32, 3 dimensions: map before transforms"):
        fitted()({"image": np.zeros((2, 3, 4, 5), np.float32), "label": np.zeros(2, np.int64)})


@pytest.mark.parametrize(
    ("kind", "stored", "asked", "wanted"),
    [
        (datasets.ClassLabel(names=["b", "a"]), [0, 1], [1, 0, 2, -1, None, 1.0], [1, 0, None, None, None, 1]),
        (datasets.ClassLabel(names=["b", "a"]), [0, 1], ["a", "b", "c"], [1, 0, None]),
        (datasets.ClassLabel(names=["1", "0"]), [0, 1], [1, 0, "1"], [1, 0, 0]),
        (datasets.Value("int64"), [10, 9], [9, 10, "9", 0, None, 9.0, float("nan")], [0, 1, 0, None, None, 0, None]),
        (datasets.Value("string"), ["b", "a"], ["a", "b", " b ", "", None, "c"], [0, 1, 1, None, None, None]),
    ],
)
def test_labels_mean_the_class_they_meant_at_fit(
    kind: Any, stored: list[Any], asked: list[Any], wanted: list[int | None]
) -> None:
    """As places among declared names, as numbers, as text; what stands for no class is no label."""
    data = made(toys()[0][:2], stored, kind)
    columns = Columns.of(data, open_source(data), None, None)
    rows = columns.read({"image": [None] * len(asked), "label": asked})
    assert (rows.labels, rows.batched) == (wanted, True)
    assert columns.read({"image": None, "label": asked[0]}).labels == wanted[:1]


def test_a_set_without_labels_asks_for_none() -> None:
    """Images alone."""
    data = made(toys()[0][:2], [0, 1]).remove_columns("label")
    columns = Columns.of(data, open_source(data), None, None)
    for images, count, batched in (
        ([None, None], 2, True),
        (np.zeros((3, 4, 4, 3)), 3, True),
        (np.zeros((4, 4)), 1, False),
    ):
        rows = columns.read({"image": images})
        assert (rows.labels, rows.batched) == ([NO_LABEL] * count, batched)


@pytest.mark.parametrize(
    ("names", "asked", "wanted"), [(("ant", "bee"), 1, 1), (("1", "2"), 1, 0), (("1", "2"), 0, None)]
)
def test_rows_of_a_path_are_expected_to_be_loaded_as_usual(
    tmp_path: Path, names: tuple[str, ...], asked: int, wanted: int | None
) -> None:
    """Classes with names are counted, as the library counts them; where names are numbers, numbers are names."""
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(toys()[0][0])
    columns = Columns.of(tmp_path, open_source(tmp_path), None, None)
    assert columns.read({"image": [None], "labels": [asked]}).labels == [wanted]
    with pytest.raises(UsageError, match=r"a column label, labels, .* or category with the labels"):
        columns.read({"image": [None], "y": [0]})
