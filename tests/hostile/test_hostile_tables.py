"""Every hostile table, archive and file of vectors: its rows counted, or one line that says why there are none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.hostile.book import Page
from tests.hostile.census import counted, statuses_of
from tests.hostile.tables import TABLES
from tests.hostile.vectors import VECTORS

#: Hundreds of megabytes pass through memory.
SLOW = ("parquet_value_that_is_too_large",)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else (), id=page.name)
        for page in (*TABLES, *VECTORS)
    ],
)
def test_what_is_in_a_file_is_counted_once(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is extracted, no path in it is followed, and no connection is made."""

    def forbidden(*words: object) -> None:
        raise AssertionError(words)

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    path = page.make(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    found = statuses_of(path)
    if page.outcome == "any":  # what chance has broken
        assert found == {"error": 1} or sum(found.values()) == 4
    else:
        assert found == counted(page.outcome)
    assert not list(tmp_path.rglob("canary"))
    assert capfd.readouterr() == ("", "")
