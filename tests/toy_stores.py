"""Stores in folders of their own, tables to keep there, and what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from sanitizer.store import Shelf, Store


def opened(root: Path) -> Store:
    """The store in a folder."""
    found = Store.open(str(root))
    assert found is not None
    return found


def table(number: int = 0, rows: int = 4) -> pa.Table:
    """Rows unlike those of any other number."""
    return pa.table({"number": [number] * rows, "value": [f"{number}/{row}" for row in range(rows)]})


def numbers(shelf: Shelf) -> list[int]:
    """Which tables a shelf gives, sorted."""
    return sorted(found["number"][0].as_py() for found in shelf.tables())


def shards(shelf: Shelf) -> list[Path]:
    """The files of a shelf."""
    return sorted(shelf.folder.iterdir()) if shelf.folder.is_dir() else []


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    """What was said, which is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def handles() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - what is listed is counted
