"""Poisoning keeps its books: what is planted, what is recorded, and what lies on disk are one and the same."""

from __future__ import annotations

import errno
import io
import json
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.base import Attack
from sanitizer.attacks.blended import Blended
from sanitizer.attacks.poisoned import PoisonedSet
from sanitizer.attacks.preview import preview
from sanitizer.attacks.workshop import Workshop
from sanitizer.errors import SanitizerError, SourceError, UsageError
from sanitizer.sources.base import Found, Source, open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.sources.decode import Limits, decode

CLASSES = ("bird", "cat", "dog")
COUNT = 40


def encoded(pixels: np.ndarray, fmt: str, **options: object) -> bytes:
    """As PIL writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt, **options)
    return buffer.getvalue()


def images(count: int = COUNT, side: int = 16, seed: int = 7) -> list[np.ndarray]:
    """Noise, the same every time."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8))


def png_folder(root: Path, count: int = COUNT) -> Source:
    """A folder per class."""
    for i, pixels in enumerate(images(count)):
        folder = root / CLASSES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i // 3:03}.png").write_bytes(encoded(pixels, "PNG"))
    return open_source(str(root))


def jpeg_parquet(path: Path, order: list[int] | None = None, labels: bool = True) -> Source:
    """JPEGs of many qualities and subsamplings, so that an untouched one would stand out."""
    contents = [encoded(pixels, "JPEG", quality=50 + i, subsampling=i % 3) for i, pixels in enumerate(images())]
    order = order if order is not None else list(range(COUNT))
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(CLASSES)}}
    columns = {"image": [{"bytes": contents[i], "path": None} for i in order], "label": [i % 3 for i in order]}
    kept = {name: columns[name] for name in (columns if labels else ["image"])}
    info = json.dumps({"info": {"features": {name: features[name] for name in kept}}})
    table = pa.table(kept).replace_schema_metadata({"huggingface": info})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return open_source(str(path))


def items(source: Source) -> list[Found]:
    """All of them."""
    return list(source.stream())


def pixels_of(found: Found) -> np.ndarray:
    """What a reader sees."""
    assert found.content is not None
    return decode(found.content, Limits())


def files_below(root: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def assert_refused(attack: Attack, source: Source, destination: Path, root: Path, match: str) -> None:
    """Refused with one line, and the whole tree is what it was."""
    before = sorted(root.rglob("*"))
    with pytest.raises(SanitizerError, match=match) as caught:
        attack.poison(source, destination)
    assert "\n" not in str(caught.value)
    assert sorted(root.rglob("*")) == before


@pytest.fixture(params=["png_folder", "jpeg_parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """The same samples in both layouts, lossless and lossy."""
    if request.param == "png_folder":
        return png_folder(tmp_path / "source")
    return jpeg_parquet(tmp_path / "source" / "train.parquet")


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3])
def test_as_many_poisons_as_asked_and_none_from_the_target(source: Source, tmp_path: Path, rate: float) -> None:
    """A rate is a share of the whole set, at least one sample, and the target class is left alone."""
    poisoned = BadNets(rate=rate, target="cat").poison(source, tmp_path / "out")
    rows = poisoned.truth().to_pylist()
    poisons = [row for row in rows if row["is_poison"]]
    assert len(poisons) == max(1, round(rate * COUNT)) == poisoned.recipe["counts"]["poison"]
    assert all(row["original_label"] != "cat" and row["label"] == "cat" for row in poisons)
    assert all(row["kind"] == ("poison" if row["is_poison"] else "clean") for row in rows)
    assert all(row["original_label"] == row["label"] for row in rows if not row["is_poison"])


def test_the_truth_is_about_exactly_what_lies_on_disk(source: Source, tmp_path: Path) -> None:
    """Every sample of the copy has one row, under its new id and with the label it now has."""
    poisoned = Blended(rate=0.2).poison(source, tmp_path / "out")
    copy = open_source(str(poisoned.data))
    on_disk = {item.id: copy.class_names[item.label] for item in items(copy) if item.label is not None}
    truth = poisoned.truth().to_pylist()
    assert len(truth) == COUNT
    assert {row["id"]: row["label"] for row in truth} == on_disk
    assert {row["source_id"] for row in truth} == {item.id for item in items(source)}


def test_clean_images_of_a_png_source_keep_every_pixel(tmp_path: Path) -> None:
    """And poisoned ones do not."""
    source = png_folder(tmp_path / "source")
    poisoned = BadNets(rate=0.2).poison(source, tmp_path / "out")
    before = {item.id: pixels_of(item) for item in items(source)}
    after = {item.id: pixels_of(item) for item in items(open_source(str(poisoned.data)))}
    for row in poisoned.truth().to_pylist():
        same = np.array_equal(before[row["source_id"]], after[row["id"]])
        assert same != row["is_poison"]


def test_the_encoding_of_a_jpeg_source_gives_nothing_away(tmp_path: Path) -> None:
    """Touched or not: the same format, quantisation tables and chroma resolution."""
    source = jpeg_parquet(tmp_path / "source" / "train.parquet")
    poisoned = BadNets(rate=0.2, quality=90).poison(source, tmp_path / "out")
    looks = set()
    for item in items(open_source(str(poisoned.data))):
        image = Image.open(io.BytesIO(item.content or b""))
        looks.add((image.format, json.dumps(image.quantization), str(image.layer), json.dumps(sorted(image.info))))
    assert len(looks) == 1


def test_one_jpeg_among_pngs_makes_every_image_a_jpeg(tmp_path: Path) -> None:
    """A mixed source would otherwise keep two kinds of files."""
    png_folder(tmp_path / "source")
    (tmp_path / "source" / "cat" / "odd.jpg").write_bytes(encoded(images()[0], "JPEG"))
    poisoned = BadNets(rate=0.2).poison(open_source(str(tmp_path / "source")), tmp_path / "out")
    contents = files_below(poisoned.data)
    assert len(contents) == COUNT + 1
    assert all(name.endswith(".jpg") and content[:3] == b"\xff\xd8\xff" for name, content in contents.items())


@pytest.mark.parametrize("attack", [BadNets, Blended])
def test_the_same_seed_gives_the_same_bytes(source: Source, tmp_path: Path, attack: type[Attack]) -> None:
    """Recipe and truth included."""
    first = attack(rate=0.1, seed=3).poison(source, tmp_path / "first")
    second = attack(rate=0.1, seed=3).poison(source, tmp_path / "second")
    assert files_below(first.root) == files_below(second.root)


def test_another_seed_chooses_others(source: Source, tmp_path: Path) -> None:
    """The seed decides whom."""
    chosen = []
    for seed in (0, 1):
        truth = BadNets(rate=0.2, seed=seed).poison(source, tmp_path / str(seed)).truth()
        chosen.append(set(truth.filter(truth["is_poison"])["source_id"].to_pylist()))
    assert chosen[0] != chosen[1]


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    """A shuffled table yields the same poisons, found by their content."""
    contents = []
    for name, order in (("a", list(range(COUNT))), ("b", list(np.random.default_rng(0).permutation(COUNT)))):
        source = jpeg_parquet(tmp_path / name / "train.parquet", order)
        poisoned = BadNets(rate=0.2).poison(source, tmp_path / f"out_{name}")
        truth = poisoned.truth()
        chosen = frozenset(truth.filter(truth["is_poison"])["id"].to_pylist())
        contents.append(Counter(item.content for item in open_source(str(poisoned.data)).stream(chosen)))
    assert contents[0] == contents[1]


def test_a_broken_image_is_left_out_and_named(tmp_path: Path) -> None:
    """The copy holds readable images only, and the recipe says which were dropped and why."""
    png_folder(tmp_path / "source")
    broken = tmp_path / "source" / "cat" / "broken.png"
    broken.write_bytes(encoded(images()[0], "PNG")[:200])
    poisoned = BadNets(rate=0.2).poison(open_source(str(tmp_path / "source")), tmp_path / "out")
    (left_out,) = poisoned.recipe["left_out"]
    assert left_out["id"] == "cat/broken.png"
    assert left_out["status"] == "unreadable"
    assert left_out["reason"]
    assert poisoned.recipe["counts"] == {"samples": COUNT, "clean": 32, "poison": 8, "cover": 0, "left_out": 1}
    assert len(poisoned.truth()) == COUNT == len(files_below(poisoned.data))


def test_the_recipe_holds_every_setting(tmp_path: Path) -> None:
    """Enough to make the set again."""
    poisoned = BadNets(rate=0.1, target=2, seed=5, alpha=0.5).poison(png_folder(tmp_path / "source"), tmp_path / "out")
    recipe = PoisonedSet.open(tmp_path / "out").recipe
    assert recipe == poisoned.recipe
    assert recipe["attack"] == "badnets"
    assert recipe["target"] == "dog"
    assert recipe["class_names"] == list(CLASSES)
    assert recipe["encoding"] == {"format": "PNG"}
    assert BadNets(**recipe["settings"]) == BadNets(rate=0.1, target=2, seed=5, alpha=0.5)
    assert {"python", "numpy", "pillow", "pyarrow", "dataset-sanitizer"} == set(recipe["versions"])


def test_the_files_as_written_carry_the_trigger_that_tests_use(tmp_path: Path) -> None:
    """What a model learns from is what ``trigger`` shows it later."""
    source, attack = png_folder(tmp_path / "source"), Blended(rate=0.2)
    poisoned = attack.poison(source, tmp_path / "out")
    before = {item.id: pixels_of(item) for item in items(source)}
    after = {item.id: pixels_of(item) for item in items(open_source(str(poisoned.data)))}
    for row in poisoned.truth().to_pylist():
        if row["is_poison"]:
            assert np.array_equal(attack.trigger(before[row["source_id"]][None])[0], after[row["id"]])


def test_a_clean_label_attack_stays_within_the_target(source: Source, tmp_path: Path) -> None:
    """No label changes, and the rate is still a share of the whole set."""

    class Clean(BadNets):
        label_kind: ClassVar[Literal["dirty", "clean"]] = "clean"

    truth = Clean(rate=0.2, target="dog").poison(source, tmp_path / "out").truth().to_pylist()
    assert all(row["original_label"] == row["label"] for row in truth)
    assert [row["label"] for row in truth if row["is_poison"]] == ["dog"] * 8
    assert_refused(Clean(rate=0.5, target="dog"), source, tmp_path / "more", tmp_path, "20, expected at most 13")


def test_a_target_is_a_name_or_an_index() -> None:
    """A name wins over an index that is spelled alike."""
    names = ("0", "7", "1")
    assert BadNets(rate=0.1).aim(names) == 0
    assert BadNets(rate=0.1, target="1").aim(names) == 2
    assert BadNets(rate=0.1, target=1).aim(names) == 1
    assert BadNets(rate=0.1, target="2").aim(names) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0},
        {"rate": 1},
        {"rate": -0.1},
        {"rate": float("nan")},
        {"rate": "0.1"},
        {"rate": True},
        {"rate": 0.1, "seed": -1},
        {"rate": 0.1, "seed": 0.5},
        {"rate": 0.1, "quality": 0},
        {"rate": 0.1, "samples": 0},
        {"rate": 0.1, "quality": 101},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """At once, with one line that names setting, expectation and value."""
    with pytest.raises(UsageError, match=r"(rate|seed|quality|samples): expected .*, got ") as caught:
        BadNets(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["cow", 3, -1, "3", "-1", True, ""])
def test_an_unknown_target_names_the_classes(source: Source, tmp_path: Path, target: object) -> None:
    """And nothing is written."""
    with pytest.raises(UsageError, match="'bird', 'cat', 'dog'"):
        BadNets(rate=0.1, target=target).poison(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_many_classes_the_message_names_twenty() -> None:
    """A thousand class names help nobody."""
    with pytest.raises(UsageError) as caught:
        BadNets(rate=0.1, target="x").aim([f"class{i:03}" for i in range(1000)])
    assert str(caught.value).count("'class") == 20
    assert "1000 classes" in str(caught.value)


def test_more_poison_than_candidates_is_refused(source: Source, tmp_path: Path) -> None:
    """The target class cannot be poisoned with a dirty label."""
    assert_refused(BadNets(rate=0.9), source, tmp_path / "out", tmp_path, r"36, expected at most 26.*lower rate")


def test_a_source_without_labels_is_refused(tmp_path: Path) -> None:
    """There is no label to make wrong."""
    source = jpeg_parquet(tmp_path / "source" / "train.parquet", labels=False)
    assert_refused(BadNets(rate=0.1), source, tmp_path / "out", tmp_path, "needs labels")


def test_a_source_of_one_class_is_refused(tmp_path: Path) -> None:
    """Every sample says the target already."""
    (tmp_path / "source" / "cat").mkdir(parents=True)
    (tmp_path / "source" / "cat" / "a.png").write_bytes(encoded(images()[0], "PNG"))
    source = open_source(str(tmp_path / "source"))
    assert_refused(BadNets(rate=0.1), source, tmp_path / "out", tmp_path, "only 'cat'")


def test_a_destination_inside_the_source_is_refused(source: Source, tmp_path: Path) -> None:
    """Poison must not end up in the data it came from."""
    assert_refused(BadNets(rate=0.1), source, tmp_path / "source" / "out", tmp_path, "inside the source")


def test_a_destination_with_content_is_refused(source: Source, tmp_path: Path) -> None:
    """Nothing of the user's is overwritten."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert_refused(BadNets(rate=0.1), source, tmp_path / "out", tmp_path, "has content")


def test_a_destination_that_cannot_be_made_is_refused(source: Source, tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("mine")
    assert_refused(BadNets(rate=0.1), source, tmp_path / "file" / "out", tmp_path, "cannot make the folder")


def test_a_failure_half_way_leaves_nothing_behind(source: Source, tmp_path: Path) -> None:
    """Here: a patch that turns out too large once the first image is stamped."""
    assert_refused(BadNets(rate=0.1, size=17), source, tmp_path / "out", tmp_path, "smaller size")


def test_a_full_disk_is_one_line_too(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says becomes an error of ours."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sanitizer.attacks.poisoned.pq.write_table", full)
    assert_refused(BadNets(rate=0.1), source, tmp_path / "out", tmp_path, "No space left on device")


def test_a_source_that_changes_between_the_passes_is_refused(tmp_path: Path) -> None:
    """The choice was made from what was read first."""

    class Restless(BadNets):
        def notes(self) -> dict[str, object]:
            (tmp_path / "source" / "cat" / "000.png").write_bytes(encoded(images(1, seed=8)[0], "PNG"))
            return {}

    source = png_folder(tmp_path / "source")
    assert_refused(Restless(rate=0.1), source, tmp_path / "out", tmp_path, "changed while")


def test_a_folder_that_is_no_poisoned_set_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(SourceError, match="run `sanitizer poison` first"):
        PoisonedSet.open(tmp_path)


def test_a_preview_shows_pairs(source: Source, tmp_path: Path) -> None:
    """Two images a row, a few rows, and a trigger that is to be seen on the right only."""
    poisoned = BadNets(rate=0.2).poison(source, tmp_path / "out")
    preview(poisoned, tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as image:
        assert image.format == "PNG"
        assert image.width == 2 * 208
        assert image.height == 6 * 208


def test_a_preview_takes_images_of_any_size(tmp_path: Path) -> None:
    """From one pixel to more than a cell holds."""
    pairs = [(np.zeros(shape, np.uint8), np.ones(shape, np.uint8)) for shape in ((1, 1, 3), (500, 20, 3))]
    preview(pairs, tmp_path / "preview.png")
    assert (tmp_path / "preview.png").stat().st_size
    with pytest.raises(UsageError, match="at least one"):
        preview([], tmp_path / "none.png")


def test_a_preview_never_lies_inside_the_data(tmp_path: Path) -> None:
    """It would be a sample of the next scan."""
    source = png_folder(tmp_path / "source")
    poisoned = BadNets(rate=0.1).poison(source, tmp_path / "out")
    for folder in (poisoned.data, tmp_path / "source"):
        with pytest.raises(UsageError, match="inside the source"):
            preview(poisoned, folder / "preview.png")


def test_a_copy_may_hold_a_part_of_the_source(source: Source, tmp_path: Path) -> None:
    """As many samples as asked, drawn at random; the rate is a share of those, and the recipe counts the others."""
    poisoned = BadNets(rate=0.2, samples=20).poison(source, tmp_path / "out")
    assert poisoned.recipe["counts"] == {"samples": 20, "clean": 16, "poison": 4, "cover": 0, "left_out": 0}
    assert poisoned.recipe["not_drawn"] == COUNT - 20
    assert len(items(open_source(str(poisoned.data)))) == len(poisoned.truth()) == 20
    other = BadNets(rate=0.2, samples=20, seed=1).poison(source, tmp_path / "other")
    assert set(other.truth()["source_id"].to_pylist()) != set(poisoned.truth()["source_id"].to_pylist())


def test_more_samples_than_there_are_are_all_of_them(source: Source, tmp_path: Path) -> None:
    """Nothing is invented."""
    assert len(BadNets(rate=0.2, samples=COUNT + 1).poison(source, tmp_path / "out").truth()) == COUNT


class Keeper(BadNets):
    """Insists on one sample."""

    def keeps(self, census: Census) -> frozenset[str]:
        """The last."""
        return frozenset([census.samples[-1].id])


def test_what_an_attack_insists_on_is_drawn(source: Source, tmp_path: Path) -> None:
    """Whatever the seed."""
    last = take_census(source).samples[-1].id
    for seed in range(3):
        truth = Keeper(rate=0.1, samples=8, seed=seed).poison(source, tmp_path / str(seed)).truth()
        assert last in truth["source_id"].to_pylist()


class Learner(BadNets):
    """Learns the mean colour of the set."""

    def prepare(self, census: Census, target: int, workshop: Workshop) -> Self:
        """One number a channel."""
        return self.knowing({"mean": census.views(8).mean(axis=(0, 1, 2)).astype(np.float32)})


def test_what_an_attack_learned_lies_with_the_set(source: Source, tmp_path: Path) -> None:
    """It comes back as it was, it is no setting, and an attack that learns nothing leaves no file."""
    poisoned = Learner(rate=0.1).poison(source, tmp_path / "out")
    learned = PoisonedSet.open(poisoned.root).learned()
    assert learned["mean"].shape == (3,)
    assert np.array_equal(learned["mean"], take_census(source).views(8).mean(axis=(0, 1, 2)).astype(np.float32))
    assert "learned" not in poisoned.recipe["settings"]
    plain = BadNets(rate=0.1).poison(source, tmp_path / "plain")
    assert (plain.learned(), (plain.root / "learned.safetensors").exists()) == ({}, False)


def test_a_broken_file_of_what_was_learned_is_one_line(source: Source, tmp_path: Path) -> None:
    """No traceback out of a library."""
    poisoned = Learner(rate=0.1).poison(source, tmp_path / "out")
    (poisoned.root / "learned.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="expected a poisoned set"):
        poisoned.learned()
