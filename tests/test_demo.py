"""The demo: real digits, a real attack, a real scan, and the truth beside the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sanitizer.demo import PARTS, run_demo, write_digits
from sanitizer.errors import UsageError
from sanitizer.sources.base import open_source
from sanitizer.sources.census import take_census
from sanitizer.sources.decode import LIMITS, decode


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits on disk."""
    root = tmp_path_factory.mktemp("demo") / "digits"
    write_digits(root)
    return root


def test_the_digits_are_a_source_like_any_other(digits: Path) -> None:
    """All 1,797, in ten classes, 8x8, nothing left out."""
    census = take_census(open_source(str(digits)))
    assert census.class_names == tuple("0123456789")
    assert len(census.samples) == sum(census.counts.values()) == 1797
    assert census.native_side() == 8
    np.testing.assert_array_equal(np.bincount(census.labels()), np.bincount(load_digits().target))


def test_a_digit_is_the_one_that_was_drawn(digits: Path) -> None:
    """Sixteen shades of grey, stretched to eight bits, under the right label."""
    known = load_digits()
    for number in (0, 7, 1796):
        pixels = decode((digits / str(known.target[number]) / f"{number:04d}.png").read_bytes(), LIMITS)
        assert (pixels == pixels[..., :1]).all()
        np.testing.assert_array_equal(np.round(pixels[..., 0] / 255 * 16), known.images[number])


def test_the_digits_are_the_same_every_time(digits: Path, tmp_path: Path) -> None:
    """Byte for byte."""
    write_digits(tmp_path / "again")
    for file in sorted(digits.rglob("*.png"))[::100]:
        assert (tmp_path / "again" / file.relative_to(digits)).read_bytes() == file.read_bytes()


def test_the_demo_takes_nobodys_folder(tmp_path: Path) -> None:
    """Whatever lies there stays, and no work is done."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(UsageError, match="has content"):
        run_demo(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "thesis.tex"]


@pytest.mark.slow
def test_the_demo_finds_what_it_planted(tmp_path: Path) -> None:
    """Most of the poison, few others, in a folder that holds nothing but its parts; a second run replaces it."""
    for seed in (0, 1):
        outcome = run_demo(tmp_path / "demo", seed=seed)
        assert (outcome.samples, outcome.poisoned) == (1797, 54)
        assert outcome.found >= 0.9 * outcome.poisoned
        assert outcome.false_alarms <= 5
        assert outcome.verdict.exit_code == 1
        assert {path.name for path in (tmp_path / "demo").iterdir()} == PARTS
