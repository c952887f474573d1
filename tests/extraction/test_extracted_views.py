"""What a trained probe is asked besides its features, and what pixels say without it: once, and only on request."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_extraction import ASKED, DROPOUT, LAYERS, assert_same, extracted
from toys import toy_images

from sanitizer import extraction as room
from sanitizer.embed import spaces, views
from sanitizer.extraction import Extracted
from sanitizer.sources.base import open_source
from sanitizer.sources.census import Census, take_census
from sanitizer.store import Store


@pytest.fixture(scope="module")
def asked(census: Census) -> Extracted:
    """What a probe says without a store where it is asked for more."""
    return extracted(census, wanted=ASKED)[0]


def test_nobody_looks_where_nothing_is_wanted(census: Census, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spaces that every scan has cost no look; another scan may want them all the same."""
    monkeypatch.setattr(views, "Looking", lambda **settings: pytest.fail("somebody looked"))
    for wanted in (frozenset(), frozenset({"feature", "residual", "loss", "reference", "tea leaves"})):
        found, steps = extracted(census, store, wanted=wanted)
        assert list(found.spaces) == ["feature", "residual", "loss"]
        assert not [stage for stage in steps if stage.startswith("view")]


def test_a_probe_that_is_asked_for_more_stays_what_it_is(census: Census, plain: Extracted, asked: Extracted) -> None:
    """What was wanted comes beside the rest, a row a sample, and nothing else."""
    assert asked.spaces.keys() == plain.spaces.keys() | ASKED
    assert_same(replace(asked, spaces={name: asked.spaces[name] for name in plain.spaces}), plain)
    assert {len(space) for space in asked.spaces.values()} == {len(census.samples)}


def test_a_probe_says_everything_once(census: Census, store: Store, asked: Extracted) -> None:
    """The second time it comes from the store, as it was; nothing is trained, looked at or decoded."""
    first, steps = extracted(census, store, wanted=ASKED)
    assert (steps[LAYERS], steps[DROPOUT]) == (len(census.samples), 4 * len(census.samples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Census, "views", lambda *anything: pytest.fail("it was decoded"))
        second, steps = extracted(census, store, wanted=ASKED)
    assert not steps
    assert_same(first, asked)
    assert_same(second, asked)


def test_a_kept_probe_is_asked_without_training(census: Census, store: Store, asked: Extracted) -> None:
    """Its weights are enough, and only what is missing is looked at."""
    extracted(census, store)
    found, steps = extracted(census, store, wanted=frozenset({"batchnorm"}))
    assert steps.keys() == {LAYERS}
    np.testing.assert_array_equal(found.spaces["batchnorm"], asked.spaces["batchnorm"])
    found, steps = extracted(census, store, wanted=ASKED)
    assert steps.keys() == {LAYERS, DROPOUT}
    assert_same(found, asked)


def test_other_code_looks_again(census: Census, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not see is not taken for what it would."""
    known = room.implementation
    extracted(census, store, wanted=ASKED)
    monkeypatch.setattr(room, "implementation", lambda *code: known(*code) + str("sanitizer.embed.views" in code))
    assert extracted(census, store, wanted=ASKED)[1][LAYERS] == len(census.samples)


def test_many_passes_need_a_budget(census: Census, checkpoint: Path) -> None:
    """Without it, it is said who would have computed the space; a frozen network cannot, whatever the budget."""
    wanted = frozenset({"superposition"})
    found, _ = extracted(census, wanted=wanted)
    assert "superposition" not in found.spaces
    assert found.left_out == {"superposition": "--budget thorough"}
    found, _ = extracted(census, wanted=wanted, budget="thorough")
    assert found.spaces["superposition"].shape == (len(census.samples), 1)
    assert found.left_out == {}
    frozen, _ = extracted(census, wanted=wanted | ASKED, model=str(checkpoint))
    assert frozen.spaces.keys() == {"feature", "reference", "residual"}
    assert frozen.left_out == {}


# What pixels say without a model


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A space of mean colours, and how often it was computed."""
    calls: Counter[str] = Counter()

    def mean_colour(pixels: np.ndarray, labels: np.ndarray, keys: np.ndarray, device: Any) -> np.ndarray:
        calls["mean_colour"] += 1
        assert len(pixels) == len(labels) == len(keys)
        assert (pixels.dtype, labels.dtype, keys.dtype) == (np.uint8, np.int64, np.uint64)
        return np.asarray(pixels.mean(axis=(1, 2)), np.float32)

    monkeypatch.setattr(spaces, "VIEWS", {"mean_colour": mean_colour})
    return calls


COLOURS = frozenset({"mean_colour"})


def test_pixels_need_no_model(
    census: Census, store: Store, checkpoint: Path, colours: Counter[str], plain: Extracted
) -> None:
    """The same beside a probe, a frozen network and a reference; computed once for a set, and only where wanted."""
    assert_same(extracted(census, store)[0], plain)
    assert not colours
    expected = census.views(census.native_side()).mean(axis=(1, 2)).astype(np.float32)
    networks: list[dict[str, Any]] = [{}, {"model": str(checkpoint)}, {"reference": str(checkpoint)}]
    for settings in networks:
        found, steps = extracted(census, store, wanted=COLOURS, **settings)
        np.testing.assert_array_equal(found.spaces["mean_colour"], expected)
        assert colours["mean_colour"] == 1
    assert "view mean_colour" not in steps
    assert extracted(census, wanted=COLOURS)[1]["view mean_colour"] == len(census.samples)
    fewer = replace(census, samples=census.samples[3:])
    assert extracted(fewer, store, wanted=COLOURS)[1]["view mean_colour"] == len(fewer.samples)


def test_large_images_are_looked_at_small(
    census: Census, colours: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no more than the side that all of these spaces are made for."""
    monkeypatch.setattr(room, "PIXEL_SIDE", 4)
    found, _ = extracted(census, wanted=COLOURS)
    np.testing.assert_allclose(found.spaces["mean_colour"], census.views(4).mean(axis=(1, 2)), rtol=1e-5)


def test_without_labels_pixels_are_not_asked(checkpoint: Path, tmp_path: Path, colours: Counter[str]) -> None:
    """The spaces compare classes."""
    for number, (_, content, _) in enumerate(toy_images(each=4, planted=0)):
        (tmp_path / f"{number}.png").write_bytes(content)
    census = take_census(open_source(str(tmp_path)))
    found, _ = extracted(census, model=str(checkpoint), wanted=COLOURS)
    assert list(found.spaces) == ["feature", "reference"]
    assert not colours


# Frozen networks
