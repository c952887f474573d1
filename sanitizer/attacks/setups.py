"""The fixed setups of the public poisoning benchmark (Schwarzschild et al. 2021, arXiv:2006.12557), from its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sanitizer.errors import UsageError
from sanitizer.sources.census import Census

_KEYS = ("target class", "target index", "base class", "base indices")


@dataclass(frozen=True)
class Setup:
    """Which test image is to be misread as what, and which training samples are changed for it."""

    target_class: int  # that the test image shows
    target_index: int  # row of the test image
    base_class: int  # that it is to be taken for
    base_indices: tuple[int, ...]  # rows of the training samples


def read_setup(path: str, number: int) -> Setup:
    """One setup of a file that holds a list of them."""
    try:
        setups = json.loads(Path(path).read_bytes())
        if not 0 <= number < len(setups):
            raise UsageError(f"setup: expected a number from 0 to {len(setups) - 1}, got {number}: choose another")
        target_class, target_index, base_class, bases = (setups[number][key] for key in _KEYS)
        found = Setup(int(target_class), int(target_index), int(base_class), tuple(map(int, bases)))
        if not bases or found.target_class == found.base_class:
            raise ValueError("it changes no sample, or leads a class to itself")
        return found
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"setups: expected a JSON list of setups with {', '.join(_KEYS)}, got {path!r} ({why}): name such a file"
        ) from None


def rows_at(census: Census, indices: Sequence[int], label: int, what: str) -> NDArray[np.intp]:
    """Positions of the samples at these rows of a table, which have to show that class."""
    places = {int(tail): row for row, sample in enumerate(census.samples) if (tail := _tail(sample.id)).isdecimal()}
    missing = [index for index in indices if index not in places]
    if missing or len(places) != len(census.samples):
        raise UsageError(
            f"setup: expected one table with a row {missing[0] if missing else indices[0]} for its {what}, got "
            f"{len(places)} numbered rows: use the data in its original order"
        )
    rows = np.array([places[index] for index in indices], np.intp)
    if (census.labels()[rows] != label).any():
        raise UsageError(f"setup: expected class {label} at the rows of its {what}: use the data in its original order")
    return np.unique(rows)


def _tail(name: str) -> str:
    return name.rpartition("#")[2]
