"""The cells of a matrix: what a command line asks for becomes attacks, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanitizer.attacks.badnets import BadNets
from sanitizer.attacks.flip import Flip
from sanitizer.errors import UsageError
from sanitizer.evaluation.cells import CONTROL, Unpoisoned, plan_cells
from sanitizer.sources.base import Source, open_source
from tests.toys import write_toys


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A few images of three classes."""
    root = tmp_path_factory.mktemp("cells")
    write_toys(root, each=4, planted=0)
    return open_source(str(root))


def test_every_combination_has_a_cell(source: Source) -> None:
    """Rates and seeds multiply; the control needs no rate; names that are repeated count once."""
    cells = plan_cells(source, ["badnets", "flip", "badnets"], rates=[0.1, 0.2], seeds=3)
    assert len(cells) == 2 * 2 * 3 + 3
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells if cell.attack == CONTROL] == [0, 1, 2]
    assert not plan_cells(source, ["flip"], clean=False, seeds=1)[0].settings


def test_cells_become_the_attacks_that_were_meant(source: Source) -> None:
    """With their settings and seed; a target only where there is one to lead to, their own rate if none is named."""
    pairs = ["badnets.size=4", "samples=10"]
    cells = {cell.attack: cell for cell in plan_cells(source, ["badnets", "flip"], target="dot", pairs=pairs)}
    assert cells["badnets"].poisoner() == BadNets(size=4, samples=10, target="dot")
    assert cells["flip"].poisoner() == Flip(samples=10)
    assert cells[CONTROL].poisoner() == Unpoisoned(samples=10)


def test_the_control_plants_nothing_and_treats_images_alike(source: Source, tmp_path: Path) -> None:
    """Its copy is drawn and encoded like the others, and every sample in it is clean."""
    made = Unpoisoned(samples=6).poison(source, tmp_path / "made")
    attacked = BadNets(samples=6, rate=0.2).poison(source, tmp_path / "attacked")
    assert set(made.truth()["kind"].to_pylist()) == {"clean"}
    assert made.truth()["source_id"].to_pylist() == attacked.truth()["source_id"].to_pylist()
    assert made.recipe["encoding"] == attacked.recipe["encoding"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ({"attacks": ["nonesuch"]}, "nonesuch.*sanitizer attacks"),
        ({"attacks": [], "clean": False}, "--attacks.*at least one"),
        ({"rates": [1.5]}, "rate.*1.5"),
        ({"seeds": 0}, "--seeds.*at least 1, got 0"),
        ({"target": "cow"}, "'cow'"),
        ({"pairs": ["flip.mode=uniform"]}, "--set.*'flip'"),
        ({"pairs": ["badnets.sizes=4"]}, "'sizes'.*size"),
        ({"pairs": ["badnets.seed=4"]}, "option of its own"),
        ({"pairs": ["size"]}, "key=value"),
        ({"attacks": ["witches_brew"]}, "test"),
    ],
)
def test_what_cannot_be_meant_is_refused_beforehand(source: Source, words: dict[str, object], parts: str) -> None:
    """In one line, before anything is computed."""
    with pytest.raises(UsageError, match=parts) as caught:
        plan_cells(source, **({"attacks": ["badnets"]} | words))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
